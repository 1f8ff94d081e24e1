"""What a cluster would give up of its watts, and for how much: the offers of all its jobs summed into one.

Going down the lower hulls of all rows, cheapest watt first, is what the fit does; the prices that it meets on the way
are the cluster's own. A facility that shares watts by them treats a cluster as the cluster treats a job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattlease.core import guards, levers
from wattlease.core.assign import Table, assign, table
from wattlease.core.fit import Points, Rows, down_steps, least_points
from wattlease.core.memory import Memory
from wattlease.core.model import Bools, Floats, Ints, JobState, Snapshot
from wattlease.core.pools import candidates
from wattlease.core.set_back import set_back
from wattlease.core.sites import site_table
from wattlease.core.tick import Tick, assess

SAME_FRAC = 0.002
"""Steps whose prices are nearer than this are told as one: a fifth of what marginal costs may differ by."""

STEPS_MAX = 512
"""Where a cluster's prices spread so far that more steps would be told, near ones are joined until so many are left."""

EPS_W = 1e-6

FREE_PRICE = 1e-12
"""Money for a watt and an hour below which a watt costs nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Frontier:
    """Watts at the cluster's feed. Beyond `top_w` none is of use to it; below, each step frees some at a price.

    Columns, one value a step: `tier` and `price` (money for a watt and an hour) never fall, tier first; `freed_w` is
    what the step frees. Below the last step the cluster offers nothing.
    """

    top_w: float
    tier: Ints
    price: Floats
    freed_w: Floats


@dataclass(frozen=True, slots=True)
class Margin:
    """Tier and price of one watt less and of one watt more: what it would cost, and what it would spare."""

    less: tuple[int, float]
    more: tuple[int, float]


NO_STEPS = (np.empty(0, np.int64), np.empty(0), np.empty(0))

NOTHING_LEFT = (1 << 30, float("inf"))
"""The price of a watt that nobody offers."""


def frontier(snapshot: Snapshot, memory: Memory) -> Frontier:
    """The frontier of a site with one root scope; `memory` is what `decide` would be given with this snapshot."""
    tick, memory = assess(snapshot, set_back(memory, snapshot.now_s))
    offered = _offered(tick)
    points, column = _within_children(offered, tick, memory.jobs.rank)
    start_w = float(points.watts_w[column, np.arange(len(column))].sum())
    tier, price, freed_w = _descent(points, column, memory.jobs.rank)
    feed_w = _feed_w(tick, start_w - np.append(0.0, np.cumsum(freed_w)))
    freed_feed_w = -np.diff(feed_w)
    price = np.maximum(price, 0.0) * freed_w / np.maximum(freed_feed_w, FREE_PRICE) / tick.ahead.hours
    return Frontier(float(feed_w[0]), *_joined(tier, price, freed_feed_w))


def margin(of: Frontier, watts_w: float, near_w: float = EPS_W) -> Margin:
    """What a watt is worth to a cluster that has `watts_w`; where a step begins within `near_w` of that it counts as
    the edge on which the cluster stands."""
    below_w, above_w = of.top_w - watts_w + near_w, of.top_w - watts_w - near_w
    ends_w = np.cumsum(of.freed_w)
    nothing = (0, 0.0)
    less = _key(of, int(np.searchsorted(ends_w, below_w, side="right"))) if below_w > 0.0 else nothing
    more = _key(of, int(np.searchsorted(ends_w, above_w, side="left"))) if above_w > 0.0 else nothing
    return Margin(less, more)


def _key(of: Frontier, step: int) -> tuple[int, float]:
    return (int(of.tier[step]), float(of.price[step])) if step < len(of.price) else NOTHING_LEFT


def _offered(tick: Tick) -> Table:
    """All that jobs offer, without what may not change now and what could not start."""
    offered = table(levers.offers(replace(tick.view, gone=True)))
    cannot = (tick.view.state == int(JobState.HELD)) & ~candidates(tick.snapshot, tick.known)
    fixed: Bools = tick.intent.dwelling | cannot | guards.unheard(tick.known, tick.view)
    struck = fixed & ~guards.keeps_state(tick.view, offered.kinds, offered.sizes)
    cost = np.where(struck, np.inf, offered.points.cost)
    return replace(offered, points=replace(offered.points, cost=cost))


def _within_children(offered: Table, tick: Tick, rank: Ints) -> tuple[Points, Ints]:
    """The points with each row at most at what the scopes below the root leave it, and where each row stands then."""
    share = tick.share[: offered.jobs]
    room_w = np.append(np.inf, tick.room_w[1:])
    held = assign(offered, share, rank, room_w, lumps=False)
    points, rows = offered.points, np.arange(offered.jobs)
    watts_w, cost = points.watts_w.copy(), points.cost.copy()
    watts_w[held.column, rows], cost[held.column, rows] = held.watts_w, held.cost
    cost[watts_w > held.watts_w + 1e-9] = np.inf
    return Points(watts_w * share[:, 0], cost, points.tier, points.chain), held.column


def _descent(points: Points, column: Ints, rank: Ints) -> tuple[Ints, Floats, Floats]:
    """Tier, price and watts of all rows' steps down their hulls, tier after tier and cheapest first."""
    of = Rows(points, rank, np.arange(len(rank)))
    found = [NO_STEPS]
    for tier in range(int(points.tier.max(initial=0)) + 1):
        usable = np.isfinite(points.cost) & (points.tier == tier)
        _, _, freed_w, price, _ = down_steps(of, usable, column)
        order = np.argsort(price, kind="stable")
        found.append((np.full(len(price), tier), price[order], freed_w[order]))
        column = least_points(of, usable, column)
    tiers, prices, freed = (np.concatenate(part) for part in zip(*found, strict=True))
    return tiers, prices, freed


def _feed_w(tick: Tick, jobs_w: Floats) -> Floats:
    """The limit at which the root would have this room for its jobs: the way from limit to room, walked backwards."""
    known, aim = tick.known, tick.aim
    beside_w = float(aim.jobs_w[0] - tick.room_w[0])  # idle cards, less batteries' help
    margin_frac = float(site_table(tick.snapshot.site).margin_frac[0])

    def drawn_w(it_w: Floats) -> Floats:
        return it_w + known.overhead_w[0] + np.maximum(it_w - known.it_w[0], 0.0) * known.rise[0]

    kept_w = aim.allowed_w[0] * (1.0 - margin_frac) - drawn_w(aim.jobs_w[:1])[0]  # for noise, less what is trimmed
    found: Floats = (drawn_w(jobs_w + beside_w) + kept_w) / (1.0 - margin_frac)
    return found


def _joined(tier: Ints, price: Floats, freed_w: Floats) -> tuple[Ints, Floats, Floats]:
    """The steps with those of nearly one price made one; the mean price of a step is kept."""
    some = freed_w > 0.0
    tier, price, freed_w = tier[some], np.maximum(price[some], FREE_PRICE), freed_w[some]
    order = np.lexsort((price, tier))
    tier, price, freed_w = tier[order], price[order], freed_w[order]
    same = SAME_FRAC
    while len(tier):
        bucket = np.floor(np.log(price) / np.log1p(same))
        first = np.flatnonzero(np.append(True, (np.diff(bucket) != 0) | (np.diff(tier) != 0)))
        if len(first) <= STEPS_MAX:
            total_w = np.add.reduceat(freed_w, first)
            return tier[first], np.add.reduceat(price * freed_w, first) / total_w, total_w
        same *= 2.0
    return tier, price, freed_w
