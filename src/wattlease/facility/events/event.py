"""An event of the grid: who asked for what and when, and whether it is taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from wattlease.core.api import DemandResponse, PowerBudgetSpec
from wattlease.core.limits_sources import power
from wattlease.core.model import Window

From = Literal["openadr", "file", "http"]

OPEN_ENDED_S = 365 * 86_400.0
"""How long an event without an end is counted to last; it ends when it is cancelled."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of an event: a limit in watts, or so many watts less than the event's base."""

    start_s: float
    end_s: float
    limit_w: float | None = None
    less_w: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """What was asked. `refused` is why it is not taken, empty where it is.

    `base_w` is what `less_w` is taken from: a draw that is known better until the event starts, and fixed from then on.
    The first interval's limit is reached `ramp_s` after its start.
    """

    source: From
    id: str
    version: int
    heard_s: float
    intervals: tuple[Interval, ...]
    ramp_s: float = 0.0
    notice_s: float = OPEN_ENDED_S
    base_w: float | None = None
    from_draw: bool = False
    refused: str = ""

    @property
    def start_s(self) -> float:
        """When its first interval begins."""
        return self.intervals[0].start_s

    @property
    def end_s(self) -> float:
        """When its last interval ends."""
        return self.intervals[-1].end_s

    def on_base(self, base_w: float | None) -> Event:
        """The same, with what its differences are taken from."""
        return replace(self, base_w=base_w)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the site offers: its own limit, the deepest limit it takes, and the shortest notice."""

    limit_w: float
    least_w: float
    notice_s: float = 0.0

    @classmethod
    def of(cls, spec: PowerBudgetSpec) -> Terms:
        """The terms of a budget whose events come from outside."""
        settings = spec.grid_events
        deepest = settings.opt_out_below_watts if settings else None
        notice_s = settings.least_notice_seconds if settings else 0
        return cls(float(spec.limit_watts), float(deepest or spec.assured_watts), float(notice_s))


def limit_w(interval: Interval, event: Event, terms: Terms) -> float:
    """What an interval comes to in watts, whether or not the site takes so little."""
    if interval.limit_w is not None:
        return interval.limit_w
    base_w = terms.limit_w if event.base_w is None else min(event.base_w, terms.limit_w)
    return base_w - interval.less_w


def refusal(event: Event, terms: Terms, now_s: float) -> str:
    """Why the site does not take an event; empty where it does."""
    if event.end_s <= now_s:
        return "it is over already"
    if event.start_s - now_s < terms.notice_s:
        return f"it starts in {max(0.0, event.start_s - now_s):.0f} s; {terms.notice_s:.0f} s of notice are needed"
    lowest_w = min(limit_w(interval, event, terms) for interval in event.intervals)
    if lowest_w < terms.least_w:
        return f"it asks for {power(lowest_w)}; no less than {power(terms.least_w)} is offered"
    return ""


def windows(event: Event, terms: Terms, scope: int) -> Iterator[Window]:
    """The event as limits; never below what the site offers, should its base have fallen since it was taken."""
    if event.refused:
        return
    for i, interval in enumerate(event.intervals):
        watts = max(terms.least_w, limit_w(interval, event, terms))
        ramp_s = event.ramp_s if i == 0 else 0.0
        yield Window(scope, "event", event.id, interval.start_s, interval.end_s, watts, ramp_s)


def asked(written: DemandResponse, source: From, version: int, now_s: float) -> Event:
    """An event as it is written in a file or a call."""
    start_s, end_s = written.start.timestamp(), written.end.timestamp()
    interval = Interval(start_s, end_s, float(written.limit_watts))
    ramp_s, notice_s = float(written.ramp_seconds), float(written.notice_seconds)
    return Event(source, written.name, version, now_s, (interval,), ramp_s, notice_s)
