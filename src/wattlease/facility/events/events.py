"""All events of the grid that one budget hears of, from every source that its settings name.

Overlapping events all become windows, and the lowest limit holds, as everywhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wattlease.core.api import GridEvents, PowerBudgetSpec
from wattlease.core.model import Window
from wattlease.facility.events.book import Book
from wattlease.facility.events.calls import Calls
from wattlease.facility.events.draws import Draws
from wattlease.facility.events.event import Event, From, Terms
from wattlease.facility.events.watched_file import WatchedFile
from wattlease.runtime.lease.said import Said

if TYPE_CHECKING:
    from wattlease.facility.events.openadr import Ven

log = logging.getLogger(__name__)

LOOK_S = 5.0
"""How often the site's draw is noted and the book brought up to date."""


@dataclass(frozen=True, slots=True)
class SourceStanding:
    """Whether a source of events is well; `heard_s` is when a VTN last answered, in unix seconds."""

    source: From
    trouble: str
    heard_s: float | None = None


class Events:
    """The events of a budget with `gridEvents`; `folder` keeps them through a restart, None keeps them nowhere.

    `draw_w` tells the site's draw now, None where nobody knows.
    """

    def __init__(
        self, spec: PowerBudgetSpec, folder: Path | None, draw_w: Callable[[], float | None],
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        settings = spec.grid_events
        assert settings, "a budget without gridEvents hears of none"
        said = Said(log)
        self._draw_w, self._clock, self._draws = draw_w, clock, Draws()
        self.book = Book(Terms.of(spec), folder / "grid-events.json" if folder else None, clock, said)
        self.ven = _ven(settings, self.book, draw_w, clock, said)
        self.file = WatchedFile(settings.file, self.book, clock, said) if settings.file else None
        self.calls = Calls(settings.http, self.book, clock, said) if settings.http else None

    async def run(self) -> None:
        """Hear every source until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_up())
            for source in (self.ven, self.file, self.calls):
                if source is not None:
                    tasks.create_task(source.run())

    def windows(self, scope_index: int, now_s: float) -> tuple[Window, ...]:
        """The limits that events set for the scope of this budget."""
        return self.book.windows(scope_index, now_s)

    def standing(self) -> tuple[SourceStanding, ...]:
        """How each source is."""
        found: list[SourceStanding] = []
        if self.ven:
            found.append(SourceStanding("openadr", self.ven.trouble, self.ven.heard_s))
        if self.file:
            found.append(SourceStanding("file", self.file.trouble))
        if self.calls:
            found.append(SourceStanding("http", self.calls.trouble))
        return tuple(found)

    @property
    def events(self) -> tuple[Event, ...]:
        """All events that are known, those not taken included."""
        return self.book.events

    async def _keep_up(self) -> None:
        while True:
            self._draws.add(self._clock(), self._draw_w())
            await self.book.keep_up(self._draws.mean_w())
            await asyncio.sleep(LOOK_S)


def _ven(
    settings: GridEvents, book: Book, draw_w: Callable[[], float | None], clock: Callable[[], float], said: Said
) -> Ven | None:
    """The VEN where one is wanted; only then is its library, a large one, needed at all."""
    if settings.open_adr is None:
        return None
    from wattlease.facility.events.openadr import Ven

    return Ven(settings, book, draw_w, clock, said)
