"""What one tick says of a scope: its draw if nothing were held back, and what is known of its queue and its limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattlease.core.actions import Plan
from wattlease.core.estimate import ABOVE_FRAC
from wattlease.core.foresight import spells
from wattlease.core.memory import Memory
from wattlease.core.model import NONE, Floats, JobState, Snapshot
from wattlease.facility.forecast.series import LOOKS_S

UNKNOWN = tuple([float("nan")] * len(LOOKS_S))


@dataclass(frozen=True, slots=True)
class Known:
    """What is known ahead, at the looks of LOOKS_S: watts of jobs that start and end by then, the lowest limit.

    `waiting_w` is what the whole queue would draw.
    """

    waiting_w: float = float("nan")
    starting_w: tuple[float, ...] = UNKNOWN
    ending_w: tuple[float, ...] = UNKNOWN
    limit_w: tuple[float, ...] = UNKNOWN


NOTHING = Known()


def wanted_w(snapshot: Snapshot, plan: Plan, memory: Memory, scope: int) -> float:
    """What the scope would draw without its batteries and with nothing held back, watts.

    `memory` is the one that the tick left. A paused job holds no cards, so it counts where all jobs do: at the root.
    """
    jobs, inside = snapshot.jobs, _inside(snapshot, scope)
    cut_w = float(_capped_off_w(snapshot, memory) @ _share(snapshot, inside))
    if snapshot.site.scopes[scope].parent == NONE:
        idle_w = np.array([m.idle_w for m in snapshot.site.models])[jobs.model]
        paused = jobs.state == JobState.PAUSED
        cut_w += float(((memory.jobs.full_w - idle_w) * jobs.gpus)[paused].sum())
    given_w = sum(
        state.power_w
        for unit, state in zip(snapshot.site.storages, snapshot.storages, strict=True)
        if inside[unit.scope] and np.isfinite(state.power_w)
    )
    return float(max(plan.scopes[scope].draw_w + given_w + max(cut_w, 0.0), 0.0))


def known(snapshot: Snapshot, plan: Plan, memory: Memory, scope: int) -> Known:
    """What is known ahead of the scope; the queue only of a root, since nobody knows where a waiting job will run."""
    limit_w = _lowest_w(snapshot, plan, scope)
    if snapshot.site.scopes[scope].parent != NONE:
        return Known(limit_w=limit_w)
    found, now_s = spells(snapshot, memory), snapshot.now_s
    start_s, end_s, power_w = np.array([(s.start_s, s.end_s, s.power_w) for s in found]).reshape(-1, 3).T
    waiting = (snapshot.jobs.state == JobState.HELD) | (snapshot.jobs.state == JobState.RELEASED)
    # those that run come first; a waiting job whose cards are free starts now, and is not in the draw yet
    starts = np.arange(len(found)) >= int((snapshot.jobs.state == JobState.RUNNING).sum())
    until_s = now_s + LOOKS_S[:, None]
    return Known(
        waiting_w=float((memory.jobs.full_w * snapshot.jobs.gpus)[waiting].sum()),
        starting_w=tuple(((starts & (start_s <= until_s)) @ power_w).tolist()),
        ending_w=tuple(((end_s <= until_s) @ power_w).tolist()),
        limit_w=limit_w,
    )


def _inside(snapshot: Snapshot, scope: int) -> list[bool]:
    """Whether each scope is this one or lies below it; parents come before their children."""
    found: list[bool] = []
    for s, each in enumerate(snapshot.site.scopes):
        found.append(s == scope or (each.parent != NONE and found[each.parent]))
    return found


def _capped_off_w(snapshot: Snapshot, memory: Memory) -> Floats:
    """What each running job would draw beyond its draw of now, if the caps in force let it; 0 where none bites."""
    held = (snapshot.gpus.job != NONE) & np.isfinite(snapshot.gpus.power_w) & np.isfinite(snapshot.gpus.cap_w)
    job, count = snapshot.gpus.job[held], len(snapshot.jobs.id)
    cards = np.maximum(np.bincount(job, minlength=count), 1)
    drawn_w = np.bincount(job, snapshot.gpus.power_w[held], count)
    cap_w = np.bincount(job, snapshot.gpus.cap_w[held], count) / cards
    need_w = np.where(np.isnan(memory.jobs.need_w), memory.jobs.full_w, memory.jobs.need_w)
    bites = (snapshot.jobs.state == JobState.RUNNING) & (cap_w < ABOVE_FRAC * memory.jobs.full_w)
    return np.where(bites & (drawn_w > 0.0), np.maximum(need_w * cards - drawn_w, 0.0), 0.0)


def _share(snapshot: Snapshot, inside: list[bool]) -> Floats:
    """The part of each job's cards that lies inside."""
    held = snapshot.gpus.job != NONE
    job = snapshot.gpus.job[held]
    here = np.array(inside)[snapshot.site.nodes.scope[snapshot.site.gpus.node[held]]]
    count = len(snapshot.jobs.id)
    return np.bincount(job, here, count) / np.maximum(np.bincount(job, minlength=count), 1)


def _lowest_w(snapshot: Snapshot, plan: Plan, scope: int) -> tuple[float, ...]:
    """The lowest limit from now through each look: what binds now, and the windows of the scope and all above it."""
    above, s = {scope}, scope
    while (s := snapshot.site.scopes[s].parent) != NONE:
        above.add(s)
    now_s, lowest_w = snapshot.now_s, np.full(len(LOOKS_S), plan.scopes[scope].limit_w)
    for window in snapshot.windows:
        if window.scope in above and window.end_s > now_s:
            reached = window.start_s < now_s + LOOKS_S
            lowest_w = np.where(reached, np.minimum(lowest_w, window.limit_w), lowest_w)
    return tuple(lowest_w.tolist())
