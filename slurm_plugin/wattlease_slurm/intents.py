"""What the plan wants each job to become, until the queue shows that it has: Slurm may need several tries."""

from __future__ import annotations

from collections.abc import Mapping

from wattlease.core.actions import Downsize, Hold, Pause, Plan, Release, Restore, Resume
from wattlease.runtime.controller.workload import Ask
from wattlease_slurm.agreements import Agreements
from wattlease_slurm.book import Book
from wattlease_slurm.words import SlurmJob, State


class Intents:
    """Wanted states by job id. Smaller batches and models are in the book: they last as long as the run."""

    def __init__(self, book: Book, agreements: Agreements) -> None:
        self._book, self._agreements = book, agreements
        self.paused: set[str] = set()
        self.resumed: set[str] = set()
        self.nodes: dict[str, int] = {}
        """How many a job is to be left with."""
        self.released: frozenset[str] = frozenset()
        self.asks: dict[str, Ask] = {}

    def clear(self) -> None:
        """Want nothing any more."""
        self.paused.clear()
        self.resumed.clear()
        self.nodes.clear()
        self.released = frozenset()

    def take(self, plan: Plan, jobs: Mapping[str, SlurmJob]) -> None:
        """Want what this plan newly wants, and no more what has come to be or can no longer."""
        for action in plan.actions:
            match action:
                case Pause(job):
                    self.paused.add(job)
                    self.resumed.discard(job)
                case Resume(job):
                    self.resumed.add(job)
                    self.paused.discard(job)
                case Release(job):
                    self.released |= {job}
                case Hold(job):
                    self.released -= {job}
                case Downsize(job, batch_frac, variant):
                    self._downsize(job, batch_frac, variant, jobs)
                case Restore(job):
                    self._book.write(job, batch_frac=1.0, variant="")
        self._settle(jobs)

    def let_go(self, jobs: Mapping[str, SlurmJob]) -> None:
        """Want everything back as it was before anything was held."""
        self.clear()
        self.resumed = set(self._book.paused)
        for job in jobs:
            deeds = self._book.of(job)
            if deeds.batch_frac != 1.0 or deeds.variant:
                self._book.write(job, batch_frac=1.0, variant="")
        self._settle(jobs)

    def _downsize(self, job: str, batch_frac: float, variant: str, jobs: Mapping[str, SlurmJob]) -> None:
        """Fewer nodes where it can do with those, else a smaller batch or model of its own."""
        if (found := jobs.get(job)) is None:
            return
        if least := self._agreements.least_nodes(found):
            self.nodes[job] = least
        else:
            self._book.write(job, batch_frac=batch_frac, variant=variant, restarts=found.restarts)

    def _settle(self, jobs: Mapping[str, SlurmJob]) -> None:
        states = {name: job.state for name, job in jobs.items()}
        self.paused = {j for j in self.paused if states.get(j) == State.RUNNING and not self._book.of(j).stubborn}
        self.resumed = {j for j in self.resumed if states.get(j) == State.SUSPENDED and j in self._book.paused}
        self.released = frozenset(j for j in self.released if states.get(j) == State.PENDING)
        self.nodes = {j: n for j, n in self.nodes.items() if j in jobs and self._agreements.least_nodes(jobs[j])}
        self.asks = {name: self._ask(job) for name, job in jobs.items() if job.state == State.RUNNING}

    def _ask(self, job: SlurmJob) -> Ask:
        """What its hint says; a node knows it by Slurm's number."""
        deeds, pause = self._book.of(job.id), job.id in self.paused
        return Ask(str(job.number), (), deeds.batch_frac, deeds.variant, checkpoint=pause, pause=pause)
