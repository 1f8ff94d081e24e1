"""What a VTN's event means here: signals of OpenADR 2.0b, as openleadr reads them, into an event in watts.

SIMPLE levels are looked up in the settings. LOAD_DISPATCH is a setpoint, a multiple of the limit, or a difference from
it or from the draw; where a VTN sends both, it goes before SIMPLE, which is meant for those that know no better. All
other signals (prices among them) ask for nothing that is done here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from wattlease.core.api_grid_events import GridEvents, OpenAdr
from wattlease.facility.events.event import OPEN_ENDED_S, Event, Interval

Words = Mapping[str, Any]

UNITS = {"W": 1.0, "kW": 1e3, "MW": 1e6}
SCALES = {"none": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
MOST_INTERVALS = 500
RANK = ("LOAD_DISPATCH", "SIMPLE")


class SignalError(ValueError):
    """An event that cannot be acted on; the text says why, and is the reason for opting out."""


def event_of(told: Words, settings: GridEvents, limit_w: float, now_s: float) -> Event:
    """The event; one that cannot be acted on comes with the reason in `refused`."""
    adr = settings.open_adr
    assert adr
    descriptor = told["event_descriptor"]
    start_s, end_s = _active(told["active_period"])
    refused = ""
    intervals: tuple[Interval, ...] = (Interval(start_s, end_s),)
    try:
        signal = _best(told["event_signals"])
        intervals = tuple(_merged(_intervals(signal, adr, limit_w, start_s, end_s)))
        if descriptor.get("test_event") is True:
            refused = "it is a test, which is heard and not acted on"
    except SignalError as error:
        refused = str(error)
    ramp_s = min(float(settings.ramp_seconds), max(0.0, intervals[0].start_s - now_s))
    intervals = (_begun_earlier(intervals[0], ramp_s), *intervals[1:])
    from_draw = adr.delta_from == "Draw" and any(interval.limit_w is None for interval in intervals)
    return Event(
        source="openadr", id=str(descriptor["event_id"])[:128], version=int(descriptor["modification_number"]),
        heard_s=now_s, intervals=intervals, ramp_s=ramp_s, from_draw=from_draw and not refused, refused=refused,
    )  # fmt: skip


def _active(period: Words) -> tuple[float, float]:
    start_s, long_s = _time_s(period["dtstart"]), _span_s(period.get("duration"))
    return start_s, start_s + (long_s or OPEN_ENDED_S)


def _best(signals: Sequence[Words] | Words) -> Words:
    listed: Sequence[Words] = signals if isinstance(signals, list) else [signals]  # type: ignore[list-item]
    named = {str(signal["signal_name"]).upper(): signal for signal in listed}
    for name in RANK:
        if name in named:
            return named[name]
    raise SignalError(f"its signals ({', '.join(sorted(named))[:100] or 'none'}) ask for no load here")


def _intervals(signal: Words, adr: OpenAdr, limit_w: float, start_s: float, end_s: float) -> Iterator[Interval]:
    """Intervals follow one another; one that says nothing of its length lasts to the event's end."""
    told: Sequence[Words] = signal["intervals"]
    if len(told) > MOST_INTERVALS:
        raise SignalError(f"it has {len(told)} intervals; {MOST_INTERVALS} at most are followed")
    at_s = start_s
    for interval in told:
        if "dtstart" in interval:
            at_s = _time_s(interval["dtstart"])
        until_s = at_s + (_span_s(interval.get("duration")) or end_s - at_s)
        found = _meant(signal, interval["signal_payload"], adr, limit_w, at_s, until_s)
        if found is not None and until_s > at_s:
            yield found
        at_s = until_s


def _meant(
    signal: Words, payload: float, adr: OpenAdr, limit_w: float, from_s: float, until_s: float
) -> Interval | None:
    """What one interval limits; None where it is normal operation."""
    value = float(payload)
    if str(signal["signal_name"]).upper() == "SIMPLE":
        watts = _level_w(value, adr, limit_w)
        return None if watts is None else Interval(from_s, until_s, limit_w=watts)
    match str(signal["signal_type"]):
        case "setpoint":
            return Interval(from_s, until_s, limit_w=value * _unit_w(signal, adr))
        case "multiplier":
            return Interval(from_s, until_s, limit_w=value * limit_w)
        case "delta":
            less_w = _less(value, adr) * _unit_w(signal, adr)
            return Interval(from_s, until_s, less_w=less_w) if less_w > 0.0 else None
        case kind:
            raise SignalError(f"a LOAD_DISPATCH of type {kind[:40]} is not understood")


def _level_w(value: float, adr: OpenAdr, limit_w: float) -> float | None:
    if value == 0.0:
        return None
    if value not in (1.0, 2.0, 3.0):
        raise SignalError(f"SIMPLE level {value:g} is none of 0 to 3")
    level = (adr.simple.moderate, adr.simple.high, adr.simple.special)[int(value) - 1]
    return float(level.limit_watts) if level.limit_watts else limit_w * (level.limit_percent or 0.0) / 100.0


def _less(value: float, adr: OpenAdr) -> float:
    return {"Negative": -value, "Positive": value, "Either": abs(value)}[adr.delta_less]


def _unit_w(signal: Words, adr: OpenAdr) -> float:
    """Watts that the signal's one stands for."""
    measurement = signal.get("measurement")
    if not measurement:
        return UNITS[adr.dispatch_unit]
    unit, scale = str(measurement.get("unit")), str(measurement.get("scale", "none"))
    if unit != "W" or scale not in SCALES:
        raise SignalError(f"it is in {scale} {unit}, and real power in W is understood")
    return SCALES[scale]


def _merged(intervals: Iterator[Interval]) -> Iterator[Interval]:
    """Checked to follow one another; an event with none of them limits nothing and so is normal operation."""
    found = sorted(intervals, key=lambda i: i.start_s)
    if not found:
        raise SignalError("it asks for normal operation throughout")
    for before, after in pairwise(found):
        if after.start_s < before.end_s:
            raise SignalError("its intervals overlap")
    return iter(found)


def _begun_earlier(interval: Interval, ramp_s: float) -> Interval:
    """A ramp comes before the start: the grid counts from there."""
    return Interval(interval.start_s - ramp_s, interval.end_s, interval.limit_w, interval.less_w)


def _time_s(at: object) -> float:
    if not isinstance(at, datetime):
        raise SignalError(f"{str(at)[:40]!r} is no time in UTC")
    return at.timestamp()


def _span_s(span: object) -> float:
    """Seconds; 0 for none and for OpenADR's "no end"."""
    return span.total_seconds() if isinstance(span, timedelta) and span > timedelta() else 0.0
