"""Fit every scope of the tree: leaves first, then their parents on what the leaves left.

A job that spans scopes weighs in each by the share of its cards there, and may draw no more than the tightest of them
allows. Waiting jobs have no place yet: they weigh in the roots that feed their cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from wattlease.core.estimate import Estimate
from wattlease.core.fit import Choice, Points, cheapest, fit
from wattlease.core.model import NONE, Bools, Floats, Ints, JobState, Snapshot
from wattlease.core.offers import Kind, Offers

NOT = np.zeros(1, bool)


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


def table(of_jobs: tuple[Offers, ...], of_storage: Offers | None = None) -> Table:
    """The levers' points one below the other; a row that has no such offer gets infinite cost there."""
    kinds = np.array([k for part in of_jobs for k in part.kind], np.int64)
    sizes = np.array([s for part in of_jobs for s in part.size], np.int64)
    chain = _chained(kinds, sizes)
    points = Points(_column(of_jobs, "watts_w"), _column(of_jobs, "cost"), _column(of_jobs, "tier"), chain)
    found = Table(
        points, kinds, sizes, _column(of_jobs, "draw_w"), _column(of_jobs, "speed_frac"), points.cost.shape[1]
    )
    return found if of_storage is None else _beside(found, of_storage)


def _column(parts: tuple[Offers, ...], name: str) -> NDArray[Any]:
    found: list[NDArray[Any]] = [getattr(part, name) for part in parts]
    return found[0] if len(found) == 1 else np.concatenate(found)


def _chained(kinds: Ints, sizes: Ints) -> Bools:
    """Whether a point is the same thing as the one above it, at fewer watts."""
    same = (kinds[1:] == kinds[:-1]) & (sizes[1:] == sizes[:-1])
    smooth = (kinds[1:] == int(Kind.RUN)) | (kinds[1:] == int(Kind.STORE))
    return np.concatenate((NOT, same & smooth))


def _beside(found: Table, units: Offers) -> Table:
    """Batteries as more rows, with points of their own below those of jobs."""
    kinds, sizes = np.append(found.kinds, units.kind), np.append(found.sizes, units.size)
    of = found.points
    points = Points(
        _corners(of.watts_w, units.watts_w, 0.0),
        _corners(of.cost, units.cost, np.inf),
        _corners(of.tier, units.tier, 0),
        _chained(kinds, sizes),
    )
    draw_w = _corners(found.draw_w, units.draw_w, 0.0)
    return Table(points, kinds, sizes, draw_w, _corners(found.speed_frac, units.speed_frac, 0.0), found.jobs)


def _corners(top: NDArray[Any], low: NDArray[Any], rest: float) -> NDArray[Any]:
    """Two tables corner to corner."""
    right = np.full((len(top), low.shape[1]), rest, top.dtype)
    left = np.full((len(low), top.shape[1]), rest, top.dtype)
    return np.block([[top, right], [left, low]])


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
    tables: tuple[Floats, Floats] | None = None
    column = cheapest(points)
    rows = np.arange(len(column))
    watts_w, cost = points.watts_w[column, rows], points.cost[column, rows]
    binds, short_w = np.zeros(len(room_w), bool), np.zeros(len(room_w))
    for s in range(len(room_w) - 1, -1, -1):
        weight = share[:, s]
        if float((watts_w * weight).sum()) <= room_w[s]:
            continue
        here = np.flatnonzero(weight > 0)
        if not len(here):  # what is over there is no job's
            short_w[s] = -room_w[s]
            continue
        choice = _fit_here(points, tables, watts_w, column, here, weight, rank, float(room_w[s]), lumps)
        column[here], watts_w[here], cost[here] = choice.column, choice.watts_w / weight[here], choice.cost
        binds[s], short_w[s] = True, choice.short_w
        if s:  # those above must see what this one has held
            tables = tables or (points.watts_w.copy(), points.cost.copy())
            tables[0][choice.column, here], tables[1][choice.column, here] = watts_w[here], choice.cost
    if lumps and binds.sum() > 1:
        _give_back(points, share, room_w, watts_w, cost, column)
    return Assigned(column, watts_w, cost, binds, short_w)


def _give_back(points: Points, share: Floats, room_w: Floats, watts_w: Floats, cost: Floats, column: Ints) -> None:
    """Raise rows that one scope lowered and that the others' cuts have made room for since; in place, dearest first."""
    rows = np.arange(len(column))
    best = cheapest(points)
    best_w, best_cost = points.watts_w[best, rows], points.cost[best, rows]
    left_w = room_w - watts_w @ share
    more_w = best_w - watts_w
    saved = cost - best_cost
    lowered = np.flatnonzero((more_w > 1e-6) & (saved > 0))
    for row in lowered[np.argsort(-saved[lowered] / more_w[lowered], kind="stable")]:
        added_w = more_w[row] * share[row]
        if np.all((added_w <= left_w) | (share[row] == 0)):
            left_w -= added_w
            column[row], watts_w[row], cost[row] = best[row], best_w[row], best_cost[row]


def _fit_here(
    points: Points, tables: tuple[Floats, Floats] | None, now_w: Floats, column: Ints, here: Ints, weight: Floats,
    rank: Ints, room_w: float, lumps: bool,
) -> Choice:  # fmt: skip
    """The fit of one scope's rows, none of which may draw more than it was already held to.

    Points that nobody may take are left out: between slow ticks that is most of them. Without `tables` no scope has
    bound yet and every row still stands at its cheapest point.
    """
    watts_w, cost = tables or (points.watts_w, points.cost)
    all_here = len(here) == len(column)
    if not all_here:
        watts_w, cost, rank = watts_w[:, here], cost[:, here], rank[here]
        weight, now_w, column = weight[here], now_w[here], column[here]
    open_to = np.flatnonzero(np.isfinite(cost).any(axis=1))
    tier, chain = points.tier if all_here else points.tier[:, here], points.chain
    if len(open_to) < len(cost):
        watts_w, cost, tier = watts_w[open_to], cost[open_to], tier[open_to]
        chain = chain[open_to] & np.append(False, np.diff(open_to) == 1)
    cost = np.where(watts_w > now_w + 1e-9, np.inf, cost)
    start = np.searchsorted(open_to, column) if tables is None else None
    choice = fit(Points(watts_w * weight, cost, tier, chain), rank, room_w, lumps, start)
    return Choice(open_to[choice.column], choice.watts_w, choice.cost, choice.short_w)
