"""What each job's owner agreed to, as terms of the core; jobs that agree to the same share them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from wattlease.core.api import PowerProfile
from wattlease.core.model import NONE, Step, Terms
from wattlease_slurm.agreement import Agreement, agreed
from wattlease_slurm.book import Book
from wattlease_slurm.tables import Tables
from wattlease_slurm.wishes import Wishes, read
from wattlease_slurm.words import SlurmJob, State

MOST_KEPT = 4096
"""Agreements that are remembered: one for each user, name and comment."""

MOST_JOBS = 65_536
"""Jobs whose agreement is remembered for as long as the queue has them unchanged."""

MOST_TERMS = 256
"""More than this, and the terms of jobs that have gone are forgotten."""


class Agreements:
    """Agreements by job. `terms` is another tuple whenever a job agrees to something new."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.agree(())

    def agree(self, profiles: tuple[PowerProfile, ...]) -> None:
        """Hold to these profiles from now on."""
        self._profiles = profiles
        self._by_words: dict[tuple[str, ...], Agreement] = {}
        self._by_job: dict[str, tuple[SlurmJob, Agreement]] = {}
        self._place: dict[Terms, int] = {}
        self.terms: tuple[Terms, ...] = (Terms(name="default"),)

    def of(self, job: SlurmJob) -> Agreement:
        """What holds for it; where its own words cannot be read, as its user was told, they count for nothing."""
        seen = self._by_job.get(job.id)
        if seen is None or seen[0] is not job:
            if len(self._by_job) >= MOST_JOBS:
                self._by_job.clear()
            seen = self._by_job[job.id] = job, self._by_its_words(job)
        return seen[1]

    def _by_its_words(self, job: SlurmJob) -> Agreement:
        words = (job.comment, job.name, job.user, job.account, job.partition, job.qos)
        if words not in self._by_words:
            if len(self._by_words) >= MOST_KEPT:
                self._by_words.clear()
            wishes = read(job.comment)
            own = wishes if isinstance(wishes, Wishes) else Wishes()
            self._by_words[words] = agreed(job, self._profiles, self._tables, own)
        return self._by_words[words]

    def terms_of(self, job: SlurmJob, stubborn: bool) -> Terms:
        """Its terms now; a `stubborn` job is not paused."""
        terms = self.of(job).terms
        if stubborn:
            terms = replace(terms, pausable=False, stoppable=False)
        if least := self.least_nodes(job):
            share = least / job.node_count
            terms = replace(terms, steps=(Step(batch_frac=share, draw_frac=share, speed_frac=share),))
        return terms

    def least_nodes(self, job: SlurmJob) -> int:
        """How many nodes it can be left with now, 0 where it keeps those that it has."""
        agreement = self.of(job)
        least = agreement.min_nodes or job.node_count
        runs = job.state == State.RUNNING and job.batch and not job.het_job_id
        return least if runs and least < job.node_count and not agreement.terms.steps else 0

    def take(self, wanted: Iterable[Terms]) -> None:
        """Have a place for each of these."""
        live = dict.fromkeys({id(terms): terms for terms in wanted}.values())
        if all(terms in self._place for terms in live):
            return
        kept = self.terms if len(self.terms) + len(live) <= MOST_TERMS else ()
        self.terms = tuple(dict.fromkeys((*kept, *live)))
        self._place = {terms: i for i, terms in enumerate(self.terms)}

    def place(self, terms: Terms) -> int:
        """Where in `terms` these are."""
        return self._place[terms]


class Standing:
    """What the columns ask of the daemon, at one look at the queue."""

    def __init__(self, agreements: Agreements, book: Book, released: frozenset[str], now_s: float) -> None:
        self._agreements, self._book, self._now_s = agreements, book, now_s
        self.paused, self.released = book.paused, released
        self._terms: dict[str, Terms] = {}
        self._places: dict[int, int] = {}

    def of(self, job: SlurmJob) -> Terms:
        """Its terms now."""
        if job.id not in self._terms:
            self._terms[job.id] = self._agreements.terms_of(job, self._book.of(job.id).stubborn)
        return self._terms[job.id]

    def terms(self, job: SlurmJob) -> int:
        """Its place in `Site.terms`."""
        terms = self.of(job)
        if id(terms) not in self._places:  # thousands of jobs share few: looked up once, as all are kept meanwhile
            self._places[id(terms)] = self._agreements.place(terms)
        return self._places[id(terms)]

    def saved_age_s(self, job: SlurmJob) -> float:
        """The work that it has done since it was last saved: none, where it saves itself when asked."""
        if self._agreements.of(job).checkpoint is not None:
            return 0.0
        saved_s = self._book.of(job.id).saved_s
        since_s = min(job.ran_s, self._now_s - saved_s) if saved_s else job.ran_s
        every_s = self.of(job).checkpoint_every_s
        return since_s % every_s if every_s > 0 else since_s

    def batch_frac(self, job: SlurmJob) -> float:
        """The batch that it was asked to run with."""
        return self._book.of(job.id).batch_frac

    def variant(self, job: SlurmJob) -> int:
        """The smaller model that it was asked to run with."""
        name = self._book.of(job.id).variant
        names = [variant.name for variant in self.of(job).variants] if name else []
        return names.index(name) if name in names else NONE
