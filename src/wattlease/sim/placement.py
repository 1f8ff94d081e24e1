"""The scheduler's part: released jobs start in the order of their rank as soon as enough GPUs are free.

First in, first out, with backfill: a job that fits may overtake one that does not, until the one at the head has
waited so long that the GPUs are drained for it. Jobs are packed on the nodes with the least room that is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from wattlease.core.model import NONE, Ints
from wattlease.sim.wiring import Wiring


class Placement:
    """Which job has which GPUs. `job` is a column of GPUs, `NONE` where one is free."""

    def __init__(self, wiring: Wiring, node: Ints) -> None:
        self.node = node
        self.cluster = wiring.cluster
        self.job = np.full(len(node), NONE, dtype=np.int64)
        self.free = wiring.gpus.copy()
        self.version = 0

    def room(self) -> Ints:
        """Free GPUs of each cluster."""
        return np.bincount(self.cluster, self.free).astype(np.int64)

    def put(self, job: int, gpus: int, cluster: int) -> bool:
        """Give the job its GPUs if there are enough."""
        nodes = self._nodes(gpus, cluster)
        if not nodes:
            return False
        left = gpus
        for n in nodes:
            cards = np.flatnonzero((self.node == n) & (self.job == NONE))[:left]
            self.job[cards] = job
            self.free[n] -= len(cards)
            left -= len(cards)
        self.version += 1
        return True

    def take(self, jobs: Ints) -> None:
        """These jobs are over; their GPUs are free."""
        cards = np.flatnonzero(np.isin(self.job, jobs))
        self.job[cards] = NONE
        np.add.at(self.free, self.node[cards], 1)
        self.version += 1

    def _nodes(self, gpus: int, cluster: int) -> list[int]:
        """Nodes to use, none if they do not suffice: the fullest that holds the job, else the emptiest together."""
        room = np.where(self.cluster == cluster, self.free, 0)
        fits = np.flatnonzero(room >= gpus)
        if len(fits):
            return [int(fits[np.argmin(room[fits])])]
        if int(room.sum()) < gpus:
            return []
        emptiest = np.argsort(-room, kind="stable")
        enough = int(np.searchsorted(np.cumsum(room[emptiest]), gpus)) + 1
        return [int(n) for n in emptiest[:enough]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A released job; `late` says that it has waited so long that nobody may overtake it."""

    job: int
    gpus: int
    cluster: int
    late: bool


def starts(placement: Placement, released: Iterable[Wanted]) -> Iterator[int]:
    """Place released jobs, given by rank; yields those that start."""
    drained: set[int] = set()
    room = placement.room()
    for one in released:
        if one.cluster in drained:
            continue
        if one.gpus <= room[one.cluster] and placement.put(one.job, one.gpus, one.cluster):
            room[one.cluster] -= one.gpus
            yield one.job
            if not room.any():
                return
        elif one.late:
            drained.add(one.cluster)
            if len(drained) == len(room):
                return
