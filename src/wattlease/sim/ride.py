"""How a run rode each lowered limit, next to what the power it had could have bought at best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wattlease.core.errors import BudgetError
from wattlease.core.model import Floats
from wattlease.sim.measures import MINUTE_S, mean, one_minute_means
from wattlease.sim.run import Run
from wattlease.sim.scenario import Scenario
from wattlease.sim.split import Sweep, best_split
from wattlease.sim.summary import EventResult

BEFORE_S = 3600.0
"""What a site drew before an event is its mean over this long, or since the run began."""

SETTLED_S = 300.0
"""From so long after an event's start every minute over its limit is counted."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The worst minute of one job in an event, as lost speed x quality, against what its class tolerates."""

    job: str
    worst_frac: float
    tolerated_frac: float


@dataclass(frozen=True, slots=True)
class Ride:
    """One lowered limit. Shares are of `before_w`, the mean draw before it; NaN where that, or a sweep, is not known.

    `minutes_over` counts one-minute means above the limit from five minutes on, `mean_frac` and `lowest_frac` are of
    the part after it settled. `best_used_frac` is the highest speed of the mean GPU that the jobs' own sweeps and
    classes allow for the watts that were drawn, `best_allowed_frac` for the watts of the limit. `rise_frac` is the
    steepest rise in a minute of the release, `after_rise_frac` in the half hour after the event.
    """

    event: str
    before_w: float
    settle_s: float
    minutes_over: int
    mean_frac: float
    lowest_frac: float
    throughput_frac: float
    best_used_frac: float
    best_allowed_frac: float
    rise_frac: float
    after_rise_frac: float
    losses: tuple[Loss, ...]

    @property
    def of_best_frac(self) -> float:
        """The speed that was kept, as a share of the best for the watts that were drawn."""
        return self.throughput_frac / self.best_used_frac

    @property
    def of_allowed_frac(self) -> float:
        """The speed that was kept, as a share of the best for the watts of the limit."""
        return self.throughput_frac / self.best_allowed_frac

    @property
    def beyond_class_frac(self) -> float:
        """The most that any job's worst minute went beyond its class; negative where all kept some distance."""
        return max((x.worst_frac - x.tolerated_frac for x in self.losses), default=math.nan)


def rides(run: Run, events: Sequence[EventResult], scenario: Scenario) -> tuple[Ride, ...]:
    """A ride for each event of the run's summary."""
    sweeps = sweeps_of(scenario)
    return tuple(_ride(run, event, sweeps) for event in events)


def sweeps_of(scenario: Scenario) -> list[Sweep]:
    """The sweeps of all jobs with the floors of their classes; empty where any job has none."""
    floors = {p.name: 1.0 - p.spec.max_slowdown_percent / 100 for p in scenario.profiles}
    if scenario.arrivals or not all(job.sweep and job.running for job in scenario.jobs):
        return []
    return [
        Sweep(
            gpus=job.gpus,
            floor_frac=floors[job.profile],
            cap_w=np.array([p.cap_watts for p in job.sweep]),
            power_w=np.array([p.draw_watts for p in job.sweep]),
            speed_frac=np.array([p.speed_percent / 100 for p in job.sweep]),
        )
        for job in scenario.jobs
    ]


def _ride(run: Run, event: EventResult, sweeps: list[Sweep]) -> Ride:
    before_w = mean(run.t_s, run.feed_w, event.start_s - BEFORE_S, event.start_s)
    from_s = event.start_s + (event.settle_s if math.isfinite(event.settle_s) else 0.0)
    minutes, feed_w = _minutes(run.t_s, run.feed_w, event)
    settled_w = feed_w[minutes >= from_s - 1e-6]
    it_w = np.sum([s.power_w for s in run.series], axis=0) if run.series else run.feed_w
    return Ride(
        event=event.text,
        before_w=before_w,
        settle_s=event.settle_s,
        minutes_over=int((feed_w[minutes >= event.start_s + SETTLED_S] > event.limit_w).sum()),
        mean_frac=event.mean_w / before_w,
        lowest_frac=float(settled_w.min()) / before_w if len(settled_w) else math.nan,
        throughput_frac=event.throughput_frac,
        best_used_frac=_best_frac(sweeps, mean(run.t_s, it_w, from_s, event.end_s)),
        best_allowed_frac=_best_frac(sweeps, event.limit_w),
        rise_frac=event.rise_w / before_w,
        after_rise_frac=event.after_rise_w / before_w,
        losses=tuple(_losses(run, event)),
    )


def _minutes(t_s: Floats, y: Floats, event: EventResult) -> tuple[Floats, Floats]:
    """The whole minutes of an event and the means over them."""
    minutes, means = one_minute_means(t_s, y, event.start_s)
    inside = (minutes >= event.start_s - 1e-6) & (minutes + MINUTE_S <= event.end_s + 1e-6)
    return minutes[inside], means[inside]


def _best_frac(sweeps: list[Sweep], limit_w: float) -> float:
    if not sweeps or not math.isfinite(limit_w):
        return math.nan
    try:
        return best_split(sweeps, limit_w).throughput_frac
    except BudgetError:  # the classes alone need more than that: there is no best to compare with
        return math.nan


def _losses(run: Run, event: EventResult) -> list[Loss]:
    """A row for each job that ran through the whole event and whose speed was kept."""
    tolerated = {j.name: j.loss_frac for j in run.jobs}
    found = []
    for speed in run.speeds:
        _, kept = _minutes(run.t_s, speed.speed_frac, event)
        if len(kept) and np.isfinite(kept).all():
            found.append(Loss(speed.job, 1.0 - float(kept.min()), tolerated[speed.job]))
    return found
