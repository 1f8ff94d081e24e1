"""The events that are known, by where they came from and what they are called; on disk until they are over.

Rule 1: what the site answered for is on disk before it answers.
Rule 2: a newer version replaces an older one, an older one never a newer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from wattlease.core.limits_sources import power
from wattlease.core.model import Window
from wattlease.facility.events.event import Event, From, Terms, refusal, windows
from wattlease.runtime.lease.disk import replace_file
from wattlease.runtime.lease.said import Said

KEPT_S = 3600.0
"""An event that is over is remembered this long: a ramp of another may still fall from it, and a VTN may repeat it."""

LAST_SAVES_S = 60.0
"""A base is saved in the last minute before it is fixed; before that it is soon another."""

MOST_EVENTS = 1000


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    events: tuple[Event, ...]


class Book:
    """Everything that was asked of one site. `path` None keeps it in memory only."""

    def __init__(self, terms: Terms, path: Path | None, clock: Callable[[], float], said: Said) -> None:
        self.terms, self._path, self._clock, self._said = terms, path, clock, said
        self._events: dict[tuple[From, str], Event] = {}
        self._saving = asyncio.Lock()
        self._load()

    @property
    def events(self) -> tuple[Event, ...]:
        """All that are known, the earliest first."""
        return tuple(sorted(self._events.values(), key=lambda e: (e.start_s, e.source, e.id)))

    def windows(self, scope: int, now_s: float) -> tuple[Window, ...]:
        """The limits of all events that are taken and that the site is to know of by now."""
        known = (event for event in self.events if now_s >= event.start_s - event.notice_s)
        return tuple(window for event in known for window in windows(event, self.terms, scope))

    def of(self, source: From, name: str) -> Event | None:
        """One event."""
        return self._events.get((source, name))

    async def put(self, event: Event) -> Event:
        """Take the event or refuse it, unless a later version is known; returns what is known of it now."""
        known = self.of(event.source, event.id)
        if known is not None and known.version > event.version:
            return known
        if known is not None and _asks_the_same(known, event):
            judged = replace(known, version=event.version)  # an answer that was given stands, however late it is asked
        elif known is None and len(self._events) >= MOST_EVENTS:
            return replace(event, refused=f"{MOST_EVENTS} events are known already")
        else:
            judged = replace(event, refused=event.refused or refusal(event, self.terms, self._clock()))
            self._say(judged, "changed" if known else "heard")
        if judged != known:
            self._events[(event.source, event.id)] = judged
            await self._save()
        return judged

    def why_not(self, event: Event) -> str:
        """Why the event would not be taken if it were put now; empty where it would."""
        known = self.of(event.source, event.id)
        return known.refused if known and _asks_the_same(known, event) else refusal(event, self.terms, self._clock())

    async def drop(self, source: From, name: str) -> bool:
        """The event is cancelled; returns whether it was known."""
        event = self._events.pop((source, name), None)
        if event is None:
            return False
        self._say(event, "cancelled")
        await self._save()
        return True

    async def keep_only(self, source: From, names: Collection[str]) -> None:
        """Whatever else the source asked for is cancelled, unless it is over anyway."""
        now_s = self._clock()
        gone = [e for e in self.events if e.source == source and e.id not in names and e.end_s > now_s]
        for event in gone:
            await self.drop(source, event.id)

    async def keep_up(self, draw_w: float | None) -> None:
        """Set the base of events that have not started by the mean draw so far, and forget those long over."""
        now_s = self._clock()
        over = [key for key, event in self._events.items() if event.end_s < now_s - KEPT_S]
        for key in over:
            del self._events[key]
        soon = False
        for key, event in self._events.items():
            if event.from_draw and draw_w is not None and (now_s < event.start_s or event.base_w is None):
                self._events[key] = replace(event, base_w=draw_w)
                soon |= now_s >= event.start_s - LAST_SAVES_S
        if over or soon:
            await self._save()

    def _say(self, event: Event, what: str) -> None:
        lowest_w = min((w.limit_w for w in windows(event, self.terms, 0)), default=None)
        answer = f"not taken: {event.refused}" if event.refused else f"down to {power(lowest_w or 0.0)}"
        about = f"event={event.id} source={event.source}"
        self._said.forget(about)
        self._said.once(logging.INFO, about, f"{what}, {answer}")

    async def _save(self) -> None:
        if self._path is None:
            return
        async with self._saving:
            data = _Kept(events=self.events).model_dump_json().encode()
            try:
                await asyncio.to_thread(replace_file, self._path, data)
                self._said.forget("events kept")
            except OSError as error:
                why = f"{self._path}: {error.strerror}; a restart would forget the grid's events"
                self._said.once(logging.ERROR, "events kept", why)

    def _load(self) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            kept = _Kept.model_validate_json(self._path.read_bytes()).events
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            why = getattr(error, "strerror", None) or "holds no events"
            self._said.once(
                logging.ERROR, "events kept", f"{self._path}: {why}; waits for whoever sends them to repeat"
            )
            return
        self._events = {(event.source, event.id): event for event in kept if event.intervals}


def _asks_the_same(known: Event, event: Event) -> bool:
    asks = [(e.intervals, e.ramp_s, e.notice_s, e.from_draw) for e in (known, event)]
    return asks[0] == asks[1]
