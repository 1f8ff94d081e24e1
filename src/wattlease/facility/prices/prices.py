"""What energy and carbon cost from now on: feeds where they know, the written tariff where they do not.

Nothing here waits for a feed: `prices` answers at once, from what is in memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from wattlease.core.api import Tariff
from wattlease.core.explain import span
from wattlease.core.model import Floats
from wattlease.core.model import Prices as Ahead
from wattlease.facility.prices.clock import price_at, spans
from wattlease.facility.prices.curve import Curve, FeedStanding, Kind, layered
from wattlease.facility.prices.feed import Feed, sources
from wattlease.runtime.lease.said import Said

log = logging.getLogger(__name__)

AHEAD_S = 48 * 3600.0
"""How far ahead prices are told: as far as the storage plan ever looks."""


class Prices:
    """The prices of one tariff. `folder` keeps the last good curves through a restart; None keeps them nowhere."""

    def __init__(self, tariff: Tariff, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._tariff, self._clock = tariff, clock
        told = sources(tariff.feed) if tariff.feed else ()
        said = Said(log)
        self.feeds = tuple(Feed(source, folder, clock, said) for source in told)

    async def run(self) -> None:
        """Ask every feed until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for feed in self.feeds:
                tasks.create_task(feed.run())

    def prices(self, now_s: float) -> Ahead:
        """The steps from now to AHEAD_S, none of them unknown."""
        periods = spans(self._tariff, now_s, now_s + AHEAD_S)
        edges = {edge for curve in self._curves() for edge in curve.edges_s()}
        edges |= {edge for period in periods for one in period for edge in (one.start_s, one.end_s)}
        at_s = np.array(sorted({now_s} | {edge for edge in edges if now_s < edge < now_s + AHEAD_S}))
        energy = layered(self._of("energy"), price_at(self._tariff, periods, at_s), at_s)
        grams = np.full(len(at_s), self._tariff.carbon_grams_per_kilowatt_hour)
        return _changes(at_s, energy, layered(self._of("carbon"), grams, at_s))

    def standing(self, now_s: float | None = None) -> tuple[FeedStanding, ...]:
        """Where energy prices and carbon are from at this time, one line for each."""
        now_s = self._clock() if now_s is None else now_s
        return self._stands("energy", now_s), self._stands("carbon", now_s)

    def troubles(self) -> tuple[str, ...]:
        """What is wrong with each feed that has not answered well since it was last asked."""
        return tuple(f"{feed.source.name}: {feed.trouble.text}" for feed in self.feeds if feed.trouble.text)

    def _curves(self) -> Iterator[Curve]:
        return (curve for feed in self.feeds for curve in feed.curves)

    def _of(self, kind: Kind) -> tuple[Curve, ...]:
        return tuple(curve for curve in self._curves() if curve.kind == kind)

    def _stands(self, kind: Kind, now_s: float) -> FeedStanding:
        now = np.array([now_s])
        for curve in self._of(kind):
            if np.isfinite(curve.at(now)[0]):
                age_s, left_s = max(0.0, now_s - curve.got_s), curve.valid_until_s - now_s
                mark = ", estimated" if curve.estimated else ""
                text = f"{kind} from {curve.source}{mark}, told {span(age_s)} ago, known for {span(left_s)} more"
                return FeedStanding(kind, curve.source, age_s, left_s, curve.estimated, text)
        why = f"; {troubles[0]}" if (troubles := self.troubles()) else ""
        return FeedStanding(kind, "tariff", 0.0, 0.0, False, f"{kind} from the tariff as written{why}")


def _changes(at_s: Floats, energy: Floats, grams: Floats) -> Ahead:
    """Only the steps at which something changes."""
    changes = np.append(True, (np.diff(energy) != 0) | (np.diff(grams) != 0))
    return Ahead(at_s[changes], energy[changes], grams[changes])
