"""Fit every scope of the tree: leaves first, then their parents on what the leaves left.

A job that spans scopes weighs in each by the share of its cards there, and may draw no more than the tightest of them
allows. Waiting jobs have no place yet: they weigh in the roots that feed their cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from wattlease.core.estimate import Estimate
from wattlease.core.fit import Choice, Points, cheapest, fit
from wattlease.core.model import NONE, Bools, Floats, Ints, JobState, Snapshot
from wattlease.core.offers import Kind, Offers


@dataclass(frozen=True, slots=True)
class Table:
    """All offers one below the other, [points, rows]; rows are jobs, then batteries. `draw_w` is of one GPU."""

    points: Points
    kinds: Ints
    sizes: Ints
    draw_w: Floats
    speed_frac: Floats
    jobs: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """Each row's column, and the watts that count for it; which scopes bind, and what each lacks in spite of all."""

    column: Ints
    watts_w: Floats
    cost: Floats
    binds: Bools
    short_w: Floats


def table(of_jobs: tuple[Offers, ...], of_storage: Offers) -> Table:
    """The levers' points one below the other; a row that has no such offer gets infinite cost there."""
    jobs, units = of_jobs[0].cost.shape[1], of_storage.cost.shape[1]
    parts = (*of_jobs, of_storage) if units else of_jobs
    shape = (sum(len(o.kind) for o in parts), jobs + units)
    watts_w, draw_w, speed = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    cost, tier = np.full(shape, np.inf), np.zeros(shape, np.int64)
    top = 0
    for part in parts:
        rows = slice(jobs, None) if part is of_storage else slice(0, jobs)
        here = (slice(top, top + len(part.kind)), rows)
        watts_w[here], draw_w[here], cost[here] = part.watts_w, part.draw_w, part.cost
        tier[here], speed[here] = part.tier, part.speed_frac
        top += len(part.kind)
    kinds = np.array([k for part in parts for k in part.kind], np.int64)
    sizes = np.array([s for part in parts for s in part.size], np.int64)
    same = (kinds[1:] == kinds[:-1]) & (sizes[1:] == sizes[:-1]) & ((kinds[1:] == Kind.RUN) | (kinds[1:] == Kind.STORE))
    chain = np.append(False, same)
    return Table(Points(watts_w, cost, tier, chain), kinds, sizes, draw_w, speed, jobs)


def shares(snapshot: Snapshot, known: Estimate) -> Floats:
    """Each row's share of its watts in each scope, [rows, scopes]."""
    site, jobs = snapshot.site, snapshot.jobs
    count = len(site.scopes)
    if count == 1:
        return np.ones((len(jobs.id) + len(site.storages), 1))
    held = snapshot.gpus.job != NONE
    leaf = known.leaf[held]
    spread = sparse.coo_array((np.ones(len(leaf)), (snapshot.gpus.job[held], leaf)), (len(jobs.id), count)).toarray()
    spread /= np.maximum(spread.sum(axis=1, keepdims=True), 1.0)
    waits = np.flatnonzero((jobs.state == JobState.HELD) | (jobs.state == JobState.RELEASED))
    roots = _roots(snapshot)
    for j in waits:
        spread[j] = roots.get(jobs.cluster[j], 0.0)
    units = np.zeros((len(site.storages), count))
    units[np.arange(len(site.storages)), [u.scope for u in site.storages]] = 1.0
    return _with_parents(snapshot, np.vstack([spread, units]))


def _roots(snapshot: Snapshot) -> dict[str, Floats]:
    """For each cluster, a one in every root scope above its nodes."""
    site = snapshot.site
    root = np.arange(len(site.scopes))
    for s, scope in enumerate(site.scopes):
        root[s] = s if scope.parent == NONE else root[scope.parent]
    found: dict[str, Floats] = {}
    for cluster, leaf in sorted(set(zip(site.nodes.cluster, site.nodes.scope.tolist(), strict=True))):
        found.setdefault(cluster, np.zeros(len(site.scopes)))[root[leaf]] = 1.0
    return found


def _with_parents(snapshot: Snapshot, spread: Floats) -> Floats:
    for s in range(len(snapshot.site.scopes) - 1, -1, -1):
        parent = snapshot.site.scopes[s].parent
        if parent != NONE:
            spread[:, parent] = np.minimum(spread[:, parent] + spread[:, s], 1.0)
    return spread


def assign(offered: Table, share: Floats, rank: Ints, room_w: Floats, lumps: bool) -> Assigned:
    """Fit scope after scope, children before parents; `room_w` is what each has for its rows.

    A row that a child has held to some watts keeps to them or less in every parent.
    """
    points = offered.points
    watts_w, cost = points.watts_w.copy(), points.cost.copy()
    rows = np.arange(watts_w.shape[1])
    column = cheapest(points)
    binds, short_w = np.zeros(len(room_w), bool), np.zeros(len(room_w))
    for s in range(len(room_w) - 1, -1, -1):
        weight = share[:, s]
        if float((watts_w[column, rows] * weight).sum()) <= room_w[s]:
            continue
        here = np.flatnonzero(weight > 0)
        if not len(here):  # what is over there is no job's
            short_w[s] = -room_w[s]
            continue
        first = not binds.any()
        choice = _fit_here(points, watts_w, cost, column, here, weight[here], rank, float(room_w[s]), lumps, first)
        column[here] = choice.column
        watts_w[choice.column, here] = choice.watts_w / weight[here]
        cost[choice.column, here] = choice.cost
        binds[s], short_w[s] = True, choice.short_w
    if lumps and binds.sum() > 1:
        _give_back(points, share, room_w, watts_w, cost, column)
    return Assigned(column, watts_w[column, rows], cost[column, rows], binds, short_w)


def _give_back(points: Points, share: Floats, room_w: Floats, watts_w: Floats, cost: Floats, column: Ints) -> None:
    """Raise rows that one scope lowered and that the others' cuts have made room for since; in place, dearest first."""
    rows = np.arange(len(column))
    best = cheapest(points)
    left_w = room_w - watts_w[column, rows] @ share
    more_w = points.watts_w[best, rows] - watts_w[column, rows]
    saved = cost[column, rows] - points.cost[best, rows]
    lowered = np.flatnonzero((more_w > 1e-6) & (saved > 0))
    for row in lowered[np.argsort(-saved[lowered] / more_w[lowered], kind="stable")]:
        added_w = more_w[row] * share[row]
        if np.all((added_w <= left_w) | (share[row] == 0)):
            left_w -= added_w
            column[row] = best[row]
            watts_w[best[row], row], cost[best[row], row] = points.watts_w[best[row], row], points.cost[best[row], row]


def _fit_here(
    points: Points, watts_w: Floats, cost: Floats, column: Ints, here: Ints, weight: Floats, rank: Ints,
    room_w: float, lumps: bool, first: bool,
) -> Choice:  # fmt: skip
    """The fit of one scope's rows, none of which may draw more than it was already held to.

    Points that nobody may take are left out: between slow ticks that is most of them. In the `first` scope that binds
    every row still stands at its cheapest point.
    """
    open_to = np.flatnonzero(np.isfinite(cost[:, here]).any(axis=1))
    at = np.ix_(open_to, here)
    w, c = watts_w[at], cost[at]
    c[w > watts_w[column[here], here] + 1e-9] = np.inf
    chain = points.chain[open_to] & np.append(False, np.diff(open_to) == 1)
    few = Points(w * weight, c, points.tier[at], chain)
    start = np.searchsorted(open_to, column[here]) if first else None
    choice = fit(few, rank[here], room_w, lumps, start)
    return Choice(open_to[choice.column], choice.watts_w, choice.cost, choice.short_w)
