"""Free cards: which waiting jobs could start, and how much of a released job could.

A pool is one card model in one cluster. What a scheduler will do with its cards is its own affair; this only keeps
Wattlease from letting jobs go, or keeping watts for them, where there are no cards.
"""

from __future__ import annotations

import numpy as np

from wattlease.core.estimate import Estimate
from wattlease.core.model import NONE, Bools, Floats, JobState, Snapshot

MOST_LOOKED_AT = 5000
"""How far down the queue candidates are looked for in one tick."""

PATIENCE_S = 1800.0
"""The first in the queue is let go after this time though its cards are not free, so that its scheduler can keep them
for it: a large job would wait for ever behind small ones."""

Pool = tuple[str, str]


def candidates(snapshot: Snapshot, known: Estimate) -> Bools:
    """Waiting jobs that could start now: first in the queue, then those behind that fit on the cards left over."""
    jobs = snapshot.jobs
    may = np.zeros(len(jobs.id), bool)
    waiting = np.flatnonzero(jobs.state == JobState.HELD)
    if not len(waiting):
        return may
    free = _unclaimed(snapshot, known)
    impatient: set[Pool] = set()
    for j in waiting[np.argsort(jobs.rank[waiting], kind="stable")][:MOST_LOOKED_AT]:
        pool = _pool(snapshot, int(j))
        if jobs.gpus[j] <= free.get(pool, 0) and pool not in impatient:
            free[pool] -= int(jobs.gpus[j])
            may[j] = True
        elif pool not in impatient and snapshot.now_s - jobs.submitted_s[j] >= PATIENCE_S:
            may[j] = not _claimed_already(snapshot, pool)
            impatient.add(pool)
        if not any(count > 0 for count in free.values()):
            break
    return may


def ready_frac(snapshot: Snapshot, known: Estimate) -> Floats:
    """The share of its cards that a job could have now: 1 where it has them or all are free, less for one that was
    released and waits for others to end, whose watts it will take over."""
    jobs = snapshot.jobs
    ready = np.ones(len(jobs.id))
    released = np.flatnonzero(jobs.state == JobState.RELEASED)
    free = _free_cards(snapshot, known) if len(released) else {}
    for j in released[np.argsort(jobs.rank[released], kind="stable")]:
        pool = _pool(snapshot, int(j))
        had = min(free.get(pool, 0), int(jobs.gpus[j]))
        free[pool] = free.get(pool, 0) - had
        ready[j] = had / max(int(jobs.gpus[j]), 1)
    return ready


def _pool(snapshot: Snapshot, j: int) -> Pool:
    return snapshot.jobs.cluster[j], snapshot.site.models[int(snapshot.jobs.model[j])].name


def _claimed_already(snapshot: Snapshot, pool: Pool) -> bool:
    """Whether a released job keeps cards of the pool for itself by now."""
    released = np.flatnonzero(snapshot.jobs.state == JobState.RELEASED)
    return any(_pool(snapshot, int(j)) == pool for j in released)


def _unclaimed(snapshot: Snapshot, known: Estimate) -> dict[Pool, int]:
    """Free cards less those that released jobs will take."""
    free = _free_cards(snapshot, known)
    for j in np.flatnonzero(snapshot.jobs.state == JobState.RELEASED):
        pool = _pool(snapshot, int(j))
        free[pool] = free.get(pool, 0) - int(snapshot.jobs.gpus[j])
    return free


def _free_cards(snapshot: Snapshot, known: Estimate) -> dict[Pool, int]:
    """Cards that are heard and idle, by pool."""
    site = snapshot.site
    idle = np.flatnonzero((snapshot.gpus.job == NONE) & known.gpu_fresh)
    free: dict[Pool, int] = {}
    place = site.gpus.node[idle] * len(site.models) + site.gpus.model[idle]
    for key, count in zip(*np.unique(place, return_counts=True), strict=True):
        pool = (site.nodes.cluster[int(key) // len(site.models)], site.models[int(key) % len(site.models)].name)
        free[pool] = free.get(pool, 0) + int(count)
    return free
