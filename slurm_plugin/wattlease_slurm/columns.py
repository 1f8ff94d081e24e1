"""From Slurm's queue to the columns that the core sees: who waits, who runs and on which cards, who is paused."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from wattlease.core.model import NONE, Ints, Jobs, JobState, Site
from wattlease.runtime.lease.report import CardReport
from wattlease_slurm.words import Held, SlurmJob, State

WAITS_FOR_US = frozenset({"", "None", "Priority", "Resources", "Licenses", "Cleaning"})
"""Reasons that watts may lift; who waits for a dependency, a date, a limit or a person waits for those."""

ON_NODES = frozenset({State.RUNNING, State.CONFIGURING})


class Known(Protocol):
    """What the daemon knows of jobs beyond Slurm's word."""

    @property
    def paused(self) -> Collection[str]:
        """Suspended by us; others that are suspended are someone else's affair."""

    @property
    def released(self) -> Collection[str]:
        """May start when Slurm finds a place."""

    def terms(self, job: SlurmJob) -> int:
        """Its place in `Site.terms`."""

    def saved_age_s(self, job: SlurmJob) -> float:
        """The work that it has done since it was last saved."""

    def batch_frac(self, job: SlurmJob) -> float:
        """The batch that it runs with."""

    def variant(self, job: SlurmJob) -> int:
        """The smaller model that it runs with, among those of its terms."""


def whole(jobs: Iterable[SlurmJob]) -> list[SlurmJob]:
    """The jobs with the parts of each heterogeneous one put together under its leader's id: they stop and go as one."""
    found: dict[str, SlurmJob] = {}
    for job in jobs:
        at = job.het_job_id or job.id
        found[at] = _joined(found[at], job) if at in found else job if job.id == at else replace(job, id=at)
    return list(found.values())


def _joined(one: SlurmJob, other: SlurmJob) -> SlurmJob:
    licences = {
        name: one.licences.get(name, 0) + other.licences.get(name, 0) for name in {*one.licences, *other.licences}
    }
    return replace(
        one,
        nodes=(*one.nodes, *(n for n in other.nodes if n not in one.nodes)),
        node_count=one.node_count + other.node_count,
        cpus=one.cpus + other.cpus,
        gpus=one.gpus + other.gpus,
        gpu_indices={
            node: tuple(sorted({*one.gpu_indices.get(node, ()), *other.gpu_indices.get(node, ())}))
            for node in {*one.gpu_indices, *other.gpu_indices}
        },
        licences=licences,
    )


def state_of(job: SlurmJob, known: Known) -> JobState | None:
    """Where it stands; `None` for a job that watts have nothing to do with."""
    if job.gpus == 0:
        return None
    if job.state in ON_NODES:
        return JobState.RUNNING
    if job.state == State.SUSPENDED:
        return JobState.PAUSED if job.id in known.paused else None
    if job.state == State.PENDING and job.held == Held.NOBODY and job.reason in WAITS_FOR_US:
        return JobState.RELEASED if job.id in known.released else JobState.HELD
    return None


class Columns:
    """Places jobs on the cards of one site."""

    def __init__(self, site: Site, models: Mapping[str, str]) -> None:
        """`models` names the site's card model of a GRES type where it is called otherwise."""
        self._site = site
        self._node = {name: n for n, name in enumerate(site.nodes.id)}
        self._first = np.searchsorted(site.gpus.node, np.arange(len(site.nodes.id) + 1))
        names = {m.name.lower(): i for i, m in enumerate(site.models)}
        self._model = names | {kind: names[model.lower()] for kind, model in models.items() if model.lower() in names}

    def place(
        self,
        jobs: Sequence[SlurmJob],
        cards: Sequence[CardReport | None],
        known: Known,
    ) -> tuple[Jobs, Ints]:
        """The jobs that watts concern, and each card's place among them."""
        rows = [(job, state) for job in whole(jobs) if (state := state_of(job, known)) is not None]
        rows.sort(key=lambda row: (-row[0].priority, row[0].submit_s, row[0].id))
        job_of = np.full(len(self._site.gpus.node), NONE, np.int64)
        held = self._by_share(cards)
        for j, (job, state) in enumerate(rows):
            if state in (JobState.RUNNING, JobState.PAUSED):
                job_of[self._cards(job, held)] = j
        return self._columns(rows, job_of, known), job_of

    def _cards(self, job: SlurmJob, held: Mapping[str, list[int]]) -> list[int]:
        """By Slurm's word, else by the agents', else all of a node that a job has to itself."""
        told = [
            int(self._first[n]) + i
            for node, indices in job.gpu_indices.items()
            if (n := self._node.get(node)) is not None
            for i in indices
            if self._first[n] + i < self._first[n + 1]
        ]
        if told or job.gpu_indices:
            return told
        if (seen := held.get(str(job.number), held.get(job.id))) is not None:
            return seen
        if not job.exclusive:
            return []
        ours = [self._node[node] for node in job.nodes if node in self._node]
        return [g for n in ours for g in range(int(self._first[n]), int(self._first[n + 1]))]

    def _by_share(self, cards: Sequence[CardReport | None]) -> dict[str, list[int]]:
        """By the job of the largest share of each card, as agents report it."""
        found: dict[str, list[int]] = {}
        for g, card in enumerate(cards):
            if card and card.shares:
                found.setdefault(max(card.shares, key=lambda s: (s.share_frac, s.job)).job, []).append(g)
        return found

    def _columns(self, rows: Sequence[tuple[SlurmJob, JobState]], job_of: Ints, known: Known) -> Jobs:
        jobs = [job for job, _ in rows]
        first = {int(j): g for g, j in reversed(list(enumerate(job_of))) if j != NONE}
        return Jobs(
            id=tuple(job.id for job in jobs),
            name=tuple(job.name for job in jobs),
            owner=tuple(job.user for job in jobs),
            cluster=tuple(self._cluster(first.get(j)) for j in range(len(jobs))),
            terms=np.array([known.terms(job) for job in jobs], np.int64),
            state=np.array([int(state) for _, state in rows], np.int64),
            gpus=np.array([job.gpus for job in jobs], np.int64),
            model=np.array([self._model_of(job, first.get(j)) for j, job in enumerate(jobs)], np.int64),
            rank=np.arange(len(jobs)),
            submitted_s=np.array([job.submit_s for job in jobs]),
            since_s=np.array([_since_s(job) for job in jobs]),
            left_s=np.array([max(job.time_limit_s - job.ran_s, 0.0) for job in jobs]),
            checkpoint_age_s=np.array([known.saved_age_s(job) if job.state in ON_NODES else 0.0 for job in jobs]),
            speed_frac=np.full(len(jobs), np.nan),
            batch_frac=np.array([known.batch_frac(job) for job in jobs]),
            variant=np.array([known.variant(job) for job in jobs], np.int64),
        )

    def _cluster(self, card: int | None) -> str:
        """Of its nodes; a waiting job's is that of the first, since one Slurm has one cluster."""
        return self._site.nodes.cluster[int(self._site.gpus.node[card]) if card is not None else 0]

    def _model_of(self, job: SlurmJob, card: int | None) -> int:
        if card is not None:
            return int(self._site.gpus.model[card])
        return self._model.get(job.gpu_type.lower(), int(self._site.gpus.model[0]))


def _since_s(job: SlurmJob) -> float:
    return next((s for s in (job.since_s, job.start_s) if math.isfinite(s)), job.submit_s)
