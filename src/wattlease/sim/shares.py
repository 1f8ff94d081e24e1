"""Several clusters under one budget: a controller each, and a facility that leases them what they draw.

The leases are the real ones (`core.lease`): each cluster holds, the facility has the ledger, all on the plant's time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wattlease.core import explain
from wattlease.core.actions import Plan
from wattlease.core.decide import decide
from wattlease.core.decide_shares import Wish, decide_shares
from wattlease.core.frontier import Frontier, frontier, margin
from wattlease.core.lease import TTL_S, Answer, Holder, Ledger, Member, Roster, Target, allowed_w, ask, hear
from wattlease.core.leased import leased_window, risen
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import Floats, NodeReadings, Site, Snapshot
from wattlease.core.shares_site import NO_JOBS, readings_of_shares, site_of_shares
from wattlease.sim.parts import Part, joined, parts_of
from wattlease.sim.scenario import Fault, Scenario

MINUTE = 60
"""Ticks over which marginal costs are averaged: a job's draw wavers by some percent from second to second, and so does
what a watt is worth to it."""

NEAR_FRAC = 1e-3
"""What a watt is worth is looked at to a thousandth of a cluster's watts: prices leap between a job's levels."""


class Cluster:
    """One cluster: its part of the site, its controller's memory, and its lease."""

    def __init__(self, part: Part, start_s: float) -> None:
        self.part, self.memory, self.granted_w = part, FRESH, 0.0
        self.name, self.guaranteed_w = part.share.spec.cluster, float(part.share.spec.guaranteed_watts or 0)
        self.holder = Holder(self.name, "first", self.guaranteed_w)
        self.frontier: Frontier | None = None
        self.draw_w, self.heard_s = self.guaranteed_w, start_s

    def decide(self, whole: Snapshot) -> Plan:
        """What its controller does with the watts that it has now."""
        now_s = whole.now_s
        self.granted_w = allowed_w(self.holder, now_s)
        seen = self.part.snapshot(whole, leased_window("leased", self.granted_w, now_s))
        before = risen(self.memory, seen)
        self.frontier = frontier(seen, before)
        plan, self.memory = decide(seen, before)
        self.draw_w = plan.scopes[0].draw_w
        return plan

    def renew(self, ledger: Ledger, now_s: float, in_force_w: float) -> None:
        """Report what is in force, and take what is granted."""
        self.holder, request = ask(self.holder, now_s, in_force_w)
        answer = ledger.answer(request, now_s)
        if isinstance(answer, Answer):
            self.holder, _ = hear(self.holder, answer)
            self.heard_s = now_s

    def prices(self) -> tuple[float, float]:
        """What a watt less would cost and a watt more would spare, money an hour; NaN at a bound, and where a contract
        breaks."""
        spec = self.part.share.spec
        if self.frontier is None or not self.guaranteed_w + 1.0 < self.granted_w < spec.watts - 1.0:
            return math.nan, math.nan
        found = margin(self.frontier, self.granted_w, NEAR_FRAC * self.granted_w)
        within = found.less[0] == found.more[0] == 0 and found.more[1] > 0.0 and math.isfinite(found.less[1])
        return (found.less[1], found.more[1]) if within else (math.nan, math.nan)


class SharedSite:
    """The policy `shares`: as `decide`, but with what each cluster and the facility remember kept here."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.clusters: tuple[Cluster, ...] = ()
        self.prices: list[list[tuple[float, float]]] = []
        self.held_w: dict[str, list[float]] = {share.spec.cluster: [] for share in scenario.shares}
        self.supply_w: list[float] = []

    def decide(self, snapshot: Snapshot, memory: Memory) -> tuple[Plan, Memory]:
        """One tick of all of them; `memory` is the facility's."""
        if not self.clusters:
            self._begin(snapshot)
        plans = [cluster.decide(snapshot) for cluster in self.clusters]
        self._note()
        shared, memory = decide_shares(self._facility(snapshot), self._wishes(snapshot.now_s), memory)
        self._lease(snapshot, shared.plan)
        parts = {cluster.part: plan for cluster, plan in zip(self.clusters, plans, strict=True)}
        return joined(snapshot, shared.plan, parts, [cluster.granted_w for cluster in self.clusters]), memory

    def facts(self) -> dict[str, float | str]:
        """What the run says of its shares: what a watt was worth in whole minutes at the limit, and how far apart."""
        minutes = self.minutes()
        found: dict[str, float | str] = {
            "highest sum of shares": explain.watts(max(self.sums_w, default=0.0)),
            "seconds in which shares summed to more than the limit": f"{self.over_s():g}",
        }
        if not len(minutes):
            return found | {"marginal costs": "never both at the limit for a minute"}
        for cluster, price in zip(self.clusters, minutes.mean(axis=(0, 2)), strict=True):
            found[f"marginal cost in {cluster.name}, a kWh"] = f"{1e3 * price:.4f}"
        found["marginal costs apart, median minute"] = f"{float(np.median(apart(minutes))):.2%}"
        found["marginal costs apart, worst minute"] = f"{float(apart(minutes).max()):.2%}"
        return found | {"whole minutes at the limit": f"{len(minutes)}"}

    @property
    def sums_w(self) -> list[float]:
        """What all clusters together were leased, tick by tick."""
        return [sum(held) for held in zip(*self.held_w.values(), strict=True)]

    def over_s(self) -> float:
        """Seconds in which all leases summed to more than the limit with what batteries gave, and to more than that was
        at any time within one time to live before."""
        tick_s = self.scenario.tick_seconds
        late = math.ceil(TTL_S / tick_s)
        held = (max(self.supply_w[max(0, k - late) : k + 1]) for k in range(len(self.supply_w)))
        return tick_s * sum(sum_w > held_w + 1e-6 for sum_w, held_w in zip(self.sums_w, held, strict=True))

    def minutes(self) -> Floats:
        """Means over whole minutes with all clusters at the limit, [minutes, clusters, (a watt less, a watt more)]."""
        found = [
            np.mean(self.prices[first : first + MINUTE], axis=0)
            for first in range(0, len(self.prices) - MINUTE + 1, MINUTE)
        ]
        return np.array([minute for minute in found if np.isfinite(minute).all()])

    def _begin(self, snapshot: Snapshot) -> None:
        shares = self.scenario.shares
        site = snapshot.site
        self.clusters = tuple(Cluster(part, snapshot.now_s) for part in parts_of(site, shares))
        self.site: Site = site_of_shares(site.name, site.scopes, site.storages, shares)
        guaranteed_w = float(site.scopes[0].budget.spec.assured_watts)
        empty, ever = Roster(ttl_s=TTL_S), math.inf
        self.ledger = Ledger.begin(1, empty, snapshot.now_s, guaranteed_w=guaranteed_w, leads_until_s=ever)
        for cluster in self.clusters:
            most_w = float(cluster.part.share.spec.watts)
            member = Member(name=cluster.name, fallback_w=cluster.guaranteed_w, nameplate_w=most_w, lapses=True)
            self.ledger.enrol(member, snapshot.now_s)
        self.ledger.note_saved(self.ledger.revision)

    def _wishes(self, now_s: float) -> tuple[Wish, ...]:
        ttl_s = self.ledger.ttl_s
        return tuple(
            Wish(c.frontier if now_s - c.heard_s < ttl_s else None, c.part.share.spec.priority) for c in self.clusters
        )

    def _facility(self, whole: Snapshot) -> Snapshot:
        """What the facility sees: clusters by their reports, and its own meters and batteries."""
        granted_w = np.array([self.ledger.liability_w(c.name, whole.now_s) for c in self.clusters])
        age_s = [whole.now_s - c.heard_s for c in self.clusters]
        nothing = np.full(len(self.clusters), np.nan)
        return Snapshot(
            now_s=whole.now_s,
            site=self.site,
            gpus=readings_of_shares([c.draw_w for c in self.clusters], age_s, granted_w.tolist()),
            nodes=NodeReadings(nothing, nothing + np.inf, granted_w),
            jobs=NO_JOBS,
            meters=whole.meters,
            storages=whole.storages,
            windows=whole.windows,
            forecasts=whole.forecasts,
            prices=whole.prices,
        )

    def _lease(self, whole: Snapshot, plan: Plan) -> None:
        """The plan becomes leases; a cluster that cannot reach its facility asks in vain."""
        now_s = whole.now_s
        targets = {c.name: Target(float(w)) for c, w in zip(self.clusters, plan.grant_w, strict=True)}
        given_w = sum(max(storage.power_w, 0.0) for storage in whole.storages)
        self.supply_w.append(plan.scopes[0].limit_w + given_w)
        self.ledger.plan(targets, self.supply_w[-1], now_s)
        for cluster in self.clusters:
            if not _cut_off(self.scenario.faults, cluster.name, now_s - self.scenario.start_s):
                cluster.renew(self.ledger, now_s, float(whole.nodes.granted_w[cluster.part.nodes].sum()))
        for cluster in self.clusters:
            self.held_w[cluster.name].append(allowed_w(cluster.holder, now_s))

    def _note(self) -> None:
        """What a watt is worth in each cluster now."""
        self.prices.append([c.prices() for c in self.clusters])


def apart(prices: Floats) -> Floats:
    """By what share a watt is worth more where it is worth most than it costs where it costs least, for each row of
    [rows, clusters, (a watt less, a watt more)]; 0 where moving it would gain nothing."""
    found: Floats = np.maximum(prices[:, :, 1].max(axis=1) / prices[:, :, 0].min(axis=1) - 1.0, 0.0)
    return found


def _cut_off(faults: Sequence[Fault], cluster: str, passed_s: float) -> bool:
    return any(
        f.kind == "lostShare" and f.target in ("*", cluster) and f.at_seconds <= passed_s < f.at_seconds + f.seconds
        for f in faults
    )
