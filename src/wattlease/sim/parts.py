"""A site cut into its clusters, each seen by a controller of its own, and their plans put together again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wattlease.core.actions import Plan
from wattlease.core.api import PowerBudget, PowerShare
from wattlease.core.model import (
    NONE,
    Floats,
    GpuReadings,
    Ints,
    NodeReadings,
    Reading,
    Scope,
    Site,
    Snapshot,
    Window,
)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One cluster of a site: its own site under one budget, and where its nodes and cards stand in the whole."""

    share: PowerShare
    site: Site
    nodes: Ints
    cards: Ints

    def jobs_of(self, whole: Snapshot) -> Ints:
        """Its jobs' places in the whole's columns."""
        return np.flatnonzero(np.array(whole.jobs.cluster, dtype=object) == self.share.spec.cluster)

    def snapshot(self, whole: Snapshot, window: Window) -> Snapshot:
        """What its controller sees of the whole, by a meter of its own, under the share that it has leased."""
        jobs = self.jobs_of(whole)
        place = np.full(len(whole.jobs.id) + 1, NONE, np.int64)
        place[jobs] = np.arange(len(jobs))
        gpus, nodes = whole.gpus, whole.nodes
        return Snapshot(
            now_s=whole.now_s,
            site=self.site,
            gpus=GpuReadings(
                gpus.power_w[self.cards],
                gpus.age_s[self.cards],
                gpus.cap_w[self.cards],
                place[gpus.job[self.cards]],
            ),
            nodes=NodeReadings(nodes.power_w[self.nodes], nodes.age_s[self.nodes], nodes.granted_w[self.nodes]),
            jobs=replace(whole.jobs, **{name: _rows(getattr(whole.jobs, name), jobs) for name in whole.jobs.__slots__}),
            meters=(self._meter(nodes),),
            windows=(window,),
            prices=whole.prices,
        )

    def _meter(self, nodes: NodeReadings) -> Reading:
        """All its nodes, by their own meters."""
        return Reading("nodes", 0, float(nodes.power_w[self.nodes].sum()), float(nodes.age_s[self.nodes].max()), 1.0)


def parts_of(site: Site, shares: Sequence[PowerShare]) -> tuple[Part, ...]:
    """The clusters of a site that have a share each."""
    return tuple(_part(site, share) for share in shares)


def _part(site: Site, share: PowerShare) -> Part:
    nodes = np.flatnonzero(np.array(site.nodes.cluster, dtype=object) == share.spec.cluster)
    cards = np.flatnonzero(np.isin(site.gpus.node, nodes))
    above = next(s.budget.spec for s in site.scopes if s.id == share.spec.budget)
    spec = {"limitWatts": share.spec.watts, "guaranteedWatts": share.spec.guaranteed_watts}
    budget = PowerBudget.model_validate({"metadata": {"name": share.spec.cluster}, "spec": spec})
    band = above.band.model_copy(update={"margin_percent": 0.0})  # kept once, at the feed
    kept = budget.spec.model_copy(update={"ramp": above.ramp, "band": band, "tariff": above.tariff})
    own = replace(
        site,
        name=share.spec.cluster,
        scopes=(Scope(share.spec.cluster, NONE, budget.model_copy(update={"spec": kept})),),
        nodes=replace(
            site.nodes,
            **{name: _rows(getattr(site.nodes, name), nodes) for name in site.nodes.__slots__ if name != "scope"},
            scope=np.zeros(len(nodes), np.int64),
        ),
        gpus=replace(
            site.gpus,
            **{name: _rows(getattr(site.gpus, name), cards) for name in site.gpus.__slots__ if name != "node"},
            node=np.searchsorted(nodes, site.gpus.node[cards]),
        ),
        storages=(),
    )
    return Part(share, own, nodes, cards)


def _rows(column: Any, rows: Ints) -> Any:
    return tuple(column[int(i)] for i in rows) if isinstance(column, tuple) else column[rows]


def joined(whole: Snapshot, facility: Plan, parts: Mapping[Part, Plan], granted_w: Sequence[float]) -> Plan:
    """One plan for the plant: jobs by their clusters, batteries and scopes by the facility; `granted_w` are the shares.

    What the nodes of a cluster are granted is cut to its share as a ledger cuts it: in proportion above fallbacks.
    """
    jobs, nodes = len(whole.jobs.id), whole.site.nodes
    columns: dict[str, Any] = {name: np.zeros(jobs) for name in ("cap_w", "job_w", "speed_frac", "cost_per_h")}
    grant_w = nodes.fallback_w.copy()
    actions, why = list(facility.actions), list(facility.why)
    for (part, plan), share_w in zip(parts.items(), granted_w, strict=True):
        here = part.jobs_of(whole)
        for name, column in columns.items():
            column[here] = getattr(plan, name)
        grant_w[part.nodes] = _cut(plan.grant_w, nodes.fallback_w[part.nodes], share_w)
        actions += plan.actions
        why += plan.why
    return replace(facility, actions=tuple(actions), why=tuple(why), grant_w=grant_w, **columns)


def _cut(wanted_w: Floats, fallback_w: Floats, share_w: float) -> Floats:
    above_w = np.maximum(wanted_w - fallback_w, 0.0)
    room_w = max(share_w - float(fallback_w.sum()), 0.0)
    return fallback_w + above_w * min(1.0, room_w / max(float(above_w.sum()), 1e-9))
