"""What a closed-loop run leaves behind: columns over time, a row for each job, and what happened when.

Every column stands beside `Run.t_s` (unix seconds, ascending) and holds from its own sample to the next one. An empty
column means that the run had no such thing; NaN means not known at that moment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from wattlease.core.model import Floats

NOTHING: Floats = np.empty(0)
"""A column that a run does not have."""


def _nothing() -> Floats:
    return NOTHING


@dataclass(frozen=True, slots=True)
class Series:
    """The draw of one kind of work in one cluster."""

    cluster: str
    kind: str
    power_w: Floats


@dataclass(frozen=True, slots=True)
class Speed:
    """One job's speed x quality over time against uncapped; NaN while it did not run. Kept where jobs are few."""

    job: str
    speed_frac: Floats


@dataclass(frozen=True, slots=True)
class JobRow:
    """What became of a job. Times are unix seconds, NaN where it did not start or end.

    `loss_frac` is what its class tolerates, `speed_frac` the mean while it ran, `slowdown` the time from submission to
    end over the time it would have run uncapped and unqueued, `breaches` how often its contract was broken, `cost`
    money lost by steering.
    """

    name: str
    job_class: str
    gpus: int
    loss_frac: float
    submitted_s: float
    started_s: float
    finished_s: float
    work_gpu_h: float
    speed_frac: float
    energy_j: float
    wait_s: float
    slowdown: float
    breaches: int = 0
    cost: float = 0.0
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a line in the report; a span where `end_s` is later than `t_s` (a grid event, an outage)."""

    t_s: float
    text: str
    end_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Tariff:
    """What power costs beside the price column: the highest 15-minute mean, and carbon (money per tonne)."""

    demand_per_kw: float = 0.0
    carbon_per_t: float = 0.0
    currency: str = "$"


@dataclass(frozen=True, slots=True)
class Run:
    """One policy on one scenario with one seed.

    `feed_w` is drawn from the feed, `limit_w` what it must stay under, `planned_w` what the plan expected.
    `throughput_frac` is the GPU-weighted speed of all jobs that had started. `storage_w` is positive when the battery
    discharges. `meter_window_s` is the averaging window against which the limit is held,
    `ramp_w_per_s` how fast the site asked for watts to come back after a cut.
    """

    name: str
    policy: str
    seed: int
    t_s: Floats
    feed_w: Floats
    limit_w: Floats
    planned_w: Floats = field(default_factory=_nothing)
    throughput_frac: Floats = field(default_factory=_nothing)
    series: tuple[Series, ...] = ()
    speeds: tuple[Speed, ...] = ()
    storage_w: Floats = field(default_factory=_nothing)
    soc_frac: Floats = field(default_factory=_nothing)
    reserve_frac: float = 0.0
    energy_per_kwh: Floats = field(default_factory=_nothing)
    carbon_g_per_kwh: Floats = field(default_factory=_nothing)
    tariff: Tariff = field(default=Tariff())
    meter_window_s: float = 60.0
    ramp_w_per_s: float = math.inf
    jobs: tuple[JobRow, ...] = ()
    events: tuple[Event, ...] = ()
    facts: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Overlay:
    """A measured trace to draw beside the run, on the run's own clock."""

    t_s: Floats
    power_w: Floats
    label: str
