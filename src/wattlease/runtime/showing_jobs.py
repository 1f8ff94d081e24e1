"""The rows of the page's table of jobs."""

from __future__ import annotations

import numpy as np

from wattlease.core import explain
from wattlease.core.actions import Plan
from wattlease.core.memory import Memory
from wattlease.core.model import NONE, Floats, JobState, Snapshot
from wattlease.runtime import view
from wattlease.runtime.view import JobRow

SLOWED_FRAC = 0.9995
"""A job that keeps less than this of its speed is said to be capped."""


def drawn_w(snapshot: Snapshot) -> Floats:
    """What each job's cards drew, beside the snapshot's jobs; a card that says nothing adds nothing."""
    job = snapshot.gpus.job
    on = job != NONE
    watts: Floats = np.bincount(job[on], np.nan_to_num(snapshot.gpus.power_w[on]), len(snapshot.jobs.id)).astype(float)
    return watts


def full_w(snapshot: Snapshot, plan: Plan, memory: Memory) -> Floats:
    """What each job would draw if nothing held it; `memory` is the one that the tick returned."""
    known = dict(zip(memory.jobs.id, memory.jobs.full_w.tolist(), strict=True))
    per_gpu_w = np.array([known.get(name, np.nan) for name in snapshot.jobs.id], float)
    rated_w = np.array([m.rated_w for m in snapshot.site.models])[snapshot.jobs.model]
    return np.where(np.isnan(per_gpu_w), np.fmin(plan.cap_w, rated_w), per_gpu_w) * snapshot.jobs.gpus


def job_rows(snapshot: Snapshot, plan: Plan, memory: Memory) -> tuple[JobRow, ...]:
    """A row for each job that runs or waits, with its sentence."""
    jobs, terms = snapshot.jobs, snapshot.site.terms
    draw_w, could_w = drawn_w(snapshot), full_w(snapshot, plan, memory)
    running = jobs.state == JobState.RUNNING
    speed_frac = np.where(running, plan.speed_frac, 0.0)
    return tuple(
        JobRow(
            id=jobs.id[j],
            name=jobs.name[j],
            owner=jobs.owner[j],
            cluster=jobs.cluster[j],
            kind=terms[int(jobs.terms[j])].kind,
            state=_state(snapshot, plan, j),
            gpus=int(jobs.gpus[j]),
            draw_w=float(draw_w[j]),
            full_w=float(could_w[j]),
            speed_frac=float(speed_frac[j]),
            cost_per_h=float(plan.cost_per_h[j]),
            protected=terms[int(jobs.terms[j])].protected,
            reason=explain.job(snapshot, plan, j, float(could_w[j])),
        )
        for j in range(len(jobs.id))
    )


def _state(snapshot: Snapshot, plan: Plan, j: int) -> view.JobState:
    """One word: what is done to the job."""
    jobs = snapshot.jobs
    match JobState(int(jobs.state[j])):
        case JobState.HELD:
            return "held"
        case JobState.RELEASED:
            return "waiting"
        case JobState.PAUSED:
            return "paused"
    if jobs.variant[j] != NONE or jobs.batch_frac[j] < 1.0:
        return "downsized"
    return "capped" if plan.speed_frac[j] < SLOWED_FRAC else "running"
