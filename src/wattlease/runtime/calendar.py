"""From what people write (weekdays, local times, events) to windows in unix seconds, which the core counts with.

Rule 1: an hour that the clock shows twice belongs wholly to a window that begins or ends in it.
Rule 2: a time that the clock skips is as long after midnight as it would be without the jump (RFC 5545), so 02:30 is
03:30 on that day.
Rule 3: a time zone that nobody knows may be any, so its windows begin with the first place on Earth and end with the
last. Files with such a zone are refused; this is for an object that an API server let in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta, timezone, tzinfo

from wattlease.core.api import DemandResponse, ScheduleEntry
from wattlease.core.model import Scope, Window
from wattlease.runtime.zones import zone

_FIRST_ON_EARTH = timezone(timedelta(hours=14))
_LAST_ON_EARTH = timezone(timedelta(hours=-12))
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def windows(scopes: Sequence[Scope], now_s: float, horizon_s: float) -> tuple[Window, ...]:
    """Every window of the scopes that touches [now, now + horizon] and is known by now, the earliest first.

    A window that ended lately stays while a ramp may still fall from it.
    """
    since_s = now_s - _longest_ramp_s(scopes)
    until_s = now_s + horizon_s
    found = [
        window
        for i, scope in enumerate(scopes)
        for window in (*_scheduled(i, scope, since_s, until_s), *_events(i, scope, now_s))
        if window.end_s > since_s and window.start_s <= until_s
    ]
    return tuple(sorted(found, key=lambda w: (w.start_s, w.scope, w.source, w.name)))


def _longest_ramp_s(scopes: Iterable[Scope]) -> float:
    specs = [scope.budget.spec for scope in scopes]
    weekly = [entry.ramp_seconds for spec in specs for entry in spec.schedule]
    once = [event.ramp_seconds for spec in specs for event in spec.demand_response]
    return float(max(weekly + once, default=0))


def _events(index: int, scope: Scope, now_s: float) -> Iterator[Window]:
    for event in scope.budget.spec.demand_response:
        window = _event_window(index, event)
        if now_s >= window.start_s - event.notice_seconds:
            yield window


def _event_window(index: int, event: DemandResponse) -> Window:
    return Window(
        scope=index,
        source="event",
        name=event.name,
        start_s=event.start.timestamp(),
        end_s=event.end.timestamp(),
        limit_w=float(event.limit_watts),
        ramp_s=float(event.ramp_seconds),
    )


def _scheduled(index: int, scope: Scope, since_s: float, until_s: float) -> Iterator[Window]:
    for entry in scope.budget.spec.schedule:
        tz = zone(entry.time_zone)
        for day in _days(entry, since_s, until_s):
            start_s, end_s = _span(entry, day, tz or _FIRST_ON_EARTH, tz or _LAST_ON_EARTH)
            if start_s < end_s:  # a window within an hour that the clock skips is none
                limit_w, ramp_s = float(entry.limit_watts), float(entry.ramp_seconds)
                yield Window(index, "schedule", entry.name, start_s, end_s, limit_w, ramp_s)


def _days(entry: ScheduleEntry, since_s: float, until_s: float) -> Iterator[date]:
    """The local days, in any zone, on which the entry may start a window of up to two days that touches the span."""
    first = datetime.fromtimestamp(since_s, _LAST_ON_EARTH).date() - timedelta(days=2)
    last = datetime.fromtimestamp(until_s, _FIRST_ON_EARTH).date()
    for ahead in range((last - first).days + 1):
        day = first + timedelta(days=ahead)
        if _WEEKDAYS[day.weekday()] in entry.days:
            yield day


def _span(entry: ScheduleEntry, day: date, start_tz: tzinfo, end_tz: tzinfo) -> tuple[float, float]:
    next_day = entry.end == "24:00" or entry.end < entry.start
    last_day = day + timedelta(days=1) if next_day else day
    start_s, _ = _instants_s(day, entry.start, start_tz)
    end_s = max(_instants_s(last_day, "00:00" if entry.end == "24:00" else entry.end, end_tz))
    return start_s, end_s


def _instants_s(day: date, clock: str, tz: tzinfo) -> tuple[float, float]:
    """The two readings of a local time: the same but where the clock is set back or forward."""
    local = datetime.combine(day, time.fromisoformat(clock), tz)
    return local.timestamp(), local.replace(fold=1).timestamp()
