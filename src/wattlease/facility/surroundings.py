"""The facility beside a controller's loop: what its budgets name is read, told to each tick, and ordered.

Rule 1: only who leads works here: a battery has one master, a VTN one VEN. Who was asked for nothing of late leads no
    more, and its batteries go idle; who comes to lead begins with what is on disk.
Rule 2: trouble of a part ends nothing but itself, and that part begins again.
Rule 3: other budgets are taken up while it runs; what they leave as it was is not disturbed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wattlease.core.actions import Charge, Discharge, Plan
from wattlease.core.api import PowerBudget
from wattlease.core.errors import BudgetError
from wattlease.core.memory import Memory
from wattlease.core.model import NO_PRICES, NONE, Floats, Prices, Reading, Site, Snapshot, Window
from wattlease.facility.battery.batteries import NOBODYS, Feed
from wattlease.facility.equipment import Runs, Workshop
from wattlease.facility.events.events import SourceStanding
from wattlease.facility.forecast.metrics import ForecastMetrics
from wattlease.facility.forecast.standing import Standing as ForecastStanding
from wattlease.facility.keeping import Keeping
from wattlease.facility.meters.meters import Standing as MeterStanding
from wattlease.facility.prices.curve import FeedStanding
from wattlease.facility.prices.month import MonthPeak
from wattlease.runtime.controller.surroundings import Around, Surroundings
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.said import Said

log = logging.getLogger(__name__)

FOLLOW_S = 1.0
"""The fast path looks this often, whether the plan was renewed meanwhile or not."""

LOOK_S = 0.25
"""How soon parts begin and end when their budgets or the leadership change."""

AGAIN_S = 5.0
"""A part that failed by a mistake of ours begins again after this long."""

LEADS_S, LEADS_TICKS, SLOW_TICK_S = 5.0, 3.0, 10.0
"""Who was not asked for this long, and for so many of its ticks, leads no more; a tick that is not known is slow."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How everything stands, for people.

    `batteries` says why one is left out, and names only those that are; `events`, `peaks` and `forecasts` are by
    budget.
    """

    meters: tuple[MeterStanding, ...]
    batteries: Mapping[str, str]
    prices: tuple[FeedStanding, ...]
    events: Mapping[str, tuple[SourceStanding, ...]]
    peaks: Mapping[str, MonthPeak]
    forecasts: Mapping[str, ForecastStanding]


def surroundings_of(budgets: Sequence[PowerBudget], state_folder: Path) -> Surroundings:
    """What the entry point names. BudgetError if the budgets do not fit together."""
    return FacilitySurroundings(budgets, state_folder)


class FacilitySurroundings:
    """Meters, batteries, prices and grid events of one site. `now` is steady, `clock` tells unix seconds."""

    def __init__(
        self,
        budgets: Sequence[PowerBudget],
        state_folder: Path,
        now: Now = steady_s,
        clock: Callable[[], float] = time.time,
    ) -> None:
        folder = state_folder / "facility"
        self._now, self._clock, self._said = now, clock, Said(log)
        self._keeping = Keeping(folder / "kept.json")
        self._workshop = Workshop(folder, now, clock, self._draw_w)
        self._kept = self._keeping.load()
        self._equipment = self._workshop.equip(budgets, self._kept.batteries)
        self._budgets = self._seen = tuple(budgets)
        self._asked_s, self._leads_until_s = float("-inf"), float("-inf")
        self._plan: Plan | None = None
        self._planned_s = float("-inf")
        self._cards_w: Floats = np.empty(0)
        self._running: dict[Runs, asyncio.Task[None]] = {}

    # Each tick

    def around(self, site: Site, now_s: float) -> Around:
        """The newest that is known, beside the site's storages and scopes; never waits but to come to lead."""
        self._lead()
        self._take_up(tuple(scope.budget for scope in site.scopes))
        here, steady = self._equipment, self._now()
        index = {scope.id: i for i, scope in enumerate(site.scopes)}
        units = zip(here.batteries.units(), here.batteries.storages(steady), strict=True)
        state = {unit.id: storage for unit, storage in units}
        prices = self._prices(now_s)
        return Around(
            meters=here.meters.readings(index, steady),
            storages=tuple(state.get(unit.id, NOBODYS) for unit in site.storages),
            windows=(*self._events(index, now_s), *here.billing.windows(self._kept, index, now_s, prices)),
            forecasts=here.forecasts.told(index, now_s),
            prices=prices,
            peaks=here.billing.peaks(self._kept, index, now_s),
        )

    def note(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Let the forecasts learn from a tick."""
        self._equipment.forecasts.note(snapshot, plan, after)

    def act(self, snapshot: Snapshot, plan: Plan) -> None:
        """Order the batteries as planned; with the plan's limits the fast path goes on by itself."""
        self._plan, self._planned_s = plan, self._now()
        self._note_cards(snapshot)
        orders: dict[str, float] = {}
        for action in plan.actions:
            if isinstance(action, Charge | Discharge):
                orders[action.storage] = action.power_w if isinstance(action, Discharge) else -action.power_w
        self._equipment.batteries.order(orders)

    def standing(self) -> Standing:
        """How everything stands now."""
        here, steady = self._equipment, self._now()
        return Standing(
            meters=here.meters.standing(steady),
            batteries=here.batteries.troubles(steady),
            prices=here.prices.standing() if here.prices else (),
            events={name: events.standing() for name, events in here.events.items()},
            peaks=self._kept.peaks,
            forecasts=here.forecasts.standing,
        )

    def metrics(self) -> ForecastMetrics:
        """What a scrape sees: what the forecasts are worth."""
        return ForecastMetrics(lambda: self._equipment.forecasts.standing)

    # Always

    async def run(self) -> None:
        """Work while we lead, until cancelled; then batteries are let go of and what must last is on disk."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow())
                while True:
                    await self._begin_and_end(tasks)
                    await asyncio.sleep(LOOK_S)
        finally:
            if self._leads():
                self._keeping.save(self._kept)

    async def _begin_and_end(self, tasks: asyncio.TaskGroup) -> None:
        wanted = {part: name for name, part in self._equipment.parts()} if self._leads() else {}
        gone = [self._running.pop(part) for part in list(self._running) if part not in wanted]
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)  # a port must be free before the next one listens
        for part, name in wanted.items():
            if part not in self._running:
                self._running[part] = tasks.create_task(self._keep_running(part, name))

    async def _keep_running(self, part: Runs, name: str) -> None:
        while True:
            try:
                await part.run()
            except Exception as error:  # one part's fault is not the others'
                log.debug("%s", name, exc_info=True)
                self._said.once(logging.ERROR, name, f"failed and begins again: {error!r}")
            await asyncio.sleep(AGAIN_S)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_S)
            if not self._leads():
                continue
            try:
                self._look()
            except Exception as error:  # what was ordered goes on, and lapses with the plan
                log.debug("fast path", exc_info=True)
                self._said.once(logging.ERROR, "fast path", f"failed and goes on: {error!r}")
            if self._keeping.due(self._now()):
                await asyncio.to_thread(self._keeping.save, self._kept)

    def _look(self) -> None:
        """Let batteries help beyond the plan, and count what is billed."""
        batteries, billing = self._equipment.batteries, self._equipment.billing
        batteries.follow(self._feeds())
        worn = {"batteries": {**self._kept.batteries, **batteries.kept()}}
        now_s = self._clock()
        self._kept = billing.counted(self._kept.model_copy(update=worn), now_s, self._draw_w, self._prices(now_s))

    # Leading

    def _lead(self) -> None:
        """Whoever asks leads: take up what another may have left on disk, if it is new to us."""
        now_s = self._now()
        if not self._leads():
            self._kept, self._plan = self._keeping.load(), None
            self._workshop.forget()
            self._equipment = self._workshop.equip(self._budgets, self._kept.batteries)
        tick_s = min(now_s - self._asked_s, SLOW_TICK_S)
        self._leads_until_s = now_s + max(LEADS_S, LEADS_TICKS * tick_s)
        self._asked_s = now_s

    def _leads(self) -> bool:
        return self._now() < self._leads_until_s

    def _take_up(self, budgets: tuple[PowerBudget, ...]) -> None:
        if budgets == self._seen:
            return
        self._seen = budgets
        try:
            self._equipment = self._workshop.equip(budgets, self._kept.batteries)
            self._budgets = budgets
            self._said.forget("budgets")
        except BudgetError as error:
            self._said.once(logging.ERROR, "budgets", f"{error}; what was followed before is followed on")

    # What is known

    def _events(self, index: Mapping[str, int], now_s: float) -> list[Window]:
        events = self._equipment.events
        return [w for name, one in events.items() if name in index for w in one.windows(index[name], now_s)]

    def _prices(self, now_s: float) -> Prices:
        return self._equipment.prices.prices(now_s) if self._equipment.prices else NO_PRICES

    def _feed(self, scope: str) -> Reading | None:
        """The highest believed reading of a scope's feed."""
        readings = self._equipment.meters.readings({scope: 0}, self._now())
        return max(readings, key=lambda reading: reading.power_w, default=None)

    def _feeds(self) -> dict[str, Feed]:
        """Of each scope with a believed feed what it draws, and the limit that the plan keeps it to."""
        found = {}
        for scope in self._plan.scopes if self._plan and self._leads() else ():
            if told := self._feed(scope.scope):
                found[scope.scope] = Feed(told.power_w, scope.limit_w, told.age_s, told.window_s)
        return found

    def _draw_w(self, scope: str) -> float | None:
        """What a scope draws by its meter, else by the plan; None where neither knows."""
        if told := self._feed(scope):
            return told.power_w
        if self._plan is None or self._now() - self._planned_s > LEADS_S:
            return None
        return next((s.draw_w for s in self._plan.scopes if s.scope == scope), None)

    def _note_cards(self, snapshot: Snapshot) -> None:
        """Tell the meters what the cards draw; a card that is silent stands still and moves nothing."""
        power_w = snapshot.gpus.power_w
        before_w = self._cards_w if len(self._cards_w) == len(power_w) else np.zeros(len(power_w))
        self._cards_w = np.where(np.isfinite(power_w), power_w, before_w)
        site = snapshot.site
        drawn_w = np.bincount(site.nodes.scope[site.gpus.node], self._cards_w, len(site.scopes))
        for s, scope in reversed(list(enumerate(site.scopes))):  # parents stand before their children
            self._equipment.meters.drawn(scope.id, float(drawn_w[s]), self._now())
            if scope.parent != NONE:
                drawn_w[scope.parent] += drawn_w[s]
