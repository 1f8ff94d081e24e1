"""From a plan to orders for Slurm: who is suspended or let go on, what licences each job has, and what stays free."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

import numpy as np

from wattlease.core.actions import Plan, ScopePlan
from wattlease.core.memory import Memory
from wattlease.core.model import JobState, Snapshot
from wattlease_slurm.agreements import Agreements
from wattlease_slurm.ahead import Coming, coming
from wattlease_slurm.book import Book
from wattlease_slurm.hands import COMMENTS, Orders, Todo
from wattlease_slurm.intents import Intents
from wattlease_slurm.room import LEAST_W, Holder, Room, room
from wattlease_slurm.settings import SlurmSettings
from wattlease_slurm.telling import comments, taken_back
from wattlease_slurm.words import Config, SlurmJob, State

LICENCES_A_TICK = 10
"""Jobs whose licences are changed in one tick, at the most."""

HAVE_LICENCES = frozenset({State.RUNNING, State.CONFIGURING, State.SUSPENDED, State.COMPLETING})

AT_EASE = frozenset({"within", "preparing"})
"""States of a site in which what the plan leaves over is free for whoever comes."""


class Ordering:
    """One tick's orders from what is known and meant."""

    def __init__(
        self,
        settings: SlurmSettings,
        agreements: Agreements,
        book: Book,
        intents: Intents,
        lately_told: Mapping[str, str],
    ) -> None:
        self._lately = lately_told
        self._slurm, self._agreements, self._book, self._intents = settings.slurm, agreements, book, intents
        self._per_feed_w = 1.0 / (1.0 + max(g.overhead.per_it_percent for g in settings.groups) / 100.0)

    def orders(
        self, snapshot: Snapshot, plan: Plan, after: Memory, jobs: Mapping[str, SlurmJob], config: Config
    ) -> Orders:
        """What is wanted of Slurm under this plan."""
        wanted_w = _wanted_w(snapshot, plan, after)
        intents = self._intents
        total_w = config.licences.get(self._slurm.licence, 0)
        licences = self._room(snapshot, plan, jobs, wanted_w, total_w) if total_w else None
        return Orders(
            pause={name: self._todo(jobs[name], _idle_w(snapshot, name)) for name in intents.paused},
            resume={name: self._todo(jobs[name], wanted_w.get(name, 0)) for name in intents.resumed},
            shrink={name: self._todo(jobs[name], 0, nodes) for name, nodes in intents.nodes.items()},
            room=licences,
            coming={} if licences is None else self._coming(snapshot, plan.scopes[0], total_w - licences.hold_w),
            comments=dict(islice(comments(snapshot, plan, jobs, self._lately), COMMENTS)),
        )

    def let_go(self, snapshot: Snapshot, plan: Plan, after: Memory, jobs: Mapping[str, SlurmJob]) -> Orders:
        """Who is to go on, and that nothing is kept free or reserved any more."""
        wanted_w = _wanted_w(snapshot, plan, after)
        return Orders(
            resume={name: self._todo(jobs[name], wanted_w.get(name, 0)) for name in self._intents.resumed},
            comments=dict(islice(taken_back(jobs, self._lately), COMMENTS)),
            frees=True,
        )

    def _todo(self, job: SlurmJob, licences_w: int, nodes: int = 0) -> Todo:
        return Todo(job, self._agreements.of(job), licences_w, nodes)

    def _room(
        self, snapshot: Snapshot, plan: Plan, jobs: Mapping[str, SlurmJob], wanted_w: Mapping[str, int], total_w: int
    ) -> Room:
        holders = [self._holder(job, wanted_w.get(name)) for name, job in jobs.items() if job.state in HAVE_LICENCES]
        root = plan.scopes[0]
        left_w = root.free_w if root.state in AT_EASE else 0.0
        let_go_w = sum(
            jobs[name].licences.get(self._slurm.licence, wanted_w.get(name, 0)) for name in self._intents.released
        )
        found = room(total_w, holders, left_w * self._licences_per_w(snapshot) + let_go_w, LICENCES_A_TICK)
        return replace(found, licences={**found.licences, **dict(self._uncounted(snapshot, jobs, wanted_w))})

    def _holder(self, job: SlurmJob, wants_w: int | None) -> Holder:
        ours = job.state == State.RUNNING and not self._book.of(job.id).others_licences
        return Holder(job.id, job.licences.get(self._slurm.licence, 0), wants_w if ours else None)

    def _uncounted(
        self, snapshot: Snapshot, jobs: Mapping[str, SlurmJob], wanted_w: Mapping[str, int]
    ) -> Iterator[tuple[str, int]]:
        """Waiting jobs that Slurm would start without asking for their watts: those that never passed the submit
        script, and heterogeneous ones, of which it lets the leader alone ask."""
        for name, state in zip(snapshot.jobs.id, snapshot.jobs.state.tolist(), strict=True):
            if state != JobState.HELD or name not in jobs or self._book.of(name).others_licences:
                continue
            has_w = jobs[name].licences.get(self._slurm.licence)
            if has_w is None or (jobs[name].het_job_id and has_w < wanted_w[name] - LEAST_W):
                yield name, wanted_w[name]

    def _coming(self, snapshot: Snapshot, root: ScopePlan, most_w: int) -> dict[str, Coming]:
        per_w = self._licences_per_w(snapshot)
        return coming(snapshot.windows, snapshot.now_s, root.limit_w, per_w, self._slurm.reservation, most_w)

    def _licences_per_w(self, snapshot: Snapshot) -> float:
        """How many licences a watt of room at the feed is worth.

        A job asks for all that its cards draw, and of that the cards draw a part already while they idle: as a share
        it is the least of a job at rated power, so that reckoned by that one no job gets too much.
        """
        counts_limits = snapshot.site.scopes[0].budget.spec.band.counts == "Limits"
        adds_frac = max(1.0 - (m.min_cap_w if counts_limits else m.idle_w) / m.rated_w for m in snapshot.site.models)
        return self._per_feed_w / max(adds_frac, 0.1)


def _wanted_w(snapshot: Snapshot, plan: Plan, after: Memory) -> dict[str, int]:
    """Licences that each job should have: what its GPUs may want under their cap, or would if it ran."""
    per_gpu_w = dict(zip(after.jobs.id, after.jobs.full_w.tolist(), strict=True))
    jobs = snapshot.jobs
    rated_w = np.array([model.rated_w for model in snapshot.site.models])[jobs.model]
    full_w = np.array([per_gpu_w.get(name, np.nan) for name in jobs.id])
    full_w = np.where(np.isnan(full_w), rated_w, full_w)
    capped_w = np.where(jobs.state == JobState.RUNNING, np.fmin(full_w, plan.cap_w), full_w)
    return dict(zip(jobs.id, np.ceil(capped_w * jobs.gpus).astype(int).tolist(), strict=True))


def _idle_w(snapshot: Snapshot, name: str) -> int:
    """What a paused job's GPUs go on drawing."""
    jobs = snapshot.jobs
    if name not in jobs.id:
        return 0
    j = jobs.id.index(name)
    return math.ceil(snapshot.site.models[int(jobs.model[j])].idle_w * int(jobs.gpus[j]))
