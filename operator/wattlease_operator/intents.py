"""What the plan wants each job to become, until the cluster shows that it has: some of it takes minutes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wattlease.core.actions import Downsize, Hold, Pause, Plan, Release, Restore, Resume
from wattlease.core.model import JobState
from wattlease.runtime.controller.workload import Ask
from wattlease_operator.agreements import least_replicas
from wattlease_operator.book import NOTHING_ASKED, Book
from wattlease_operator.columns import state_of
from wattlease_operator.gathering import KubeJob
from wattlease_operator.resizing import least_gpus, named, own_gpus, resizes
from wattlease_operator.suspend import overruled

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

    def __init__(self, book: Book, refused: Callable[[str], bool]) -> None:
        """`refused` says of a job that its GPUs are not to be changed for now."""
        self._book, self._refused = book, refused
        self.wanted: dict[str, JobState] = {}
        self.replicas: dict[str, int] = {}
        """To how many a service is to shrink."""
        self.gpus: dict[str, int] = {}
        """How many GPUs each pod of a Job is to have, while it is on its way there."""
        self.asks: dict[str, Ask] = {}
        self._ceilings: dict[str, tuple[tuple[int | None, bool], float]] = {}

    def clear(self) -> None:
        """Want nothing any more."""
        self.wanted.clear()
        self.replicas.clear()
        self.gpus.clear()

    def ceiling_age_s(self, job: str, now_s: float) -> float:
        """For how long its autoscaler has had the bound that it has."""
        return now_s - self._ceilings[job][1] if job in self._ceilings else 0.0

    def take(self, plan: Plan, jobs: Mapping[str, KubeJob]) -> None:
        """Want what this plan newly wants, and no more what has come to be or can no longer."""
        for action in plan.actions:
            match action:
                case Pause(job):
                    self.wanted[job] = JobState.PAUSED
                    self.gpus.pop(job, None)
                case Resume(job):
                    self.wanted[job] = JobState.RUNNING
                case Release(job):
                    self.wanted[job] = JobState.RELEASED
                case Hold(job):
                    self.wanted[job] = JobState.HELD
                    self.gpus.pop(job, None)
                case Downsize(job, batch_frac, variant):
                    self._downsize(job, batch_frac, variant, jobs)
                case Restore(job):
                    self._restore(job, jobs)
        self._settle(jobs)
        scalers = {name: job.scaler for name, job in jobs.items() if job.scaler is not None}
        found = {name: (scaler.now, scaler.scale_out_paused) for name, scaler in scalers.items()}
        same = {name: seen for name, seen in self._ceilings.items() if seen[0] == found.get(name)}
        self._ceilings = {name: same.get(name, (now, plan.now_s)) for name, now in found.items()}

    def let_go(self, jobs: Mapping[str, KubeJob]) -> None:
        """Want everything back as it was before anything was held."""
        wanted = {name: LET_GO.get(state) for name, job in jobs.items() if (state := state_of(job)) is not None}
        self.wanted = {name: state for name, state in wanted.items() if state is not None}
        self.replicas.clear()
        self.gpus = {name: n for name, n in self.gpus.items() if name in jobs and n == own_gpus(jobs[name])}
        for name, job in jobs.items():
            if self._book.of(name) != NOTHING_ASKED or job.shrunk_from:
                self._restore(name, jobs)
        self._settle(jobs)

    def _downsize(self, job: str, batch_frac: float, variant: str, jobs: Mapping[str, KubeJob]) -> None:
        """Fewer GPUs or replicas where it can do with those, else a smaller batch or model of its own."""
        found = jobs.get(job)
        if found is None:
            return
        if variant and variant == named(found):
            self._resize(found, least_gpus(found))
            self._book.write(job, batch_frac=1.0, variant="")
            return
        if job in self.gpus or found.shrunk_from:
            self._resize(found, own_gpus(found))
        if not variant and (least := least_replicas(found)):
            self.replicas[job] = max(round(batch_frac * len(found.alive)), least)
        else:
            self._book.write(job, batch_frac=batch_frac, variant=variant)

    def _restore(self, job: str, jobs: Mapping[str, KubeJob]) -> None:
        self._book.write(job, batch_frac=1.0, variant="")
        found = jobs.get(job)
        if found is not None and (job in self.gpus or found.shrunk_from):
            self._resize(found, own_gpus(found))

    def _resize(self, job: KubeJob, gpus: int) -> None:
        if not self._refused(job.id):
            self.gpus[job.id] = gpus
            self.wanted.pop(job.id, None)

    def give_up(self, job: str) -> None:
        """Its GPUs cannot be changed: what was suspended for that is to run on as it is."""
        if self.gpus.pop(job, None) is not None:
            self.wanted[job] = JobState.RUNNING

    def _settle(self, jobs: Mapping[str, KubeJob]) -> None:
        states = {name: state_of(job) for name, job in jobs.items()}
        self.wanted = {
            j: wanted for j, wanted in self.wanted.items() if states.get(j) in LASTS[wanted] and not overruled(jobs[j])
        }
        self.replicas = {j: n for j, n in self.replicas.items() if j in jobs and len(jobs[j].alive) > n}
        self.gpus = {j: n for j, n in self.gpus.items() if j in jobs and resizes(jobs[j], n)}
        self._book.keep(jobs.keys())
        self.asks = {name: self._ask(jobs[name]) for name, state in states.items() if state == JobState.RUNNING}

    def _ask(self, job: KubeJob) -> Ask:
        """What its hint says; a node knows the pods that it runs."""
        deeds, pause = self._book.of(job.id), self.wanted.get(job.id) == JobState.PAUSED or job.id in self.gpus
        parts = tuple((pod.node, pod.job) for pod in job.placed)
        return Ask("", parts, deeds.batch_frac, deeds.variant, checkpoint=pause, pause=pause)
