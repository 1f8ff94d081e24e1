"""From a plan to what each node should be granted, and to the sentences for its jobs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wattlease.core import explain
from wattlease.core.actions import Charge, Discharge, Plan
from wattlease.core.kept_overhead import known
from wattlease.core.lease import Target
from wattlease.core.memory import ScopesMemory
from wattlease.core.model import NONE, Bools, Floats, Site, Snapshot
from wattlease.core.outcome import gpu_caps
from wattlease.core.sites import site_table
from wattlease.runtime.controller.workload import NOTHING_ASKED, Ask
from wattlease.runtime.lease.report import Hint
from wattlease.runtime.site_words import Group


class NodeWatts:
    """What a node draws when its cards draw so much, by what was written of its group."""

    def __init__(self, groups: tuple[Group, ...]) -> None:
        count = [g.nodes for g in groups]
        self._floor_w = np.repeat([float(g.overhead.floor_watts) for g in groups], count)
        self._per_it_frac = np.repeat([g.overhead.per_it_percent / 100.0 for g in groups], count)

    def of(self, cards_w: Floats) -> Floats:
        """Watts of each node, from the sum over its cards."""
        return self._floor_w + (1.0 + self._per_it_frac) * cards_w


def targets(
    snapshot: Snapshot, plan: Plan, scopes: ScopesMemory, node_watts: NodeWatts, beside_w: float
) -> dict[str, Target]:
    """What the plan would grant each node: its cards' limits, and what the node draws beside them.

    What a lower scope still has out is not raised elsewhere below it: a ledger looks at the site's sum alone, so
    raises within a hall or a rack wait here until the hall or rack has room for them.
    """
    site, nodes = snapshot.site, len(snapshot.site.nodes.id)
    caps_w = gpu_caps(snapshot, plan.cap_w, plan.spare_frac)
    wanted_w = node_watts.of(np.bincount(site.gpus.node, caps_w, nodes).astype(float))
    given_w = lent_w(snapshot, plan, scopes, _within_scopes(snapshot, plan, wanted_w), beside_w)
    first = np.searchsorted(site.gpus.node, np.arange(nodes + 1))
    return {
        name: Target(float(given_w[n]), tuple(caps_w[first[n] : first[n + 1]].tolist()))
        for n, name in enumerate(site.nodes.id)
    }


def lent_w(snapshot: Snapshot, plan: Plan, scopes: ScopesMemory, wanted_w: Floats, beside_w: float) -> Floats:
    """What of the watts that a plan has for each node, or cluster, may be lent now. A plan counts on what batteries are
    ordered to give, and on overhead as it was learned; either may come late."""
    margin_frac = float(site_table(snapshot.site).margin_frac[0])
    feed_w = (1.0 - margin_frac) * float(scopes.allowed_w[0])
    raised_w = _as_seen_free(snapshot.nodes.granted_w, wanted_w, feed_w - plan.scopes[0].draw_w)
    return _without_the_late(snapshot, plan, raised_w, feed_w - beside_w)


def _as_seen_free(out_w: Floats, wanted_w: Floats, free_w: float) -> Floats:
    """Raises cut so that all together rise by no more than is free, beside what others hand back."""
    raises_w, falls_w = np.maximum(wanted_w - out_w, 0.0), np.maximum(out_w - wanted_w, 0.0)
    room_w = max(free_w, 0.0) + float(falls_w.sum())
    return wanted_w - _part(raises_w, float(raises_w.sum()) - room_w)


def _without_the_late(snapshot: Snapshot, plan: Plan, wanted_w: Floats, through_w: float) -> Floats:
    """Without what batteries do not give of their orders, as far as what may come through the feed does not carry it;
    nobody is put below its fallback."""
    ordered_w, given_w = _of_batteries(snapshot, plan)
    missing_w = float(wanted_w.sum()) - (through_w + given_w)
    above_w = np.maximum(wanted_w - snapshot.site.nodes.fallback_w, 0.0)
    return wanted_w - _part(above_w, min(ordered_w - given_w, missing_w))


def _part(watts_w: Floats, sum_w: float) -> Floats:
    """The same share of each, so that they make this sum, from nothing to all."""
    all_w = float(watts_w.sum())
    return watts_w * (min(max(sum_w, 0.0), all_w) / all_w) if all_w > 0.0 else watts_w


def supply_w(snapshot: Snapshot, plan: Plan) -> float:
    """What the nodes may draw in all: the limit at the feed, and what the batteries behind it give."""
    _, given_w = _of_batteries(snapshot, plan)
    return max(plan.scopes[0].limit_w + given_w, 0.0)


def _of_batteries(snapshot: Snapshot, plan: Plan) -> tuple[float, float]:
    """What all batteries are ordered, positive to discharge, and what they give of it.

    A battery gives what it was ordered and is measured to give, whichever is less, and charging whichever is more:
    watts are lent once they are there.
    """
    orders = {a.storage: a.power_w for a in plan.actions if isinstance(a, Discharge)}
    orders |= {a.storage: -a.power_w for a in plan.actions if isinstance(a, Charge)}
    ordered_w = np.array([orders.get(unit.id, 0.0) for unit in snapshot.site.storages])
    measured_w = np.nan_to_num(np.array([state.power_w for state in snapshot.storages]))
    return float(ordered_w.sum()), float(np.minimum(ordered_w, measured_w).sum())


def beside_w(snapshot: Snapshot, scopes: ScopesMemory, node_watts: NodeWatts | None = None) -> float:
    """What draws through the feed beside the nodes, such as cooling: what the meter has taught of overhead, less what
    `node_watts` counts of it (None: nodes tell all that they draw). 0 before the meter has taught it."""
    if not len(scopes.looks) or not known(scopes)[0]:
        return 0.0
    nodes, power_w = len(snapshot.site.nodes.id), np.nan_to_num(snapshot.gpus.power_w)
    cards_w = np.bincount(snapshot.site.gpus.node, power_w, nodes).astype(float)
    then_w = cards_w * (float(scopes.it_at_w[0]) / max(float(cards_w.sum()), 1.0))  # as when it was learned
    own_w = float((node_watts.of(then_w) - then_w).sum()) if node_watts else 0.0
    return max(float(scopes.overhead_w[0]) - own_w, 0.0)


def unlimited(snapshot: Snapshot) -> dict[str, Target]:
    """Every node at its nameplate, every card at its maximum: what shadow mode grants."""
    site = snapshot.site
    first = np.searchsorted(site.gpus.node, np.arange(len(site.nodes.id) + 1))
    return {
        name: Target(float(site.nodes.nameplate_w[n]), tuple(site.gpus.max_cap_w[first[n] : first[n + 1]].tolist()))
        for n, name in enumerate(site.nodes.id)
    }


def _within_scopes(snapshot: Snapshot, plan: Plan, wanted_w: Floats) -> Floats:
    """The nodes' watts, with raises cut to the room that each lower scope has beside all that is out in it."""
    out_w = snapshot.nodes.granted_w
    given_w = wanted_w.copy()
    for s, scope in enumerate(snapshot.site.scopes):
        if scope.parent != NONE:
            here = _below(snapshot.site, s)
            room_w = max(plan.scopes[s].limit_w - float(np.maximum(out_w, 0.0)[here].sum()), 0.0)
            raises_w = np.where(here, np.maximum(given_w - out_w, 0.0), 0.0)
            given_w = given_w - _part(raises_w, float(raises_w.sum()) - room_w)
    return given_w


def _below(site: Site, s: int) -> Bools:
    """The nodes that draw through this scope."""
    inside = np.arange(len(site.scopes)) == s
    for child in range(s + 1, len(site.scopes)):  # parents come before their children
        parent = site.scopes[child].parent
        inside[child] |= parent != NONE and inside[parent]
    found: Bools = inside[site.nodes.scope]
    return found


def hints(snapshot: Snapshot, plan: Plan, asks: Mapping[str, Ask]) -> dict[str, tuple[Hint, ...]]:
    """By node, what the jobs on it are told: how fast they may go, what else is asked of them, and why."""
    site, jobs = snapshot.site, snapshot.jobs
    root = plan.scopes[0]
    of = [asks.get(name, NOTHING_ASKED) for name in jobs.id]
    told = [
        _hint(name, float(plan.speed_frac[j]), of[j], _why(float(plan.cap_w[j]), root.text))
        for j, name in enumerate(jobs.id)
    ]
    on = sorted({(int(n), int(j)) for n, j in zip(site.gpus.node, snapshot.gpus.job, strict=True) if j != NONE})
    found: dict[str, list[Hint]] = {name: [] for name in site.nodes.id}
    for n, j in on:
        if not of[j].parts:
            found[site.nodes.id[n]].append(told[j])
    for hint, ask in zip(told, of, strict=True):
        for node, name in ask.parts:
            if node in found:
                found[node].append(hint.model_copy(update={"job": name}))
    return {name: tuple(of_node) for name, of_node in found.items()}


def _hint(job: str, speed_frac: float, ask: Ask, why: str) -> Hint:
    return Hint(
        job=ask.name or job,
        batch_frac=ask.batch_frac,
        variant=ask.variant,
        checkpoint=ask.checkpoint,
        pause=ask.pause,
        speed_frac=_round(speed_frac),
        why=why,
    )


def _round(speed_frac: float) -> float:
    """To a percent: a hint that moves with every tick would wake every node."""
    return round(float(np.clip(speed_frac, 0.0, 1.0)), 2)


def _why(cap_w: float, text: str) -> str:
    return f"{explain.watts(round(cap_w, -1))} a card under {text}"
