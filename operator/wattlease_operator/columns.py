"""From the cluster's jobs to the columns that the core sees: who waits, who runs and on which cards, who is paused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from wattlease.core.model import NONE, Floats, Ints, Jobs, JobState, Site
from wattlease.runtime.lease.report import CardReport
from wattlease_operator.gathering import KubeJob
from wattlease_operator.words import GATE, Pod


class Known(Protocol):
    """What the operator knows of jobs beyond the cluster's word."""

    def terms(self, job: KubeJob) -> int:
        """Its place in `Site.terms`."""

    def saved_age_s(self, job: KubeJob) -> float:
        """The work that it has done since it was last saved."""

    def batch_frac(self, job: KubeJob) -> float:
        """The batch that it runs with."""

    def variant(self, job: KubeJob) -> int:
        """The smaller model that it runs with, among those of its terms."""


def state_of(job: KubeJob) -> JobState | None:
    """Where it stands; `None` for a job that watts have nothing to do with, or that waits for someone else.

    What terminates draws until it is gone, so a job whose pods are being taken away still runs.
    """
    if job.gpus == 0:
        return None
    if job.placed:
        return JobState.RUNNING
    if job.work is not None and job.work.ended:
        return None
    return _queued(job) if job.managed else _waiting(job)


def _queued(job: KubeJob) -> JobState | None:
    """Of a job that Kueue manages: held where it waits for our check and nothing before it."""
    queue = job.queue
    if queue is None:
        return None
    if queue.paused_by_us:
        return JobState.PAUSED
    if job.check_state == "Pending":
        return JobState.HELD if queue.reserved else None
    return JobState.RELEASED if queue.admitted or job.check_state == "Ready" else None


def _waiting(job: KubeJob) -> JobState | None:
    """Of a job that nobody but its own switch or its pods' gates holds back."""
    work = job.work
    if work is not None and work.suspended:
        if work.paused_by_us:
            return JobState.PAUSED
        return JobState.HELD if work.held_by_us and job.suspendable else None
    gates = {gate for pod in job.alive for gate in pod.gates}
    if GATE in gates:
        return JobState.HELD
    return None if gates else JobState.RELEASED


class Columns:
    """Places jobs on the cards of one site."""

    def __init__(self, site: Site, cluster: str) -> None:
        self._site, self._cluster = site, cluster
        self._node = {name: n for n, name in enumerate(site.nodes.id)}
        self._first = np.searchsorted(site.gpus.node, np.arange(len(site.nodes.id) + 1))
        self._models = [(m.name.lower(), i) for i, m in enumerate(site.models)]

    def place(
        self, jobs: Sequence[KubeJob], cards: Sequence[CardReport | None], power_w: Floats, known: Known
    ) -> tuple[Jobs, Ints]:
        """The jobs that watts concern, and each card's place among them."""
        rows = [(job, state) for job in jobs if (state := state_of(job)) is not None]
        rows.sort(key=lambda row: (-row[0].priority, row[0].created_s, row[0].id))
        told, job_of = _by_share(cards), np.full(len(self._site.gpus.node), NONE, np.int64)
        untold: dict[int, list[tuple[Pod, int]]] = {}
        for j, pod in _placed(rows):
            if pod.job in told:
                job_of[told[pod.job]] = j
            elif (n := self._node.get(pod.node)) is not None:
                untold.setdefault(n, []).append((pod, j))
        taken = {g for held in told.values() for g in held}
        for n, pods in untold.items():
            self._guess(n, pods, taken, power_w, job_of)
        return self._columns(rows, job_of, known), job_of

    def _guess(self, n: int, pods: Sequence[tuple[Pod, int]], taken: set[int], power_w: Floats, job_of: Ints) -> None:
        """Give pods of which the node's agent does not tell the busiest cards that nobody is told to hold: a wrong
        guess moves watts within one node."""
        here = range(int(self._first[n]), int(self._first[n + 1]))
        free = sorted((g for g in here if g not in taken), key=lambda g: (-power_w[g], g))
        for pod, j in pods:
            job_of[free[: pod.gpus]] = j
            free = free[pod.gpus :]

    def _columns(self, rows: Sequence[tuple[KubeJob, JobState]], job_of: Ints, known: Known) -> Jobs:
        jobs, count = [job for job, _ in rows], len(rows)
        first = {int(j): g for g, j in reversed(list(enumerate(job_of.tolist()))) if j != NONE}
        on = [state == JobState.RUNNING for _, state in rows]
        return Jobs(
            id=tuple(job.id for job in jobs),
            name=tuple(job.name for job in jobs),
            owner=tuple(job.namespace for job in jobs),
            cluster=(self._cluster,) * count,
            terms=np.array([known.terms(job) for job in jobs], np.int64),
            state=np.array([int(state) for _, state in rows], np.int64),
            gpus=np.array([job.gpus for job in jobs], np.int64),
            model=np.array([self._model_of(job, first.get(j)) for j, job in enumerate(jobs)], np.int64),
            rank=np.arange(count),
            submitted_s=np.array([job.created_s for job in jobs], float),
            since_s=np.array([job.started_s for job in jobs], float),
            left_s=np.full(count, math.nan),
            checkpoint_age_s=np.array(
                [known.saved_age_s(job) if runs else 0.0 for job, runs in zip(jobs, on, strict=True)], float
            ),
            speed_frac=np.full(count, math.nan),
            batch_frac=np.array([known.batch_frac(job) for job in jobs], float),
            variant=np.array([known.variant(job) for job in jobs], np.int64),
        )

    def _model_of(self, job: KubeJob, card: int | None) -> int:
        """Its first card's; of a job without cards the one that its node selector names, else the site's first."""
        if card is not None:
            return int(self._site.gpus.model[card])
        product = (job.work.product if job.work else "") or next((p.product for p in job.alive if p.product), "")
        named = [i for name, i in self._models if name in product.lower()]
        return named[0] if named else int(self._site.gpus.model[0])


def _placed(rows: Sequence[tuple[KubeJob, JobState]]) -> Iterator[tuple[int, Pod]]:
    return ((j, pod) for j, (job, _) in enumerate(rows) for pod in job.placed)


def _by_share(cards: Sequence[CardReport | None]) -> Mapping[str, list[int]]:
    """The cards of each pod, by the largest share that its node's agent reports."""
    found: dict[str, list[int]] = {}
    for g, card in enumerate(cards):
        if card and card.shares:
            job = max(card.shares, key=lambda s: (s.share_frac, s.job)).job
            if "/" in job:  # what is idle has a name in parentheses
                found.setdefault(job, []).append(g)
    return found
