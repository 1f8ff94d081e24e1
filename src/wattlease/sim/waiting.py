"""The queue: jobs that were submitted and have no GPUs yet, by rank."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wattlease.core.model import Ints, JobState
from wattlease.sim.placement import Placement, Wanted, starts
from wattlease.sim.work import ABSENT, Work


class Queue:
    """Waiting jobs as ascending indices; `version` counts changes of who waits."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.waiting: Ints = np.empty(0, dtype=np.int64)
        self.due = np.array([i for i, e in enumerate(work.entries) if not e.running], dtype=np.int64)
        self.due_s = work.of["submit_s"][self.due]
        self.arrived = 0
        self.version = 0

    def arrive(self, now_s: float) -> None:
        """Jobs whose time has come join the queue."""
        until = int(np.searchsorted(self.due_s, now_s, side="right"))
        if until > self.arrived:
            self.enter(self.due[self.arrived : until])
            self.arrived = until

    def enter(self, jobs: Ints) -> None:
        """These are submitted and held; their indices are above those of all that came before."""
        of = self.work.of
        jobs = jobs[of["state"][jobs] == ABSENT]
        of["state"][jobs] = JobState.HELD
        of["since_s"][jobs] = of["submit_s"][jobs]
        self.waiting = np.concatenate([self.waiting, jobs])
        self.version += 1

    def leave(self, job: int) -> None:
        """The job has its GPUs."""
        self.waiting = self.waiting[self.waiting != job]
        self.version += 1

    def starting(self, placement: Placement, drain_s: float, now_s: float) -> Iterator[int]:
        """Released jobs that get their GPUs now, by rank."""
        of = self.work.of
        released = self.waiting[self.work.is_in(self.waiting, JobState.RELEASED)]
        if not len(released) or not placement.free.any():
            return
        waited_s = now_s - of["since_s"][released]
        # a job that neither fits nor may keep others waiting changes nothing
        matters = (of["gpus"][released] <= placement.room()[of["cluster"][released]]) | (waited_s > drain_s)
        wanted = (
            Wanted(int(j), int(of["gpus"][j]), int(of["cluster"][j]), bool(late))
            for j, late in zip(released[matters], waited_s[matters] > drain_s, strict=True)
        )
        for job in starts(placement, wanted):
            self.leave(job)
            yield job
