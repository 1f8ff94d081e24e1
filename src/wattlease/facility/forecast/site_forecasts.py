"""The forecasts of a site beside a controller's loop, in a thread of their own.

Rule 1: the loop hands over its newest tick and takes the newest forecasts; it waits for no disk and no library.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from wattlease.core.actions import Plan
from wattlease.core.memory import Memory
from wattlease.core.model import Forecast, Snapshot
from wattlease.facility.forecast.scope_forecasts import Foreseen, ScopeForecasts, Tick
from wattlease.facility.forecast.standing import Standing

LOOK_S = 1.0

FRESH_S = 30.0
"""A forecast made of a tick longer ago than this is not told."""


class SiteForecasts:
    """The forecasts of the scopes of `folders`. Its thread runs `_learn` and `_close`, the loop all else."""

    def __init__(self, folders: Mapping[str, Path], zone_name: str) -> None:
        self._folders, self._zone_name = dict(folders), zone_name
        self._scopes: ScopeForecasts | None = None
        self._tick: Tick | None = None
        self._foreseen = Foreseen()

    @property
    def standing(self) -> Mapping[str, Standing]:
        """By scope, what is in force and its skill; empty until a tick was learned from."""
        return self._foreseen.standing

    def note(self, snapshot: Snapshot, plan: Plan, memory: Memory) -> None:
        """Learn from this tick, or from the next if that comes sooner; `memory` is the one that it left."""
        self._tick = Tick(snapshot, plan, memory)

    def told(self, index: Mapping[str, int], now_s: float) -> tuple[Forecast, ...]:
        """The forecasts of the scopes of `index`, which says each one's place in the site."""
        newest = self._foreseen
        if not abs(now_s - newest.now_s) <= FRESH_S:
            return ()
        return tuple(replace(one, scope=s) for name, s in index.items() for one in newest.forecasts.get(name, ()))

    async def run(self) -> None:
        """Read the records, then learn and foresee until cancelled; a training that runs ends with it."""
        loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1, "forecast")
        try:
            while True:
                await loop.run_in_executor(thread, self._learn)
                await asyncio.sleep(LOOK_S)
        finally:
            closed = loop.run_in_executor(thread, self._close)
            thread.shutdown(wait=False)
            await closed

    def _learn(self) -> None:
        if self._scopes is None:
            self._scopes = ScopeForecasts(self._folders, self._zone_name)
        if self._tick is not None and self._tick.snapshot.now_s != self._foreseen.now_s:
            self._foreseen = self._scopes.look(self._tick)

    def _close(self) -> None:
        if self._scopes is not None:
            self._scopes.close()
        self._scopes = None
