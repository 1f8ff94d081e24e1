"""The choice of a tick, in two stages: which jobs run, at what size (seldom), and under which caps (always).

The first counts what a job will draw once it has done as it was told. The second counts what it may draw until then:
a job that pauses draws up to its lowest cap until it is gone, and the others make room for that.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wattlease.core import guards, levers
from wattlease.core.assign import Assigned, Table, assign, table
from wattlease.core.memory import Memory
from wattlease.core.model import Bools, Ints, JobState
from wattlease.core.offers import Kind, Offers, View
from wattlease.core.pools import candidates
from wattlease.core.tick import Tick, first_fall_s

LOOK_S = 900.0
"""A job is not started into a limit that falls within this time, unless it will be done by then."""


def states(tick: Tick, memory: Memory) -> View:
    """The view with what each job is to do from now on: run at some size, pause or wait."""
    offered = _offered(tick, levers.offers(replace(tick.view, gone=True)))
    may = candidates(tick.snapshot, tick.known)
    same = guards.keeps_state(tick.view, offered.kinds, offered.sizes)
    cannot = (tick.view.state == int(JobState.HELD)) & ~may
    fixed = tick.intent.dwelling | cannot | guards.unheard(tick.known, tick.view)
    allowed = same | ~fixed
    if may.any():
        allowed = _not_into_a_cut(tick, offered, allowed, same, memory, may)
    chosen = assign(_struck(offered, allowed), tick.share, _rank(tick, memory), tick.room_w, lumps=True)
    column = chosen.column[: offered.jobs]
    return replace(tick.view, kind=offered.kinds[column], size=offered.sizes[column])


def caps(tick: Tick, view: View, memory: Memory) -> tuple[Table, Assigned]:
    """The points that keep to the view's states and fit the room."""
    offered = _offered(tick, levers.within(view))
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


def _not_into_a_cut(tick: Tick, offered: Table, allowed: Bools, same: Bools, memory: Memory, may: Bools) -> Bools:
    """Start only what fits under the lowest limit that the job will meet soon, unless it is done before."""
    lowest_w = np.array([b.ahead_w[b.ahead_t_s <= b.ahead_t_s[0] + LOOK_S].min() for b in tick.bounds])
    fall_w = np.maximum(tick.aim.allowed_w - lowest_w, 0.0)
    if not fall_w.any():
        return allowed
    first_s = min(first_fall_s(b, w) for b, w in zip(tick.bounds, tick.aim.allowed_w, strict=True))
    done_before = tick.snapshot.jobs.left_s < first_s - tick.snapshot.now_s
    then = assign(_struck(offered, allowed), tick.share, _rank(tick, memory), tick.room_w - fall_w, lumps=True)
    starts = offered.kinds[then.column[: offered.jobs]] == int(Kind.RUN)
    return allowed & (same | ~(may & ~starts & ~done_before))


def _struck(offered: Table, allowed: Bools) -> Table:
    """The table with every point that is not allowed at infinite cost."""
    if allowed.all():
        return offered
    cost = offered.points.cost.copy()
    np.copyto(cost[:, : offered.jobs], np.inf, where=~allowed)
    return replace(offered, points=replace(offered.points, cost=cost))
