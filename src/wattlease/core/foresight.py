"""What the jobs that are known will draw: those that run until they end, and the queue as cards come free.

A site that is given a forecast uses that. This one knows no calendar and no jobs that are not submitted yet, but it
sees a huge job coming before any meter does.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np

from wattlease.core.memory import Memory
from wattlease.core.model import Floats, JobState, Snapshot

QUEUE_LOOKED_AT = 500

UNSURE_FRAC = 0.05
"""Added to the expected draw for its p90: what jobs of known draw were seen to vary by."""


@dataclass(frozen=True, slots=True)
class Spell:
    """A job's expected stretch of running, unix seconds, and its draw beyond idle cards."""

    start_s: float
    end_s: float
    power_w: float


def foresee(snapshot: Snapshot, memory: Memory, base_w: float, at_s: Floats) -> tuple[Floats, Floats]:
    """Expected draw and its p90 at these times; `base_w` is drawn whatever runs (overhead and idle cards)."""
    draw_w = np.full(len(at_s), base_w)
    for spell in spells(snapshot, memory):
        draw_w += spell.power_w * ((at_s >= spell.start_s) & (at_s < spell.end_s))
    return draw_w, base_w + (draw_w - base_w) * (1.0 + UNSURE_FRAC)


def spells(snapshot: Snapshot, memory: Memory) -> list[Spell]:
    """When each known job is expected to run: the queue in its order, each as soon as enough cards are free."""
    jobs, now_s = snapshot.jobs, snapshot.now_s
    idle_w = np.array([m.idle_w for m in snapshot.site.models])[jobs.model]
    power_w = (memory.jobs.full_w - idle_w) * jobs.gpus
    left_s = np.where(np.isnan(jobs.left_s), np.inf, np.maximum(jobs.left_s, 0.0))
    found = [
        Spell(now_s, now_s + float(left_s[j]), float(power_w[j]))
        for j in np.flatnonzero(jobs.state == JobState.RUNNING)
    ]
    ends = [(now_s + float(left_s[j]), int(jobs.gpus[j])) for j in np.flatnonzero(jobs.state == JobState.RUNNING)]
    heapify(ends)
    free = len(snapshot.gpus.job) - sum(gpus for _, gpus in ends)
    start_s = now_s
    waiting = np.flatnonzero((jobs.state == JobState.HELD) | (jobs.state == JobState.RELEASED))
    for j in waiting[np.argsort(jobs.rank[waiting], kind="stable")][:QUEUE_LOOKED_AT]:
        while free < jobs.gpus[j] and ends:
            start_s, gpus = heappop(ends)
            free += gpus
        if free < jobs.gpus[j] or not np.isfinite(start_s):
            break
        free -= int(jobs.gpus[j])
        end_s = start_s + float(left_s[j])
        heappush(ends, (end_s, int(jobs.gpus[j])))
        found.append(Spell(start_s, end_s, float(power_w[j])))
    return found
