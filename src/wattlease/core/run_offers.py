"""Offers to run at one size: uncapped, and under caps at levels of the job's own curve.

Two of the levels stand where it matters and not on the curve's grid: the least that keeps the contract, and the least
cap.
"""

from __future__ import annotations

import numpy as np

from wattlease.core import curves
from wattlease.core.model import Bools, Floats, Ints, JobState
from wattlease.core.offers import Kind, Offers, Tier, View

PROMISE_FRAC = 0.01
"""Kept above a contract's speed: curves are known to no better than that."""

HALF_FRAC = 0.5
"""Under this share of rated power energy per unit of work gets worse (A100 sweep: 18-47 % worse at a quarter)."""

LEAST_W = 1e-3
"""A cap that takes less from a GPU takes nothing."""

UNCAPPED = np.array([len(curves.GRID) - 1])
"""Where on `curves.GRID` a job runs that is left alone."""


def run(view: View, size: int, levels: Ints) -> Offers:
    """Offers to run at one size: uncapped, then at each of `levels` (indices of `curves.GRID`, falling)."""
    draw_frac, keeps_frac, swap_s = view.sizes[:, size, 0], view.sizes[:, size, 1], view.sizes[:, size, 2]
    at = np.concatenate((UNCAPPED, levels))
    draw_w = curves.GRID[at][:, None] * (view.need_w * draw_frac)
    kept = view.speed.T[at] * keeps_frac
    last = _to_the_floor(view, size, draw_w, kept)
    breach = _to_the_contract(view, size, draw_w, kept, last)
    cap_w = draw_w / view.track_frac
    cards_frac = view.sizes[:, size, 3]
    tier = _tier(view, size, breach, cap_w / np.where(np.isnan(cards_frac), 1.0, cards_frac))
    counted_w = cap_w if view.counts_limits else draw_w.copy()
    if view.counts_limits:
        counted_w[0] = view.alone_w(draw_w[0])
    cost = view.after_energy((1.0 - kept) * (view.worth_per_h * view.hours), draw_w) + _begin(view, size, swap_s)
    beyond = (np.arange(len(at))[:, None] > last) | (counted_w >= counted_w[0])
    beyond[0] = False
    cost[beyond | np.isnan(draw_w)] = np.inf
    counted_w += view.idle_w * view.left_frac(cards_frac)
    counted_w *= view.gpus
    counted_w *= view.ready_frac
    return Offers((Kind.RUN,) * len(at), (size,) * len(at), counted_w, draw_w, cost, tier, kept)


def _to_the_floor(view: View, size: int, draw_w: Floats, kept: Floats) -> Ints:
    """Move each job's first level under the least cap onto it, in place, and say which level that is."""
    least_w = view.min_cap_w * view.track_frac
    last = (draw_w > least_w).sum(axis=0)
    below = np.flatnonzero((last > 0) & (last < len(draw_w)))
    _move(view, size, draw_w, kept, last[below], below, least_w[below])
    return last


def _to_the_contract(view: View, size: int, draw_w: Floats, kept: Floats, last: Ints) -> Bools:
    """Move the level nearest to the least draw that keeps each job's contract onto that, in place, so that none is
    broken for want of a level between two, and say which points break it. Uncapped and the least cap stay."""
    promised = _promised(view)
    breach = _breaks(view, size, promised, kept, draw_w)
    lowest, broken = np.minimum(last, len(draw_w) - 1), len(draw_w) - breach.sum(axis=0)
    between = np.flatnonzero((broken > 0) & (broken <= lowest) & (lowest > 1))
    needs_w = _needs_w(view, size, promised, between)
    less = needs_w < draw_w[0, between] - LEAST_W
    job, needs_w = between[less], needs_w[less]
    row = broken[job]
    nearer_above = draw_w[row - 1, job] - needs_w < needs_w - draw_w[row, job]
    row -= (row == lowest[job]) | (nearer_above & (row > 1))
    _move(view, size, draw_w, kept, row, job, needs_w)
    breach[row, job] = False
    return breach


def _move(view: View, size: int, draw_w: Floats, kept: Floats, row: Ints, job: Ints, to_w: Floats) -> None:
    """Have a level of each of these jobs stand at this draw, in place."""
    draw_frac, keeps_frac = view.sizes[job, size, 0], view.sizes[job, size, 1]
    frac = to_w / np.maximum(view.need_w[job] * draw_frac, 1.0)
    draw_w[row, job], kept[row, job] = to_w, curves.speed_at(view.speed[job], frac) * keeps_frac


def _needs_w(view: View, size: int, promised: Floats, job: Ints) -> Floats:
    """The least draw of a GPU that keeps these jobs' contracts at this size."""
    draw_frac, keeps_frac = view.sizes[job, size, 0], view.sizes[job, size, 1]
    needs_w = curves.draw_for(view.speed[job], promised[job] / keeps_frac) * view.need_w[job] * draw_frac
    return np.maximum(needs_w, view.floor_w[job]) if view.counts_limits and size == 0 else needs_w


def _begin(view: View, size: int, swap_s: Floats) -> Floats | float:
    """One-off cost of coming to run at this size: a swap from another, a restart from a pause."""
    swaps, restarts = (view.size != size) & ~view.off, view.state == int(JobState.PAUSED)
    if not (swaps.any() or restarts.any()):
        return 0.0
    swap = np.where(swaps & ~np.isnan(swap_s), swap_s, 0.0)
    return view.one_off(swap + np.where(restarts, view.restart_s, 0.0))


def _tier(view: View, size: int, breach: Bools, card_w: Floats) -> Ints:
    """Within the contract, cards under half of rated power, a breach of the contract, or a touch of protected work."""
    deep = np.where(card_w < HALF_FRAC * view.rated_w, int(Tier.DEEP), int(Tier.CONTRACT))
    tier = np.where(breach, int(Tier.BREACH), deep)
    tier[:, view.protected] = Tier.PROTECTED
    if size == 0:
        tier[0] = Tier.CONTRACT  # left alone
    return tier


def _breaks(view: View, size: int, promised: Floats, kept: Floats, draw_w: Floats) -> Bools:
    """Points that break the job's contract.

    Where limits count, a cap holds when the job wakes from a lull too: one under its contract's draw is a breach
    whatever the job draws now.
    """
    breach: Bools = kept < promised - 1e-9
    if view.counts_limits and size == 0:
        breach |= draw_w < view.floor_w - 1e-6
    return breach


def _promised(view: View) -> Floats:
    """The share of its speed that each job is to keep; 0 where nothing was promised."""
    return np.where(view.floor_frac > 0.0, np.minimum(view.floor_frac + PROMISE_FRAC, 1.0), 0.0)
