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

FEW_STEPS = 2000
"""So many steps are sorted at once; of more, those that are needed are found by halving first."""


STRICT_TIER = 3
"""From this tier on nothing goes back to the lower ones: while a row of it gives, they give all they have."""


@dataclass(frozen=True, slots=True)
class Points:
    """Rows' points, [points, rows]; an infinite cost is no point. `chain[k]` says that point k can be blended
    with point k - 1, the same thing at more watts."""

    watts_w: Floats
    cost: Floats
    tier: Ints
    chain: Bools

    def only(self, rows: Ints) -> Points:
        """The same of these rows alone."""
        return Points(self.watts_w[:, rows], self.cost[:, rows], self.tier[:, rows], self.chain)


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
    column, watts_w, cost = _tiers(Rows(points, rank, np.arange(len(rank))), start, limit_w, lumps, tiers)
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


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows to fit, with the rank by which ties are broken."""

    points: Points
    rank: Ints
    index: Ints

    def at(self, table: Floats, column: Ints) -> Floats:
        """Each row's value in its column."""
        return table[column, self.index]

    def only(self, rows: Ints) -> Rows:
        """The same of these rows alone."""
        return Rows(self.points.only(rows), self.rank[rows], np.arange(len(rows)))


def _tiers(of: Rows, start: Ints, limit_w: float, lumps: bool, tiers: int) -> tuple[Ints, Floats, Floats]:
    """Use up tier after tier, until the sum fits: columns, and the watts and cost after blending.

    What the last tier frees beyond need goes back first to the rows that it touched, then (below STRICT_TIER) to the
    others: they are solved again, in the lower tiers alone, for what is left beside those.
    """
    column = start
    for tier in range(tiers):
        if _sum(of, column) <= limit_w + EPS_W:
            break
        usable = np.isfinite(of.points.cost) & (of.points.tier == tier)
        before, column = column, _fit_tier(of, usable, column, limit_w, lumps)
        moved = before != column
        if tier and moved.any() and _sum(of, column) <= limit_w + EPS_W:
            return _with_rest(of, start, column, moved, limit_w, lumps, tier)
    return _polish(of, column, limit_w)


def _with_rest(
    of: Rows, start: Ints, column: Ints, moved: Bools, limit_w: float, lumps: bool, tier: int
) -> tuple[Ints, Floats, Floats]:
    column, watts_w, cost = _polish(of, column, limit_w, moved, tier)
    rest = np.flatnonzero(~moved)
    if not len(rest) or tier >= STRICT_TIER or float(watts_w.sum()) >= limit_w - EPS_W:
        return column, watts_w, cost
    left_w = limit_w - float(watts_w[moved].sum())
    column[rest], watts_w[rest], cost[rest] = _tiers(of.only(rest), start[rest], left_w, lumps, tier)
    return column, watts_w, cost


def _fit_tier(of: Rows, usable: Bools, start: Ints, limit_w: float, lumps: bool) -> Ints:
    if _sum(of, start) <= limit_w + EPS_W:
        return start
    root = _relax(of, usable, start, limit_w)
    return _branch(of, root, limit_w) if lumps else root.column


def _sum(of: Rows, column: Ints) -> float:
    return float(of.at(of.points.watts_w, column).sum())


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


def _relax(of: Rows, usable: Bools, start: Ints, limit_w: float) -> _Relaxed:
    """Go down the hulls, cheapest step first, until the sum fits."""
    excess_w = _sum(of, start) - limit_w
    cost = float(of.at(of.points.cost, start).sum())
    if excess_w <= EPS_W:
        return _Relaxed(usable, start, start, cost, NONE, NONE)
    least = least_points(of, usable, start)
    if _sum(of, least) > limit_w + EPS_W:
        return _Relaxed(usable, start, least, np.inf, NONE, NONE)
    row, to, freed_w, price, turn = down_steps(of, usable, start)
    taken = _until(price, freed_w, excess_w, turn, of.rank[row])
    freed_so_far_w = np.cumsum(freed_w[taken])
    last = min(int(np.searchsorted(freed_so_far_w, excess_w - EPS_W)), len(taken) - 1)
    taken = taken[: last + 1]
    column = start.copy()
    column[row[taken]] = to[taken]  # a row's steps rise in price, so its last assignment is its deepest
    over_w = float(freed_so_far_w[last]) - excess_w
    bound = cost + float((price[taken] * freed_w[taken]).sum()) - over_w * float(price[taken[-1]])
    return _Relaxed(usable, start, column, bound, int(row[taken[-1]]), int(to[taken[-1]]))


def least_points(of: Rows, usable: Bools, start: Ints) -> Ints:
    """Each row's point of the fewest watts, the cheaper of two; its start where no usable point is lower."""
    watts_w = np.where(usable, of.points.watts_w, np.inf)
    least_w = watts_w.min(axis=0)
    tied = watts_w <= least_w + EPS_W
    if np.count_nonzero(tied) > len(start):
        cost = np.where(tied, of.points.cost, np.inf)
        tied = cost == cost.min(axis=0)
    return np.where(least_w < of.at(of.points.watts_w, start) - EPS_W, _first(tied), start)


def _until(price: Floats, watts_w: Floats, enough_w: float, *ties: Ints) -> Ints:
    """The cheapest entries that make up `enough_w`, and maybe some more, the last of them in order of price.

    Of two that cost the same the lower one of the first of `ties` that tells them apart goes first.
    """
    open_to, below = np.arange(len(price)), -np.inf
    left_w = enough_w
    while len(open_to) > FEW_STEPS:
        here = price[open_to]
        pivot = float(np.median(here[:: 1 + len(here) // 64]))
        low = here <= pivot
        freed_w = float(watts_w[open_to[low]].sum())
        if low.all():
            break
        if freed_w >= left_w:
            open_to = open_to[low]
        else:
            left_w, below, open_to = left_w - freed_w, pivot, open_to[~low]
    open_to = open_to[np.lexsort((*(t[open_to] for t in reversed(ties)), price[open_to]))]
    return open_to if below == -np.inf else np.concatenate((np.flatnonzero(price <= below), open_to))


def _branch(of: Rows, root: _Relaxed, limit_w: float) -> Ints:
    """Branch on the step that the relaxation takes only in part, until the gap to the bound is not worth closing."""
    best, cost = root.column, _whole(of, root, limit_w)
    spare = float(of.at(of.points.cost, root.start).sum())
    queue = [(root.bound, 0, root)]
    seen = 0
    while queue and seen < NODES_ROWS // len(best) + 2:
        bound, _, node = heappop(queue)
        if cost - bound <= GAP_FRAC * max(cost - spare, 1e-12) or node.row == NONE:
            break
        for child in (_without(node), _forced(node)):
            seen += 1
            solved = _relax(of, *child, limit_w)
            whole = _whole(of, solved, limit_w)
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


def _whole(of: Rows, solved: _Relaxed, limit_w: float) -> float:
    """Cost of the columns with what is left given back; infinite where they do not fit."""
    if not np.isfinite(solved.bound):
        return np.inf
    return float(_polish(of, solved.column, limit_w)[2].sum())


Steps = tuple[Ints, Ints, Floats, Floats, Ints]
"""Rows, the points they step to, watts freed, the price of a watt, and which step of the row's descent it is."""


def down_steps(of: Rows, usable: Bools, start: Ints) -> Steps:
    """Every row's steps down its lower convex hull."""
    return _chain_steps(of, usable, start) or _hull_steps(of, usable, start)


def _chain_steps(of: Rows, usable: Bools, start: Ints) -> Steps | None:
    """The hull where all that is left are caps whose prices rise on the way down: then each level is a step."""
    watts_w, cost = of.points.watts_w, of.points.cost
    below = usable & (watts_w < of.at(watts_w, start) - EPS_W)
    stand = below.copy()
    stand[start, of.index] = True
    if below[0].any() or (below[1:] & ~(of.points.chain[1:, None] & stand[:-1])).any():
        return None
    freed_w = watts_w[:-1] - watts_w[1:]
    with np.errstate(invalid="ignore", divide="ignore"):  # points that are not there
        price = (cost[1:] - cost[:-1]) / freed_w
    np.copyto(price, -np.inf, where=~below[1:])
    falls = (price[1:] < price[:-1]) & below[2:]
    if falls.any():
        if np.any(falls & (price[1:] < price[:-1] - 1e-12)):
            return None
        price = np.maximum.accumulate(price, axis=0)  # rounding must not let a price fall
    flat = np.flatnonzero(below[1:])
    to = flat // len(start)
    return flat - to * len(start), to + 1, freed_w.ravel()[flat], price.ravel()[flat], to


def _hull_steps(of: Rows, usable: Bools, start: Ints) -> Steps:
    """The hull in general: from each point on to the one that frees watts at the lowest price."""
    live = of.index
    watts_w, cost = of.points.watts_w, np.where(usable, of.points.cost, np.inf)
    at_w, at_cost = of.at(watts_w, start), of.at(of.points.cost, start)
    before = np.full(len(start), -np.inf)
    nothing, none = np.empty(0), np.empty(0, np.int64)
    steps = [(none, none, nothing, nothing, none)]
    with np.errstate(invalid="ignore", divide="ignore"):
        while len(live):
            down_w = at_w - watts_w
            price = np.where(down_w > EPS_W, (cost - at_cost) / down_w, np.inf)
            least = price.min(axis=0)
            found = np.flatnonzero(np.isfinite(least))
            to = _first(price[:, found] == least[found])
            live, before = live[found], np.maximum(before[found], least[found])  # as above
            steps.append((live, to, down_w[to, found], before, np.full(len(live), len(steps))))
            watts_w, cost = watts_w[:, found], cost[:, found]
            at_w, at_cost = watts_w[to, np.arange(len(live))], cost[to, np.arange(len(live))]
    row, to, freed_w, price, turn = (np.concatenate(part) for part in zip(*steps, strict=True))
    return row, to, freed_w, price, turn


def _polish(
    of: Rows, column: Ints, limit_w: float, may: Bools | None = None, tier: int = 0
) -> tuple[Ints, Floats, Floats]:
    """Give what is left under the limit to those rows that `may` and pay most: columns, watts and cost.

    Only points of `tier` or above are left behind: a row that is back in a lower tier has got what is due to it.
    """
    points, rows = of.points, of.index
    watts_w, cost = of.at(points.watts_w, column), of.at(points.cost, column)
    at = column.copy()
    for _ in range(len(points.watts_w)):
        room_w = limit_w - float(watts_w.sum())
        if room_w <= EPS_W:
            break
        up = np.maximum(at - 1, 0)
        up_cost, at_tier = points.cost[up, rows], points.tier[at, rows]
        more_w, less = points.watts_w[up, rows] - watts_w, cost - up_cost
        can = (at > 0) & points.chain[at] & (at_tier >= tier) & (points.tier[up, rows] <= at_tier)
        can &= (more_w > EPS_W) & (less > 0) & np.isfinite(up_cost)
        who = np.flatnonzero(can if may is None else can & may)
        if not len(who):
            break
        first = who[_until(-less[who] / more_w[who], more_w[who], room_w, of.rank[who])]
        share = (room_w - (np.cumsum(more_w[first]) - more_w[first])) / more_w[first]
        share = np.minimum(np.maximum(share, 0.0), 1.0)
        watts_w[first] += share * more_w[first]
        cost[first] -= share * less[first]
        full = first[share >= 1.0]
        at[full] = up[full]
        if len(full) < len(who):
            break
    return at, watts_w, cost
