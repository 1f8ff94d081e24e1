"""What a proof needs of a record: the draw of each scope, what every event asked for tick by tick, who paid for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wattlease.core.actions import Pause
from wattlease.core.limits_ahead import steady_w
from wattlease.core.limits_sources import lines_of
from wattlease.core.model import Window
from wattlease.facility.proof_course import Course
from wattlease.runtime.losses import JobLoss, charge
from wattlease.runtime.record import HOLDS_S, Tick, read_all

Key = tuple[str, str]
"""Scope and name of an event."""


@dataclass(slots=True)
class JobShare(JobLoss):
    """What an event took from one job, and how often it was paused for it."""

    pauses: int = 0


@dataclass(slots=True)
class RecordedEvent:
    """An event as the ticks knew it: when it began, what it asked for at each tick, when it was over.

    `planned_end_s` is what it last said; `end_s` is earlier where it was cancelled. `limit_w` is the event's own limit,
    `allowed_w` what its ramp left at the time.
    """

    scope: str
    name: str
    start_s: float
    end_s: float
    planned_end_s: float
    t_s: list[float] = field(default_factory=list)
    limit_w: list[float] = field(default_factory=list)
    allowed_w: list[float] = field(default_factory=list)
    jobs: dict[str, JobShare] = field(default_factory=dict)

    @property
    def was_cancelled(self) -> bool:
        """Whether it ended before it had said."""
        return self.end_s < self.planned_end_s


@dataclass(slots=True)
class Record:
    """Segments of a record, read once: a course of the draw for each scope, and every event."""

    courses: dict[str, Course]
    events: dict[Key, RecordedEvent]

    def named(self, name: str, scope: str | None = None) -> list[RecordedEvent]:
        """The events of that name."""
        return [e for (s, n), e in self.events.items() if n == name and scope in (None, s)]


def recorded(paths: Sequence[Path], watch: Callable[[Tick], None] = lambda _: None) -> Record:
    """Read the segments, in the order of their times; raises RecordError."""
    listener = _Listener()
    for tick in read_all(paths):
        watch(tick)
        listener.hear(tick)
    return listener.record()


class _Listener:
    def __init__(self) -> None:
        self._t_s: list[float] = []
        self._draws: dict[str, list[float]] = {}
        self._events: dict[Key, RecordedEvent] = {}
        self._before: Tick | None = None

    def hear(self, tick: Tick) -> None:
        now_s = tick.snapshot.now_s
        for plan in tick.plan.scopes:
            self._draws.setdefault(plan.scope, [np.nan] * len(self._t_s)).append(plan.draw_w)
        self._t_s.append(now_s)
        for draws in self._draws.values():
            draws.extend([np.nan] * (len(self._t_s) - len(draws)))
        self._note_jobs(now_s)
        self._note_events(tick)
        self._before = tick

    def record(self) -> Record:
        t_s = np.array(self._t_s)
        begun = {key: event for key, event in self._events.items() if event.t_s}
        return Record({scope: Course(t_s, np.array(draws)) for scope, draws in self._draws.items()}, begun)

    def _note_events(self, tick: Tick) -> None:
        """What each event asks for at this tick; one that is no longer told before its end is cancelled."""
        now_s, scopes = tick.snapshot.now_s, tick.snapshot.site.scopes
        told: dict[Key, list[Window]] = {}
        for window in tick.snapshot.windows:
            if window.source == "event":
                told.setdefault((scopes[window.scope].id, window.name), []).append(window)
        for key, event in self._events.items():
            if key not in told and event.end_s > now_s:
                event.end_s = now_s
        for key, windows in told.items():
            self._note_event(tick, key, windows)

    def _note_event(self, tick: Tick, key: Key, windows: list[Window]) -> None:
        now_s = tick.snapshot.now_s
        start_s, end_s = min(w.start_s for w in windows), max(w.end_s for w in windows)
        event = self._events.setdefault(key, RecordedEvent(*key, start_s, end_s, end_s))
        event.end_s = event.planned_end_s = end_s
        if not event.t_s:
            event.start_s = start_s
        open_now = [w for w in windows if w.start_s <= now_s < w.end_s]
        if open_now:
            scope = tick.snapshot.site.scopes[windows[0].scope]
            own = [w for w in tick.snapshot.windows if w.scope == windows[0].scope]
            lines = [line for line in lines_of(own, steady_w(scope)) if line.window in open_now]
            event.t_s.append(now_s)
            event.limit_w.append(min(w.limit_w for w in open_now))
            event.allowed_w.append(min(line.at(now_s) for line in lines))

    def _note_jobs(self, now_s: float) -> None:
        """What the tick before cost each job until now, told to every event that was open then."""
        before = self._before
        if before is None:
            return
        held_s = min(now_s - before.snapshot.now_s, HOLDS_S)
        for event in self._events.values():
            if event.t_s and event.t_s[-1] == before.snapshot.now_s:
                _pay(event.jobs, before, held_s)


def _pay(shares: dict[str, JobShare], tick: Tick, held_s: float) -> None:
    charge(shares, JobShare, tick.snapshot, tick.plan, held_s)
    for action in tick.plan.actions:
        if isinstance(action, Pause) and action.job in shares:
            shares[action.job].pauses += 1
