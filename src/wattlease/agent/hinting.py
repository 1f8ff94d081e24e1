"""Carries hints from the lease to the jobs' folders, for as long as the grantor that gave them is heard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from wattlease.agent.hints import HintFolder
from wattlease.agent.tenants import Tenants
from wattlease.runtime.lease.report import Hint
from wattlease.runtime.lease.said import Said
from wattlease.runtime.waiting import set_within

EVERY_S = 2.0

log = logging.getLogger(__name__)


class Hinting:
    """Writes the newest hints. Once the grant has run out they are no longer kept true, and jobs go on as they are.

    A job that is asked for nothing any more is told so once, for it would keep a smaller batch.
    """

    def __init__(self, folder: HintFolder, tenants: Tenants, granted: Callable[[], bool]) -> None:
        self._folder, self._tenants, self._granted = folder, tenants, granted
        self._hints: tuple[Hint, ...] = ()
        self._freed: frozenset[str] = frozenset()
        self._news = asyncio.Event()
        self._said = Said(log)

    def tell(self, hints: tuple[Hint, ...]) -> None:
        """Take what the grantor says now, in place of all it said before."""
        asked = {hint.job for hint in hints}
        self._freed = self._freed.union(hint.job for hint in self._hints) - asked
        self._hints = hints
        self._news.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            self._news.clear()
            if self._granted():
                hints, freed, self._freed = self._hints, self._freed, frozenset()
                await asyncio.to_thread(self._write, (*hints, *(Hint(job=job) for job in sorted(freed))))
            if (jobs := self._tenants.jobs) is not None:
                await asyncio.to_thread(self._folder.keep, jobs | {hint.job for hint in self._hints})
            await set_within(self._news, EVERY_S)

    def _write(self, hints: tuple[Hint, ...]) -> None:
        for trouble in self._folder.write(hints, self._tenants.owners):
            self._said.once(logging.WARNING, "hint not written", trouble.text)
