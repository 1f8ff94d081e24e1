"""All meters of a site: asked in turn, judged by their past, and told to the core.

Each meter has a task of its own, so that a slow one holds up nobody; one that gives no answer is asked ever more
rarely, and again at its own pace as soon as it answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wattlease.core.api import PowerBudget
from wattlease.core.model import Reading
from wattlease.facility.meters.drivers import driver_of, look
from wattlease.facility.meters.followed import Feed, Followed, feeds_of, followed, summed
from wattlease.facility.meters.judging import Past, State, Verdict
from wattlease.facility.meters.modbus_line import Lines
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.said import Said

LOG = logging.getLogger("wattlease.facility")

OF_THE_LOAD = ("Feed", "It")
"""Meters that move with the load, by which each other's standing still is told."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A meter as the page and the doctor show it; without a reading `power_w` and `age_s` are `None`."""

    scope: str
    meter: str
    kind: str
    measures: str
    state: State
    power_w: float | None
    age_s: float | None
    why: str


class Meters:
    """The meters of these budgets, the simulator's left out. Times are on the clock that it was given.

    What is known of a meter that stood in `before` too is taken over: another limit makes no dead meter live.
    """

    def __init__(self, budgets: Sequence[PowerBudget], clock: Now = steady_s, before: Meters | None = None) -> None:
        self._clock, self._lines, self._said = clock, Lines(), Said(LOG)
        known = {(one.scope, one.meter): one for one in before._followed} if before else {}
        cards = before._cards if before else {}
        self._cards: dict[str, Past] = {budget.name: cards.get(budget.name) or Past() for budget in budgets}
        self._followed: tuple[Followed, ...] = tuple(
            followed(budget.name, float(budget.spec.limit_watts), meter, driver, known.get((budget.name, meter)))
            for budget in budgets
            for meter in budget.spec.meters
            if (driver := driver_of(meter, self._lines)) is not None
        )
        for one in self._followed:
            one.beside = self._beside(one)
        self._feeds = feeds_of(self._followed)

    async def run(self) -> None:
        """Ask them all until cancelled, then let go of every connection."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for one in self._followed:
                    tasks.create_task(self._follow(one))
        finally:
            await self.close()

    async def poll(self) -> None:
        """Ask each meter once, all at the same time; for those who keep a pace of their own."""
        await asyncio.gather(*(self._ask(one) for one in self._followed))

    async def close(self) -> None:
        """Let go of every connection."""
        for one in self._followed:
            await one.driver.close()
        self._lines.close()

    def drawn(self, scope: str, it_w: float, at_s: float) -> None:
        """What the cards of a scope draw by their own word: it shows that a lone meter stands still."""
        if scope in self._cards:
            self._cards[scope].note(at_s, it_w)

    def readings(self, scope_index: Mapping[str, int], now_s: float) -> tuple[Reading, ...]:
        """What the core may weigh: of one feed the readings that stand, of several feeds their sum."""
        return tuple(
            reading for scope, index in scope_index.items() for reading in self._scope_readings(scope, index, now_s)
        )

    def standing(self, now_s: float) -> tuple[Standing, ...]:
        """Where every meter stands, in the order of the budgets."""
        return tuple(self._shown(one, now_s) for one in self._followed)

    def by_kind_w(self, now_s: float) -> Mapping[str, Mapping[str, float]]:
        """Of each scope the watts that believed meters tell beside the feed, by what they measure."""
        found: dict[str, dict[str, float]] = {}
        for one in self._followed:
            power_w = None if one.meter.measures == "Feed" else one.good_w(now_s)
            if power_w is not None:
                kinds = found.setdefault(one.scope, {})
                kinds[one.meter.measures] = kinds.get(one.meter.measures, 0.0) + power_w
        return found

    def _beside(self, one: Followed) -> tuple[Past, ...]:
        if one.meter.measures not in OF_THE_LOAD:
            return ()
        others = (o.past for o in self._followed if o.scope == one.scope and o.meter.measures in OF_THE_LOAD)
        return (*(past for past in others if past is not one.past), self._cards[one.scope])

    def _scope_readings(self, scope: str, index: int, now_s: float) -> tuple[Reading, ...]:
        feeds = self._feeds.get(scope, ())
        if len(feeds) == 1:
            return tuple(one.reading(index, now_s) for one in feeds[0].stand(now_s))
        held = [(vote, feed.stand(now_s)) for feed in feeds if (vote := feed.vote(now_s)) is not None]
        return (summed(held, index, now_s),) if feeds and len(held) == len(feeds) else ()

    def _feed_of(self, one: Followed) -> Feed | None:
        return next((feed for feed in self._feeds.get(one.scope, ()) if one in feed.meters), None)

    def _shown(self, one: Followed, now_s: float) -> Standing:
        verdict, feed = one.verdict(now_s), self._feed_of(one)
        held = feed.vote(now_s) if feed and verdict.state == "Good" else None
        if held is not None:
            verdict = Verdict("Outvoted" if one.meter.name in held.outvoted else "Good", held.why)
        power_w, age_s = (one.newest.power_w, one.age_s(now_s)) if one.newest else (None, None)
        m = one.meter
        return Standing(one.scope, m.name, m.kind, m.measures, verdict.state, power_w, age_s, verdict.why)

    async def _follow(self, one: Followed) -> None:
        while True:
            again_s = await self._ask(one)
            await asyncio.sleep(max(0.05, again_s - self._clock()))

    async def _ask(self, one: Followed) -> float:
        """Ask once; when to ask again, on our clock."""
        asked_s = self._clock()
        wait_s = one.take(await look(one.meter, one.driver), asked_s)
        self._say(one)
        return asked_s + wait_s

    def _say(self, one: Followed) -> None:
        """Log each trouble of a meter once, and its end."""
        shown = self._shown(one, self._clock())
        if shown.state != "Good":
            self._said.once(logging.WARNING, one.label, f"{shown.state.lower()}: {shown.why}")
        elif shown.why:
            self._said.once(logging.WARNING, one.label, shown.why)
        elif self._said.forget(one.label):
            LOG.info("%s: believed again, %.2f kW", one.label, (shown.power_w or 0.0) / 1000)
