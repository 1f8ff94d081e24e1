"""One tick of a facility: its limit, its batteries and its clusters' frontiers in, watts for each cluster out.

The first half is every site's own (`tick.assess`): what is drawn, which limit binds, how it may rise, what batteries
can add. The site's nodes are the clusters, each with one card that draws what the cluster does. The second half splits
what is left by price, batteries beside clusters: a cluster is held back only where that is cheaper than their wear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wattlease.core.actions import Action, Plan, ScopePlan
from wattlease.core.explain import Facts, sentence, tightest
from wattlease.core.frontier import NO_STEPS, Frontier
from wattlease.core.levers import storage
from wattlease.core.memory import Memory
from wattlease.core.model import Floats, Snapshot
from wattlease.core.outcome import storage_actions
from wattlease.core.set_back import set_back
from wattlease.core.share_split import Claim, Split, split
from wattlease.core.sites import roll_up
from wattlease.core.standing import scope_plans
from wattlease.core.storing import set_points_w, to_scopes
from wattlease.core.tick import Tick, assess


@dataclass(frozen=True, slots=True)
class Wish:
    """What a cluster asks for; `frontier` is None while it is not heard, and its watts stay what they may be."""

    frontier: Frontier | None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Shared:
    """The plan, whose `grant_w` are the clusters' watts, and what a watt cost in each scope that binds (tier, money for
    a watt and an hour)."""

    plan: Plan
    price: tuple[tuple[int, float] | None, ...]


def decide_shares(snapshot: Snapshot, wishes: Sequence[Wish], memory: Memory) -> tuple[Shared, Memory]:
    """Decide one tick; `wishes` stand beside `Site.nodes`, `memory` is what the tick before returned."""
    memory = set_back(memory, snapshot.now_s)
    tick, memory = assess(snapshot, memory, promises_known=False)  # those are the clusters' own
    parents = [scope.parent for scope in snapshot.site.scopes]
    room_w = np.maximum(tick.aim.jobs_w + tick.stores.help_w, 0.0)
    units = _batteries(tick)
    needed = split([*_claims(tick, wishes, slack=False), *units], room_w, parents)
    drawn_w = _by_scope(snapshot, needed.watts_w)
    given_w = tick.stores.discharge_w + tick.stores.more_w - needed.watts_w[len(wishes) :]
    power_w = set_points_w(snapshot, tick.stores, given_w, room_w - drawn_w)
    charged_w = to_scopes(snapshot, np.maximum(-power_w, 0.0))
    found = split([*_claims(tick, wishes, slack=True), *units], room_w - charged_w, parents)
    scopes = scope_plans(tick, drawn_w - room_w + tick.aim.aim_w, needed.binds, tick.known.draw_w)
    plan = _plan(snapshot, scopes, power_w, found.watts_w[: len(wishes)])
    return Shared(plan, needed.price), _remember(tick, memory, needed)


def _claims(tick: Tick, wishes: Sequence[Wish], slack: bool) -> list[Claim]:
    """What each cluster wants; with `slack` as much as it may ever have, if nobody needs that."""
    nodes = tick.snapshot.site.nodes
    out_w = np.fmax(tick.snapshot.nodes.granted_w, nodes.fallback_w)
    columns = zip(wishes, nodes.scope, nodes.fallback_w, nodes.nameplate_w, out_w, strict=True)
    return [
        _claim(wish, int(scope), float(least_w), float(most_w), float(has_w), slack)
        for wish, scope, least_w, most_w, has_w in columns
    ]


def _claim(wish: Wish, scope: int, least_w: float, most_w: float, out_w: float, slack: bool) -> Claim:
    of = wish.frontier
    if of is None:
        return Claim(scope, out_w, out_w, Frontier(out_w, *NO_STEPS), wish.priority)
    wanted_w = most_w if slack else min(most_w, of.top_w)
    return Claim(scope, least_w, max(wanted_w, least_w), of, wish.priority, out_w)


def _batteries(tick: Tick) -> list[Claim]:
    """Each battery as a claim on the watts that it could give and does not: to hold them back spares its wear."""
    units, most_w = tick.snapshot.site.storages, np.maximum(tick.stores.more_w, 0.0)
    price = storage(units, np.ones(len(units)), 1.0, tick.ahead.energy_per_wh).cost[-1] if units else ()
    return [
        Claim(unit.scope, 0.0, float(w), Frontier(float(w), np.zeros(1, np.int64), np.array([p]), np.array([w])))
        for unit, w, p in zip(units, most_w, price, strict=True)
    ]


def _by_scope(snapshot: Snapshot, watts_w: Floats) -> Floats:
    """Sums of the claims over every scope with all below it."""
    site, clusters = snapshot.site, len(snapshot.site.nodes.id)
    own_w = np.bincount(site.nodes.scope, watts_w[:clusters], len(site.scopes))
    return roll_up(site, own_w) + to_scopes(snapshot, watts_w[clusters:])


def _plan(snapshot: Snapshot, scopes: tuple[ScopePlan, ...], power_w: Floats, grant_w: Floats) -> Plan:
    actions: tuple[Action, ...] = tuple(storage_actions(snapshot, power_w))
    scope, none = tightest(scopes), np.empty(0)
    return Plan(
        now_s=snapshot.now_s,
        actions=actions,
        why=tuple(sentence(action, scope, Facts()) for action in actions),
        scopes=scopes,
        cap_w=none,
        job_w=none,
        speed_frac=none,
        cost_per_h=none,
        grant_w=grant_w,
        spare_frac=np.zeros(len(scopes)),
    )


def _remember(tick: Tick, memory: Memory, needed: Split) -> Memory:
    aim_w = np.where(needed.binds, tick.aim.aim_w, np.nan)
    scopes = replace(memory.scopes, aim_w=aim_w, short_w=needed.short_w)
    return replace(memory, now_s=tick.snapshot.now_s, slow_s=tick.snapshot.now_s, scopes=scopes)
