"""From what was written of budgets and hardware to the site that the core sees."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from wattlease.core.api import PowerBudget, PowerProfile, check_tree
from wattlease.core.errors import BudgetError
from wattlease.core.gpu_models import GPU_MODELS, gpu_model
from wattlease.core.lease import Member
from wattlease.core.model import NONE, CardModel, Gpus, Nodes, Scope, Site, StorageUnit
from wattlease.core.terms import terms_of
from wattlease.runtime.lease.members import Membership
from wattlease.runtime.site_words import Group

J_PER_WH = 3600.0


def site_of(
    name: str, groups: Sequence[Group], budgets: Sequence[PowerBudget], profiles: Sequence[PowerProfile]
) -> Site:
    """The site as shells describe it to the core. BudgetError if budgets or card models do not fit together."""
    check_tree(budgets)
    scopes = scopes_of(budgets)
    models = tuple(dict.fromkeys(_card(g) for g in groups))
    return Site(
        name=name,
        scopes=scopes,
        models=models,
        nodes=_nodes(groups, {s.id: i for i, s in enumerate(scopes)}),
        gpus=_gpus(groups, models),
        terms=tuple(terms_of(p) for p in profiles),
        storages=tuple(storages_of(scopes)),
    )


def membership_of(site: Site, asleep: Collection[str] = (), lapses: bool = False) -> Membership:
    """Every node of the site, at its nameplate and fallback as configured; `lapses` as in `Member`.

    A node that its scheduler has switched off counts at its fallback: its agent starts at that before any job does. In
    shadow mode no node falls below its nameplate, whoever dies; the first grants in earnest tell it the fallback that
    is configured, and the ledger counts the higher one until the node has it on disk.
    """
    nodes = site.nodes
    falls_to_w = np.maximum(nodes.nameplate_w, nodes.fallback_w) if shadows(site) else nodes.fallback_w
    return Membership(
        Member(
            name=name,
            fallback_w=float(fallback_w),
            nameplate_w=float(fallback_w if name in asleep else np.maximum(nameplate_w, fallback_w)),
            lapses=lapses,
        )
        for name, fallback_w, nameplate_w in zip(nodes.id, falls_to_w, nodes.nameplate_w, strict=True)
    )


def shadows(site: Site) -> bool:
    """Whether all that is decided is only shown: the root's word, whatever the budgets below it say."""
    return site.scopes[0].budget.spec.mode == "Shadow"


def _card(group: Group) -> CardModel:
    if group.card:
        c = group.card
        return CardModel(group.gpu_model, c.rated_watts, c.min_cap_watts, c.idle_watts)
    known = gpu_model(group.gpu_model)
    if known is None:
        text = f"groups '{group.name}': gpuModel '{group.gpu_model}' is not in the library"
        raise BudgetError(f"{text} ({', '.join(sorted(GPU_MODELS))}); write its range under card")
    return CardModel(group.gpu_model, known.rated_w, known.min_cap_w, known.idle_w)


def scopes_of(budgets: Sequence[PowerBudget]) -> tuple[Scope, ...]:
    """Parents before children, else in the order written."""
    order: dict[str, PowerBudget] = {}
    while len(order) < len(budgets):
        order.update({b.name: b for b in budgets if b.spec.parent is None or b.spec.parent in order})
    index = {name: i for i, name in enumerate(order)}
    return tuple(Scope(n, NONE if b.spec.parent is None else index[b.spec.parent], b) for n, b in order.items())


def _nodes(groups: Sequence[Group], scope: dict[str, int]) -> Nodes:
    for group in groups:
        if group.budget not in scope:
            text = f"groups '{group.name}': budget '{group.budget}' is not defined"
            raise BudgetError(f"{text}; there is {', '.join(scope)}")
    count = [g.nodes for g in groups]
    overhead = [_overhead_w(g) for g in groups]
    fallback = [
        float(g.node_fallback_watts or w + g.gpus_per_node * _card(g).min_cap_w)
        for g, w in zip(groups, overhead, strict=True)
    ]
    return Nodes(
        id=tuple(node for g in groups for node in g.names),
        scope=np.repeat([scope[g.budget] for g in groups], count).astype(np.int64),
        cluster=tuple(g.cluster for g in groups for _ in range(g.nodes)),
        nameplate_w=np.repeat([float(g.node_nameplate_watts) for g in groups], count),
        overhead_w=np.repeat(overhead, count),
        fallback_w=np.repeat(fallback, count),
        overhead_rise=np.repeat([g.overhead.per_it_percent / 100.0 for g in groups], count),
    )


def _overhead_w(group: Group) -> float:
    """A node's draw beyond its GPUs at the worst, every card at its rating: what an operator would configure."""
    return group.overhead.floor_watts + group.overhead.per_it_percent / 100 * group.gpus_per_node * _card(group).rated_w


def _gpus(groups: Sequence[Group], models: tuple[CardModel, ...]) -> Gpus:
    per_node = np.repeat([g.gpus_per_node for g in groups], [g.nodes for g in groups])
    model = np.repeat([models.index(_card(g)) for g in groups], [g.nodes * g.gpus_per_node for g in groups])
    return Gpus(
        node=np.repeat(np.arange(len(per_node)), per_node).astype(np.int64),
        model=model.astype(np.int64),
        min_cap_w=np.array([m.min_cap_w for m in models])[model],
        max_cap_w=np.array([m.rated_w for m in models])[model],
    )


def storages_of(scopes: Sequence[Scope]) -> list[StorageUnit]:
    """The batteries of these scopes, in the scopes' order."""
    return [
        StorageUnit(
            id=s.name,
            scope=i,
            capacity_j=s.capacity_watt_hours * J_PER_WH,
            max_charge_w=float(s.max_charge_watts),
            max_discharge_w=float(s.max_discharge_watts),
            reserve_frac=s.reserve_percent / 100,
            round_trip_frac=s.round_trip_percent / 100,
            wear_per_kwh=s.wear_cost_per_kilowatt_hour,
            fade_frac=s.fade_percent / 100,
        )
        for i, scope in enumerate(scopes)
        for s in scope.budget.spec.storage
    ]
