"""Events from a file that is watched: the whole list, each time it changes; a list with a mistake changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, RootModel, model_validator

from wattlease.core.api import DemandResponse
from wattlease.core.api_base import mistake
from wattlease.core.api_grid_events import EventFile
from wattlease.core.errors import BudgetError
from wattlease.facility.events.book import MOST_EVENTS, Book
from wattlease.facility.events.event import Event, asked
from wattlease.runtime.files import load
from wattlease.runtime.lease.said import Said

LOOK_S = 2.0


class EventList(RootModel[Annotated[tuple[DemandResponse, ...], Field(max_length=MOST_EVENTS)]]):
    """A list of events, each as in a budget's `demandResponse`; `[]` where there is none."""

    @model_validator(mode="after")
    def _twins(self) -> Self:
        seen: set[str] = set()
        for i, event in enumerate(self.root):
            if event.name in seen:
                raise mistake((i, "name"), f"'{event.name}' is used twice; give each event a name of its own")
            seen.add(event.name)
        return self


@dataclass(frozen=True, slots=True)
class _Look:
    """What tells one state of a file from another."""

    inode: int
    size: int
    written_ns: int


class WatchedFile:
    """One file, looked at every LOOK_S. `trouble` is why its last list was not taken."""

    def __init__(self, settings: EventFile, book: Book, clock: Callable[[], float], said: Said) -> None:
        self._path, self._book, self._clock, self._said = Path(settings.path), book, clock, said
        self._seen: _Look | None = None
        self._taken: _Look | None = None
        self.trouble = "not read yet"

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Take the list if it is new and has come to rest: two looks alike, so that none is read half written."""
        try:
            stat = await asyncio.to_thread(self._path.stat)
        except OSError as error:
            self._seen = None
            self._complain(f"{self._path}: {error.strerror}; what it said before holds on")
            return
        look = _Look(stat.st_ino, stat.st_size, stat.st_mtime_ns)
        rested, self._seen = look == self._seen, look
        if rested and look != self._taken:
            self._taken = look
            await self._take()

    async def _take(self) -> None:
        try:
            listed = await asyncio.to_thread(load, self._path, EventList)
        except BudgetError as error:
            self._complain(f"{error}; what it said before holds on")
            return
        self.trouble = ""
        self._said.forget("event file")
        now_s = self._clock()
        written = [asked(event, "file", 0, now_s) for event in listed.root]
        await self._book.keep_only("file", {event.id for event in written})
        refused = [reason for event in written if event.end_s > now_s and (reason := await self._put(event))]
        if refused:
            self._complain(f"{self._path}: {'; '.join(refused)}")

    async def _put(self, event: Event) -> str:
        """Why the event is not taken; then what was known of it before holds on."""
        reason = self._book.why_not(event)
        if not reason:
            reason = (await self._book.put(event)).refused
        return f"{event.id}: not taken, {reason}" if reason else ""

    def _complain(self, why: str) -> None:
        self.trouble = why
        self._said.once(logging.WARNING, "event file", why)
