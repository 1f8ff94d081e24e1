"""All batteries of a set of budgets: read and told each second that we live, ordered by the plan, helping beyond it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from wattlease.core.api import PowerBudget, check_tree
from wattlease.core.api_storage import Pcs
from wattlease.core.errors import BudgetError
from wattlease.core.limits import help_w
from wattlease.core.model import Floats, Storage, StorageUnit
from wattlease.facility.battery.belief import USUAL, Belief, Patience, floor_w, limited, why_not
from wattlease.facility.battery.follow import Columns, Load, orders, way_up
from wattlease.facility.battery.sunspec import SunSpecBattery
from wattlease.facility.battery.tended import Tended
from wattlease.facility.battery.wear import Kept
from wattlease.facility.battery.witness import Scene
from wattlease.facility.battery.words import Battery
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.said import Said
from wattlease.runtime.site import scopes_of, storages_of
from wattlease.runtime.waiting import set_within

FEED_STALE_S = 5.0
"""A feed that was not told for longer is not known."""

SOON_S = 0.1
"""A battery is tended no more often than this, however fast its aim moves."""

ON_ITS_WAY_S = 0.25
"""So often it is looked at while it turns to another order: the feed is read against what it gave at that time."""

FAREWELL_S = 3.0
"""What idling all may take when we end; then their timers do it."""

NOBODYS = Storage(soc_frac=math.nan, soh_frac=1.0, power_w=0.0, age_s=math.inf, available=False)
"""A battery without a converter of ours."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Feed:
    """What a scope draws at its meter, as the mean over `window_s` that ended `age_s` ago, and what it must keep to."""

    power_w: float
    limit_w: float
    age_s: float = 0.0
    window_s: float = 1.0


class Batteries:
    """Runs the batteries that budgets name. All but `run` answers at once; names are those of storages and budgets."""

    def __init__(
        self,
        budgets: Sequence[PowerBudget],
        kept: Mapping[str, Kept] | None = None,
        patience: Patience = USUAL,
        clock: Now = steady_s,
        reach: Callable[[Pcs], Battery] = SunSpecBattery,
    ) -> None:
        check_tree(budgets)
        self._scopes = scopes_of(budgets)
        self._units = tuple(storages_of(self._scopes))
        _refuse_namesakes(self._units)
        self._parents = tuple(s.parent for s in self._scopes)
        self._patience, self._clock, self._said = patience, clock, Said(log)
        specs = [(scope.budget.spec, spec) for scope in self._scopes for spec in scope.budget.spec.storage]
        self._tended = {
            unit.id: Tended(
                pcs=spec.pcs,
                battery=reach(spec.pcs),
                touches=budget.mode == "Enforce",
                belief=Belief(unit, (kept or {}).get(unit.id, Kept())),
                begun_s=clock(),
            )
            for unit, (budget, spec) in zip(self._units, specs, strict=True)
            if spec.pcs is not None
        }
        self._feeds: dict[int, tuple[Feed, float]] = {}
        self._aimed_s = clock()

    async def run(self) -> None:
        """Tend them until cancelled; then who charges idles at once, and who gives by its own timer."""
        tending = (self._tend(name, tended) for name, tended in self._tended.items())
        tasks = [asyncio.create_task(task) for task in (self._keep_time(), *tending)]
        try:
            await asyncio.gather(*tasks)
        finally:
            await _ended(tasks)
            await asyncio.gather(*(self._leave(t) for t in self._tended.values()), return_exceptions=True)

    def storages(self, now_s: float) -> tuple[Storage, ...]:
        """What a tick may know of them at a steady time, beside `Site.storages` of the same budgets."""
        found = (self._tended.get(unit.id) for unit in self._units)
        return tuple(t.storage(now_s, self._patience) if t else NOBODYS for t in found)

    def units(self) -> tuple[StorageUnit, ...]:
        """The units of `Site.storages`, narrowed to what the batteries themselves allow."""
        found = ((unit, self._tended.get(unit.id)) for unit in self._units)
        return tuple(limited(t.belief) if t else unit for unit, t in found)

    def kept(self) -> dict[str, Kept]:
        """What is to outlive the process: wear, and where each proved to be empty."""
        return {name: tended.belief.kept for name, tended in self._tended.items()}

    def troubles(self, now_s: float) -> dict[str, str]:
        """Why batteries are left out; only those that are."""
        found = {name: why_not(tended.belief, now_s, self._patience) for name, tended in self._tended.items()}
        return {name: why for name, why in found.items() if why}

    def order(self, power_w: Mapping[str, float]) -> None:
        """The plan's orders in place of those before, positive to discharge; who is not named, or with NaN, idles."""
        now_s = self._clock()
        power_w = {name: watts for name, watts in power_w.items() if math.isfinite(watts)}
        changed = [t for n, t in self._tended.items() if self._is_other(t, power_w.get(n, 0.0))]
        for name, tended in self._tended.items():
            if changed:
                alone = changed == [tended] and tended.touches
                tended.witness = tended.witness.began(self._scene(tended, now_s) if alone else None)
            tended.planned_w, tended.planned_s = power_w.get(name, 0.0), now_s
        self._aim(now_s)

    def follow(self, feeds: Mapping[str, Feed]) -> dict[str, float]:
        """Help at once where a budget's feed is over its limit; returns what each battery is meant to do now."""
        now_s = self._clock()
        for scope, feed in ((i, feeds[s.id]) for i, s in enumerate(self._scopes) if s.id in feeds):
            if math.isfinite(feed.power_w) and not math.isnan(feed.limit_w):
                self._feeds[scope] = (feed, now_s)
        for tended in self._tended.values():
            self._bear_witness(tended, now_s)
        self._aim(now_s)
        return {name: tended.aim_w for name, tended in self._tended.items()}

    def _aim(self, now_s: float) -> None:
        dt_s, self._aimed_s = min(max(now_s - self._aimed_s, 0.0), FEED_STALE_S), now_s
        tended = list(self._tended.values())
        if not tended:
            return
        planned_w = np.array([t.plan_w(now_s) for t in tended])
        aims_w = orders(self._columns(tended, planned_w, now_s), self._loads(now_s), self._parents, dt_s)
        for t, aim_w, plan_w in zip(tended, aims_w.tolist(), planned_w.tolist(), strict=True):
            if abs(aim_w - t.aim_w) > 0.1 * floor_w(t.unit, self._patience):
                t.turned_s = now_s
                t.wake.set()
            t.aim_w, t.helped_w = aim_w, max(0.0, aim_w - plan_w)

    def _columns(self, tended: Sequence[Tended], planned_w: Floats, now_s: float) -> Columns:
        units = [limited(t.belief) for t in tended]
        states = [t.storage(now_s, self._patience) for t in tended]
        able = np.array([s.available for s in states])
        return Columns(
            scope=tuple(u.scope for u in units),
            least_w=np.where(able, [-u.max_charge_w for u in units], 0.0),
            most_w=np.array([help_w(u, s) for u, s in zip(units, states, strict=True)]),
            planned_w=planned_w,
            was_w=np.array([t.aim_w for t in tended]),
            helped_w=np.array([t.helped_w for t in tended]),
            ramp_w_per_s=np.array([float(t.pcs.ramp_watts_per_second or math.inf) for t in tended]),
            full_w=np.array([t.unit.max_discharge_w for t in tended]),
        )

    def _loads(self, now_s: float) -> list[Load]:
        """What the scopes draw, with what their batteries gave in the very span that the meter told of added back."""
        found = []
        for scope, (feed, told_s) in self._feeds.items():
            if now_s - told_s <= FEED_STALE_S:
                to_s = told_s - feed.age_s
                gave_w = sum(t.gave_w(to_s - feed.window_s, to_s) for t in self._below(scope))
                found.append(Load(scope, feed.power_w, feed.power_w + gave_w, feed.limit_w))
        return found

    def _below(self, scope: int) -> list[Tended]:
        """Batteries in the scope and in those under it."""
        return [t for t in self._tended.values() if scope in way_up(t.unit.scope, self._parents)]

    def _is_other(self, tended: Tended, power_w: float) -> bool:
        return abs(power_w - tended.planned_w) >= 2 * floor_w(tended.unit, self._patience)

    def _scene(self, tended: Tended, now_s: float) -> Scene | None:
        feed, told_s = self._feeds.get(tended.unit.scope, (None, -math.inf))
        left_out = why_not(tended.belief, now_s, self._patience)
        if feed is None or now_s - told_s > FEED_STALE_S or left_out:
            return None
        return Scene(now_s, feed.power_w, tended.belief.order_w)

    def _bear_witness(self, tended: Tended, now_s: float) -> None:
        scene = self._scene(tended, now_s)
        helps = any(t.helped_w > 0.0 for t in self._tended.values())
        if helps or scene is None or not tended.pcs.sign_check:
            tended.witness = tended.witness.began(None)
            return
        tended.witness = tended.witness.looked(scene, self._patience.look_s, floor_w(tended.unit, self._patience))
        if tended.witness.lie:
            tended.belief = replace(tended.belief, lie=tended.witness.lie)

    async def _keep_time(self) -> None:
        """Each second without a word from anyone: orders that lapsed fall, help is handed back."""
        while True:
            await asyncio.sleep(1.0)
            if self._clock() - self._aimed_s >= 1.0:
                self._aim(self._clock())

    async def _tend(self, name: str, tended: Tended) -> None:
        while True:
            began_s = self._clock()
            tended.wake.clear()
            try:
                await tended.tend(began_s, self._patience)
            except Exception as error:  # a fault in a driver must not end the others' tasks
                log.exception("battery=%s could not be tended", name)
                tended.belief = replace(tended.belief, trouble=f"{type(error).__name__}: {error}")
            self._say(name, tended)
            await asyncio.sleep(SOON_S)
            turns = tended.is_on_its_way(self._clock(), self._patience)
            pace_s = ON_ITS_WAY_S if turns else float(tended.pcs.heartbeat_seconds)
            rest_s = pace_s - (self._clock() - began_s)
            await set_within(tended.wake, max(rest_s, 0.0))

    def _say(self, name: str, tended: Tended) -> None:
        why = why_not(tended.belief, self._clock(), self._patience)
        if why:
            self._said.once(logging.ERROR if tended.belief.lie else logging.WARNING, f"battery={name} left out", why)
        elif self._said.forget(f"battery={name} left out"):
            log.info("battery=%s is used again", name)

    async def _leave(self, tended: Tended) -> None:
        """One that gives goes on until its own timer ends it: what it gives is lent for as long as grants last."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                if tended.lets_go and tended.aim_w <= 0.0:
                    await tended.battery.idle()
        await tended.battery.close()


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel until it took: before Python 3.12 a wait whose answer comes at that very moment swallows it."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=0.5)


def _refuse_namesakes(units: Sequence[StorageUnit]) -> None:
    twins = [name for name, count in Counter(u.id for u in units).items() if count > 1]
    if twins:
        raise BudgetError(f"storage '{twins[0]}' is named in two budgets; give each battery a name of its own")
