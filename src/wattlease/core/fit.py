"""Choose one point for each row so that the sum fits the limit at the least cost.

This is the multiple-choice knapsack problem. Three steps, each cheap where there are many rows:

1. `_relax`: per-row lower convex hulls, all rows' hull steps sorted by price (money per watt freed), taken from the
   cheapest until the excess is gone. Taken in part, the last step makes this the optimum of the relaxed problem
   (Sinha and Zoltners 1979), a bound; with thousands of rows one step more or less is nothing.
2. `_branch`: where rows are few and lumpy (a pause frees far more than is asked) the last step matters: branch on it,
   without it or with the whole of it, best bound first.
3. `_polish`: caps are continuous between two neighbouring levels, so what is left under the limit is given back to
   the rows that pay most for a watt.

Ties go to the row of lower `rank`, so that the order of the input never matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from wattlease.core.model import NONE, Bools, Floats, Ints

EPS_W = 1e-6
NODES_ROWS = 6000
"""Branching looks at most at this many nodes times rows: few rows are solved to the end, many hardly need it."""

GAP_FRAC = 2e-4
"""A gap to the bound of less than this share of the cost is not worth closing."""


STRICT_TIER = 2
"""From this tier on nothing goes back to the lower ones: while a row of it gives, they give all they have."""


@dataclass(frozen=True, slots=True)
class Points:
    """Rows' points, [points, rows]; an infinite cost is no point. `chain[k]` says that point k can be blended
    with point k - 1, the same thing at more watts."""

    watts_w: Floats
    cost: Floats
    tier: Ints
    chain: Bools


@dataclass(frozen=True, slots=True)
class Choice:
    """A point for each row, and the watts and cost of it after blending toward the next column up."""

    column: Ints
    watts_w: Floats
    cost: Floats
    short_w: float


def fit(points: Points, rank: Ints, limit_w: float, lumps: bool = True, start: Ints | None = None) -> Choice:
    """The cheapest choice whose watts sum to at most `limit_w`; `short_w` is what even the last offer leaves over.

    Tiers are used up in order: rows give all that a lower tier has before a higher one is touched. `start` is
    `cheapest(points)` where the caller knows it.
    """
    tiers = int(points.tier.max(initial=0)) + 1
    start = cheapest(points) if start is None else start
    if np.all(rank[1:] > rank[:-1]):  # in order as they are
        column, watts_w, cost = _tiers(points, start, limit_w, lumps, tiers)
    else:
        order = np.argsort(rank, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        column, watts_w, cost = _tiers(_only(points, order), start[order], limit_w, lumps, tiers)
        column, watts_w, cost = column[back], watts_w[back], cost[back]
    return Choice(column, watts_w, cost, max(0.0, float(watts_w.sum()) - limit_w))


def cheapest(points: Points) -> Ints:
    """Each row's cheapest point within its contract, the one of more watts where two cost the same."""
    cost = np.where(points.tier == 0, points.cost, np.inf)
    best = cost.min(axis=0)
    if np.isinf(best).any():
        cost = np.where(np.isinf(best), points.cost, cost)
        best = cost.min(axis=0)
    tied_w = np.where(cost <= best + 1e-12, points.watts_w, -np.inf)
    return _first(tied_w == tied_w.max(axis=0))


def _first(found: Bools) -> Ints:
    """The first point that is found, of each row; reducing along the long axis would take ten times as long."""
    count = len(found)
    return np.where(found, np.arange(count)[:, None], count).min(axis=0)


def _tiers(points: Points, start: Ints, limit_w: float, lumps: bool, tiers: int) -> tuple[Ints, Floats, Floats]:
    """Use up tier after tier, until the sum fits: columns, and the watts and cost after blending.

    What the last tier frees beyond need goes back first to the rows that it touched, then (below STRICT_TIER) to the
    others: they are solved again, in the lower tiers alone, for what is left beside those.
    """
    column = start
    for tier in range(tiers):
        if _sum(points, column) <= limit_w + EPS_W:
            break
        usable = np.isfinite(points.cost) & (points.tier == tier)
        before, column = column, _fit_tier(points, usable, column, limit_w, lumps)
        moved = before != column
        if tier and moved.any() and _sum(points, column) <= limit_w + EPS_W:
            return _with_rest(points, start, column, moved, limit_w, lumps, tier)
    return _polish(points, column, limit_w, np.ones(len(column), bool))


def _with_rest(
    points: Points, start: Ints, column: Ints, moved: Bools, limit_w: float, lumps: bool, tier: int
) -> tuple[Ints, Floats, Floats]:
    column, watts_w, cost = _polish(points, column, limit_w, moved, tier)
    rest = np.flatnonzero(~moved)
    if not len(rest) or tier >= STRICT_TIER:
        return column, watts_w, cost
    left_w = limit_w - float(watts_w[moved].sum())
    column[rest], watts_w[rest], cost[rest] = _tiers(_only(points, rest), start[rest], left_w, lumps, tier)
    return column, watts_w, cost


def _only(points: Points, rows: Ints) -> Points:
    return Points(points.watts_w[:, rows], points.cost[:, rows], points.tier[:, rows], points.chain)


def _fit_tier(points: Points, usable: Bools, start: Ints, limit_w: float, lumps: bool) -> Ints:
    if _sum(points, start) <= limit_w + EPS_W:
        return start
    root = _relax(points, usable, start, limit_w)
    return _branch(points, root, limit_w) if lumps else root.column


def _sum(points: Points, column: Ints) -> float:
    return float(points.watts_w[column, np.arange(len(column))].sum())


@dataclass(frozen=True, slots=True)
class _Relaxed:
    """A solved relaxation: the columns when its last step is taken whole, and the bound when only in part.

    `row` and `to` are that last step; a row of -1 says that even all steps do not fit.
    """

    usable: Bools
    start: Ints
    column: Ints
    bound: float
    row: int
    to: int


def _relax(points: Points, usable: Bools, start: Ints, limit_w: float) -> _Relaxed:
    """Go down the hulls, cheapest step first, until the sum fits."""
    excess_w = _sum(points, start) - limit_w
    cost = float(points.cost[start, np.arange(len(start))].sum())
    if excess_w <= EPS_W:
        return _Relaxed(usable, start, start, cost, NONE, NONE)
    row, to, freed_w, price = _steps(points, usable, start)
    order = np.argsort(price, kind="stable")  # steps come row by row in rank order, so ties fall the same way
    freed_so_far_w = np.cumsum(freed_w[order])
    last = int(np.searchsorted(freed_so_far_w, excess_w - EPS_W))
    fits = last < len(order)
    taken = order[: last + 1]
    column = start.copy()
    column[row[taken]] = to[taken]  # a row's steps rise in price, so its last assignment is its deepest
    if not fits:
        return _Relaxed(usable, start, column, np.inf, NONE, NONE)
    over_w = float(freed_so_far_w[last]) - excess_w
    bound = cost + float((price[taken] * freed_w[taken]).sum()) - over_w * float(price[taken[-1]])
    return _Relaxed(usable, start, column, bound, int(row[taken[-1]]), int(to[taken[-1]]))


def _branch(points: Points, root: _Relaxed, limit_w: float) -> Ints:
    """Branch on the step that the relaxation takes only in part, until the gap to the bound is not worth closing."""
    best, cost = root.column, _whole(points, root, limit_w)
    spare = float(points.cost[root.start, np.arange(len(root.start))].sum())
    queue = [(root.bound, 0, root)]
    seen = 0
    while queue and seen < NODES_ROWS // len(best) + 2:
        bound, _, node = heappop(queue)
        if cost - bound <= GAP_FRAC * max(cost - spare, 1e-12) or node.row == NONE:
            break
        for child in (_without(node), _forced(node)):
            seen += 1
            solved = _relax(points, *child, limit_w)
            whole = _whole(points, solved, limit_w)
            if whole < cost - 1e-12:
                best, cost = solved.column, whole
            if solved.bound < cost:
                heappush(queue, (solved.bound, seen, solved))
    return best


def _without(node: _Relaxed) -> tuple[Bools, Ints]:
    """The same problem where the step's column is not to be had."""
    usable = node.usable.copy()
    usable[node.to, node.row] = False
    return usable, node.start


def _forced(node: _Relaxed) -> tuple[Bools, Ints]:
    """The same problem where the step is taken whole, as a start from which the row may go no further up."""
    start = node.start.copy()
    start[node.row] = node.to
    return node.usable, start


def _whole(points: Points, solved: _Relaxed, limit_w: float) -> float:
    """Cost of the columns with what is left given back; infinite where they do not fit."""
    if not np.isfinite(solved.bound):
        return np.inf
    everyone = np.ones(len(solved.column), bool)
    return float(_polish(points, solved.column, limit_w, everyone)[2].sum())


Steps = tuple[Ints, Ints, Floats, Floats]
"""Rows, the points they step to, watts freed and the price of a watt; sorted by step, then by row."""


def _steps(points: Points, usable: Bools, start: Ints) -> Steps:
    """Every row's steps down its lower convex hull."""
    return _chain_steps(points, usable, start) or _hull_steps(points, usable, start)


def _chain_steps(points: Points, usable: Bools, start: Ints) -> Steps | None:
    """The hull where all that is left are caps whose prices rise on the way down: then each level is a step."""
    rows = np.arange(len(start))
    below = usable & (points.watts_w < points.watts_w[start, rows] - EPS_W)
    stand = below.copy()
    stand[start, rows] = True
    if not np.all(points.chain[1:, None] & stand[:-1] | ~below[1:]) or below[0].any():
        return None
    cost = np.where(stand, points.cost, 0.0)  # no arithmetic with points that are not there
    freed_w = points.watts_w[:-1] - points.watts_w[1:]
    price = np.divide(cost[1:] - cost[:-1], freed_w, out=np.full(freed_w.shape, -np.inf), where=below[1:])
    if np.any((price[1:] < price[:-1] - 1e-12) & below[2:]):
        return None
    price = np.maximum.accumulate(price, axis=0)  # rounding must not let a price fall
    to, row = np.nonzero(below[1:])
    return row, to + 1, freed_w[to, row], price[to, row]


def _hull_steps(points: Points, usable: Bools, start: Ints) -> Steps:
    """The hull in general: from each point on to the one that frees watts at the lowest price."""
    live = np.arange(len(start))
    watts_w, cost = points.watts_w, np.where(usable, points.cost, np.inf)
    at_w, at_cost = watts_w[start, live], points.cost[start, live]
    before = np.full(len(start), -np.inf)
    steps = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))]
    while len(live):
        down_w = at_w - watts_w
        with np.errstate(invalid="ignore", divide="ignore"):
            price = np.where(down_w > EPS_W, (cost - at_cost) / down_w, np.inf)
        least = price.min(axis=0)
        found = np.flatnonzero(np.isfinite(least))
        to = _first(price[:, found] == least[found])
        live, before = live[found], np.maximum(before[found], least[found])  # rounding must not let a price fall
        steps.append((live, to, down_w[to, found], before))
        watts_w, cost = watts_w[:, found], cost[:, found]
        at_w, at_cost = watts_w[to, np.arange(len(live))], cost[to, np.arange(len(live))]
    rows, tos, freed_w, prices = zip(*steps, strict=True)
    return np.concatenate(rows), np.concatenate(tos), np.concatenate(freed_w), np.concatenate(prices)


def _polish(points: Points, column: Ints, limit_w: float, may: Bools, tier: int = 0) -> tuple[Ints, Floats, Floats]:
    """Give what is left under the limit to those rows that `may` and pay most: columns, watts and cost.

    Only points of `tier` or above are left behind: a row that is back in a lower tier has got what is due to it.
    """
    rows = np.arange(len(column))
    watts_w, cost = points.watts_w[column, rows], points.cost[column, rows]
    at = column.copy()
    for _ in range(len(points.watts_w)):
        room_w = limit_w - float(watts_w.sum())
        up = np.maximum(at - 1, 0)
        more_w = points.watts_w[up, rows] - watts_w
        less = cost - points.cost[up, rows]
        can = (
            may
            & (at > 0)
            & points.chain[at]
            & (points.tier[at, rows] >= tier)
            & (points.tier[up, rows] <= points.tier[at, rows])
        )
        can &= (more_w > EPS_W) & (less > 0) & np.isfinite(points.cost[up, rows])
        if room_w <= EPS_W or not can.any():
            break
        who = np.flatnonzero(can)
        who = who[np.argsort(-less[who] / more_w[who], kind="stable")]
        share = np.clip((room_w - (np.cumsum(more_w[who]) - more_w[who])) / more_w[who], 0.0, 1.0)
        watts_w[who] += share * more_w[who]
        cost[who] -= share * less[who]
        full = who[share >= 1.0]
        at[full] = up[full]
        if len(full) < len(who):
            break
    return at, watts_w, cost
