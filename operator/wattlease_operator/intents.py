"""What the plan wants each job to become, until the cluster shows that it has: some of it takes minutes."""

from __future__ import annotations

from collections.abc import Mapping

from wattlease.core.actions import Downsize, Hold, Pause, Plan, Release, Restore, Resume
from wattlease.core.model import JobState
from wattlease.runtime.controller.workload import Ask
from wattlease_operator.agreements import least_replicas
from wattlease_operator.book import NOTHING_ASKED, Book
from wattlease_operator.columns import state_of
from wattlease_operator.gathering import KubeJob

LASTS: Mapping[JobState, frozenset[JobState]] = {
    JobState.PAUSED: frozenset({JobState.RUNNING, JobState.RELEASED}),
    JobState.RUNNING: frozenset({JobState.PAUSED}),
    JobState.RELEASED: frozenset({JobState.HELD}),
    JobState.HELD: frozenset({JobState.RELEASED}),
}
"""While a job stands so, it is still wanted in the state on the left."""


LET_GO: Mapping[JobState, JobState] = {
    JobState.PAUSED: JobState.RUNNING,
    JobState.HELD: JobState.RELEASED,
}
"""What a job is to become that nothing of ours is to hold any more."""


class Intents:
    """Wanted states by job id. Smaller batches and models are in the book: they last as long as the run."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.wanted: dict[str, JobState] = {}
        self.replicas: dict[str, int] = {}
        """To how many a service is to shrink."""
        self.asks: dict[str, Ask] = {}
        self._ceilings: dict[str, tuple[int | None, float]] = {}

    def clear(self) -> None:
        """Want nothing any more."""
        self.wanted.clear()
        self.replicas.clear()

    def ceiling_age_s(self, job: str, now_s: float) -> float:
        """For how long its autoscaler has had the ceiling that it has."""
        return now_s - self._ceilings[job][1] if job in self._ceilings else 0.0

    def take(self, plan: Plan, jobs: Mapping[str, KubeJob]) -> None:
        """Want what this plan newly wants, and no more what has come to be or can no longer."""
        for action in plan.actions:
            match action:
                case Pause(job):
                    self.wanted[job] = JobState.PAUSED
                case Resume(job):
                    self.wanted[job] = JobState.RUNNING
                case Release(job):
                    self.wanted[job] = JobState.RELEASED
                case Hold(job):
                    self.wanted[job] = JobState.HELD
                case Downsize(job, batch_frac, variant):
                    self._downsize(job, batch_frac, variant, jobs)
                case Restore(job):
                    self._book.write(job, batch_frac=1.0, variant="")
        self._settle(jobs)
        found = {name: job.scaler.now for name, job in jobs.items() if job.scaler is not None}
        same = {name: seen for name, seen in self._ceilings.items() if seen[0] == found.get(name, -1)}
        self._ceilings = {name: same.get(name, (now, plan.now_s)) for name, now in found.items()}

    def let_go(self, jobs: Mapping[str, KubeJob]) -> None:
        """Want everything back as it was before anything was held."""
        wanted = {name: LET_GO.get(state) for name, job in jobs.items() if (state := state_of(job)) is not None}
        self.wanted = {name: state for name, state in wanted.items() if state is not None}
        self.replicas.clear()
        for job in jobs:
            if self._book.of(job) != NOTHING_ASKED:
                self._book.write(job, batch_frac=1.0, variant="")
        self._settle(jobs)

    def _downsize(self, job: str, batch_frac: float, variant: str, jobs: Mapping[str, KubeJob]) -> None:
        """Fewer replicas where an autoscaler can do with those, else a smaller batch or model of its own."""
        found = jobs.get(job)
        if found is None:
            return
        if not variant and (least := least_replicas(found)):
            self.replicas[job] = max(round(batch_frac * len(found.alive)), least)
        else:
            self._book.write(job, batch_frac=batch_frac, variant=variant)

    def _settle(self, jobs: Mapping[str, KubeJob]) -> None:
        states = {name: state_of(job) for name, job in jobs.items()}
        self.wanted = {j: wanted for j, wanted in self.wanted.items() if states.get(j) in LASTS[wanted]}
        self.replicas = {j: n for j, n in self.replicas.items() if j in jobs and len(jobs[j].alive) > n}
        self._book.keep(jobs.keys())
        self.asks = {name: self._ask(jobs[name]) for name, state in states.items() if state == JobState.RUNNING}

    def _ask(self, job: KubeJob) -> Ask:
        """What its hint says; a node knows the pods that it runs."""
        deeds, pause = self._book.of(job.id), self.wanted.get(job.id) == JobState.PAUSED
        parts = tuple((pod.node, pod.job) for pod in job.placed)
        return Ask("", parts, deeds.batch_frac, deeds.variant, checkpoint=pause, pause=pause)
