"""What steering takes from each job, summed over the ticks of a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from wattlease.core.actions import Plan
from wattlease.core.model import JobState, Snapshot


@dataclass(slots=True)
class JobLoss:
    """Seconds in which a job had GPUs or was paused, seconds of its work lost, money, and seconds paused."""

    id: str
    name: str
    owner: str
    gpus: int
    seen_s: float = 0.0
    lost_s: float = 0.0
    cost: float = 0.0
    paused_s: float = 0.0

    @property
    def speed_frac(self) -> float:
        """The mean speed that it keeps."""
        return 1.0 - self.lost_s / self.seen_s if self.seen_s else 1.0


Loss = TypeVar("Loss", bound=JobLoss)


def charge(losses: dict[str, Loss], kind: type[Loss], snapshot: Snapshot, plan: Plan, held_s: float) -> None:
    """Add what a plan takes from each job in the `held_s` for which it holds; a job met first is of `kind`."""
    jobs = snapshot.jobs
    stopped = (jobs.state == JobState.PAUSED) | (plan.job_w == 0.0)
    speed_frac = np.where(stopped, 0.0, np.nan_to_num(plan.speed_frac, nan=1.0))
    cost_per_h = np.nan_to_num(plan.cost_per_h)
    for j in np.flatnonzero(np.isin(jobs.state, (JobState.RUNNING, JobState.PAUSED))).tolist():
        loss = losses.get(jobs.id[j])
        if loss is None:
            loss = losses[jobs.id[j]] = kind(jobs.id[j], jobs.name[j], jobs.owner[j], int(jobs.gpus[j]))
        loss.seen_s += held_s
        loss.lost_s += held_s * (1.0 - float(speed_frac[j]))
        loss.cost += held_s / 3600.0 * float(cost_per_h[j])
        loss.paused_s += held_s * bool(stopped[j])
