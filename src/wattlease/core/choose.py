"""The choice of a tick, in two stages: which jobs run, at what size (seldom), and under which caps (always).

The first counts what a job will draw once it has done as it was told. The second counts what it may draw until then:
a job that pauses draws up to its lowest cap until it is gone, and the others make room for that.

Rule: caps stay where they stand unless another split of the watts is worth it; else noise would swap two jobs whose
watts cost the same, tick after tick.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wattlease.core import guards, levers
from wattlease.core.assign import Assigned, Table, assign, table
from wattlease.core.memory import Memory
from wattlease.core.model import Bools, Floats, Ints, JobState
from wattlease.core.offers import Kind, Offers, Tier, View
from wattlease.core.pools import candidates
from wattlease.core.tick import Tick, first_fall_s

STAY_FRAC = 0.05
"""A watt that a job has given up already counts as so much cheaper than it is, one that it still has as so much dearer:
draws and curves, and so prices, are known to a few percent. What is chosen costs at most twice this share more than the
cheapest choice."""

HEADROOM_FRAC = 0.02
"""Of the room, kept free where it is chosen who runs: draws waver by so much, and who runs at what its contract needs
has nothing to give."""

LOOK_S = 900.0
"""A job is not started into a limit that falls within this time, unless it will be done by then."""


def states(tick: Tick, memory: Memory, *, held_again: bool = False) -> View:
    """The view with what each job is to do from now on: run at some size, pause or wait.

    With `held_again` those that have not begun may be told to wait again within their dwell.
    """
    offered = _offered(tick, levers.offers(replace(tick.view, gone=True)))
    may = candidates(tick.snapshot, tick.known)
    same = guards.keeps_state(tick.view, offered.kinds, offered.sizes)
    cannot = (tick.view.state == int(JobState.HELD)) & ~may
    dwelling = tick.intent.dwelling & ~not_begun(tick) if held_again else tick.intent.dwelling
    fixed = dwelling | cannot | guards.unheard(tick.known, tick.view)
    allowed = same | ~fixed
    if may.any():
        allowed = _not_into_a_cut(tick, offered, allowed, same, memory, may)
    room_w = _with_headroom_w(tick, offered, same)
    chosen = assign(_struck(offered, allowed), tick.share, _rank(tick, memory), room_w, lumps=True)
    column = chosen.column[: offered.jobs]
    return replace(tick.view, kind=offered.kinds[column], size=offered.sizes[column])


def not_begun(tick: Tick) -> Bools:
    """Jobs whose watts are kept for them within their dwell, and who have no work to lose by waiting again."""
    released = tick.view.state == int(JobState.RELEASED)
    return released & (tick.view.kind == int(Kind.RUN)) & tick.intent.dwelling


def _with_headroom_w(tick: Tick, offered: Table, same: Bools) -> Floats:
    """The room less headroom, and less what those had who are not heard for a while. Contracts of those who run may use
    it, so that nobody gives way for it alone; where somebody has to in any case, headroom is made up with."""
    points, jobs = offered.points, offered.jobs
    kept = same & (points.tier[:, :jobs] == int(Tier.CONTRACT)) & np.isfinite(points.cost[:, :jobs])
    least_w = np.where(kept, points.watts_w[:, :jobs], np.inf).min(axis=0)
    free_w = tick.ramp_room_w - np.where(np.isfinite(least_w), least_w, 0.0) @ tick.share[:jobs]
    headroom_w = HEADROOM_FRAC * np.maximum(tick.ramp_room_w, 0.0)
    return tick.ramp_room_w - np.where(free_w < 0.0, headroom_w, np.minimum(headroom_w + tick.silent_w, free_w))


def caps(tick: Tick, view: View, memory: Memory) -> tuple[Table, Assigned]:
    """The points that keep to the view's states and fit the room."""
    offered = _offered(tick, levers.within(view))
    if tick.snapshot.now_s != memory.now_s:  # the same snapshot twice is one tick
        offered = _stayed(offered, view, memory.jobs.cap_w)
    allowed = guards.keeps_state(view, offered.kinds, offered.sizes)
    return offered, assign(_struck(offered, allowed), tick.share, _rank(tick, memory), tick.room_w, lumps=False)


def _rank(tick: Tick, memory: Memory) -> Ints:
    """Jobs by the order of their ids, then batteries."""
    return np.append(memory.jobs.rank, len(memory.jobs.rank) + np.arange(len(tick.snapshot.site.storages)))


def _offered(tick: Tick, of_jobs: tuple[Offers, ...]) -> Table:
    """The levers' points, jobs first, then batteries."""
    units = tick.snapshot.site.storages
    if not units:
        return table(of_jobs)
    return table(of_jobs, levers.storage(units, tick.stores.more_w, tick.ahead.hours, tick.ahead.energy_per_wh))


def _stayed(offered: Table, view: View, cap_w: Floats) -> Table:
    """The table with the steps of each cap's descent a little cheaper above the cap of the tick before, a little dearer
    below it; prices that rise on the way down still do."""
    held = ~view.off & (cap_w < view.alone_w(view.need_w) - 1e-6)
    if not held.any():
        return offered
    points, jobs = offered.points, offered.jobs
    watts_w, cost, chain = points.watts_w[:, :jobs], points.cost[:, :jobs], points.chain[1:]
    stands_w = np.where(held, view.stands_w(cap_w), np.inf)
    with np.errstate(invalid="ignore"):  # points that are not there
        falls_w, rises = watts_w[:-1] - watts_w[1:], cost[1:] - cost[:-1]
        given = np.minimum(np.maximum((watts_w[:-1] - stands_w) / np.maximum(falls_w, 1e-9), 0.0), 1.0)
        more = np.where(chain[:, None] & np.isfinite(rises), STAY_FRAC * (1.0 - 2.0 * given) * np.abs(rises), 0.0)
    moved = points.cost.copy()
    moved[1:, :jobs] += np.cumsum(more, axis=0)
    return replace(offered, points=replace(points, cost=moved))


def _not_into_a_cut(tick: Tick, offered: Table, allowed: Bools, same: Bools, memory: Memory, may: Bools) -> Bools:
    """Start only what fits under the lowest limit that the job will meet soon, unless it is done before."""
    lowest_w = np.array([b.ahead_w[b.ahead_t_s <= b.ahead_t_s[0] + LOOK_S].min() for b in tick.bounds])
    fall_w = np.maximum(tick.aim.ramp_w - lowest_w, 0.0)
    if not fall_w.any():
        return allowed
    first_s = min(first_fall_s(b, w) for b, w in zip(tick.bounds, tick.aim.ramp_w, strict=True))
    done_before = tick.snapshot.jobs.left_s < first_s - tick.snapshot.now_s
    room_w = tick.ramp_room_w - tick.silent_w
    then = assign(_struck(offered, allowed), tick.share, _rank(tick, memory), room_w - fall_w, lumps=True)
    starts = offered.kinds[then.column[: offered.jobs]] == int(Kind.RUN)
    return allowed & (same | ~(may & ~starts & ~done_before))


def _struck(offered: Table, allowed: Bools) -> Table:
    """The table with every point that is not allowed at infinite cost."""
    if allowed.all():
        return offered
    cost = offered.points.cost.copy()
    np.copyto(cost[:, : offered.jobs], np.inf, where=~allowed)
    return replace(offered, points=replace(offered.points, cost=cost))
