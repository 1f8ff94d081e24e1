"""What one tick may know: a site that seldom changes, and a snapshot of it.

Columns (numpy) where there are thousands, values where there are few. Every index column points into a tuple of the
same object: `Gpus.node` into `Site.nodes.id`, `Jobs.terms` into `Site.terms`. Watts are drawn watts unless a name
says `cap`. NaN in a column means "not known", which the estimate counts at its worst.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from wattlease.core.api import PowerBudget

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NONE = -1
"""Index that points nowhere: an idle GPU's job, a root scope's parent."""


class JobState(IntEnum):
    """Where a job stands, in the words of no scheduler."""

    HELD = 0  # waits in the queue and may not start
    RELEASED = 1  # may start as soon as its scheduler finds GPUs; its watts are counted already
    RUNNING = 2
    PAUSED = 3  # was running, keeps its place and draws (nearly) nothing


@dataclass(frozen=True, slots=True)
class Step:
    """A smaller batch: the fraction of the job's batch, of its draw and of its speed."""

    batch_frac: float
    draw_frac: float
    speed_frac: float


@dataclass(frozen=True, slots=True)
class Variant:
    """A smaller model in place of the job's own, or the own one on fewer cards: draw and speed as fractions of the
    whole job's at its own size, `cards_frac` of its cards, None where that is not known."""

    name: str
    draw_frac: float
    speed_frac: float
    quality_frac: float
    swap_s: float
    cards_frac: float | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a job's owner agreed to, from its PowerProfile or its submit line; shared by many jobs.

    `pausable` says that a pause is within the contract, `stoppable` that there is anything which could pause it at all:
    what nothing can stop is never counted on to stop, whatever the need. `max_slowdown_frac` is the tolerated loss of
    speed x quality: 0.25 keeps three quarters. `speed_frac` is the owner's own measured curve on `curves.GRID`, or None
    for the library's. `value_per_gpu_h` is money.
    """

    name: str
    kind: str = "Training"
    value_per_gpu_h: float = 2.0
    weight: float = 1.0
    max_slowdown_frac: float = 1.0
    pausable: bool = True
    stoppable: bool = True
    protected: bool = False
    checkpoint_every_s: float = 1800.0
    restart_s: float = 120.0
    steps: tuple[Step, ...] = ()
    variants: tuple[Variant, ...] = ()
    speed_frac: tuple[float, ...] | None = None

    def __hash__(self) -> int:
        """By name alone: tables are looked up by all terms several times a tick, and a measured curve is long."""
        return hash(self.name)


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of the feed with a budget of its own: a hall, a row, a rack. Parents come before their children."""

    id: str
    parent: int
    budget: PowerBudget


@dataclass(frozen=True, slots=True)
class CardModel:
    """A GPU model of this site; watts per card."""

    name: str
    rated_w: float
    min_cap_w: float
    idle_w: float


@dataclass(frozen=True, slots=True)
class Nodes:
    """Columns of nodes. `overhead_w` is the node's draw beyond its GPUs as configured, with all of them at their
    rating; `overhead_rise` is what of it a watt of theirs brings along (empty: nothing, it stands still)."""

    id: tuple[str, ...]
    scope: Ints
    cluster: tuple[str, ...]
    nameplate_w: Floats
    overhead_w: Floats
    fallback_w: Floats
    overhead_rise: Floats = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True)
class Gpus:
    """Columns of GPUs, ordered by node; the limits are the card's own range."""

    node: Ints
    model: Ints
    min_cap_w: Floats
    max_cap_w: Floats


@dataclass(frozen=True, slots=True)
class StorageUnit:
    """A battery behind its PCS. Power limits on the AC side, energy usable at the cells."""

    id: str
    scope: int
    capacity_j: float
    max_charge_w: float
    max_discharge_w: float
    reserve_frac: float
    round_trip_frac: float = 0.88
    wear_per_kwh: float = 0.05
    fade_frac: float = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """What seldom changes. Compared by identity: a shell makes a new one when anything in it changes.

    `all_told`: what its cards tell is all that its nodes draw, as of a facility's clusters.
    """

    name: str
    scopes: tuple[Scope, ...]
    models: tuple[CardModel, ...]
    nodes: Nodes
    gpus: Gpus
    terms: tuple[Terms, ...]
    storages: tuple[StorageUnit, ...] = ()
    all_told: bool = False


@dataclass(frozen=True, slots=True)
class GpuReadings:
    """Columns beside `Site.gpus`: instantaneous draw, its age, the cap in force as read back, and the job (or NONE)."""

    power_w: Floats
    age_s: Floats
    cap_w: Floats
    job: Ints


@dataclass(frozen=True, slots=True)
class NodeReadings:
    """Columns beside `Site.nodes`: `granted_w` is the most the node may lawfully draw, by the ledger."""

    power_w: Floats
    age_s: Floats
    granted_w: Floats


@dataclass(frozen=True, slots=True)
class Reading:
    """One meter's word on a scope: the mean over `window_s` that ended `age_s` ago; positive is drawn from the feed."""

    meter: str
    scope: int
    power_w: float
    age_s: float
    window_s: float


@dataclass(frozen=True, slots=True)
class Jobs:
    """Columns of jobs that wait, run or are paused.

    `rank` orders the queue (lower starts first). `left_s` is the expected time to the end at full speed, NaN unknown.
    `checkpoint_age_s` is the work that a pause would lose. `speed_frac` is the job's own word on its speed against
    uncapped, NaN where it says nothing. `batch_frac` and `variant` (NONE: its own model) are what runs now.
    """

    id: tuple[str, ...]
    name: tuple[str, ...]
    owner: tuple[str, ...]
    cluster: tuple[str, ...]
    terms: Ints
    state: Ints
    gpus: Ints
    model: Ints
    rank: Ints
    submitted_s: Floats
    since_s: Floats
    left_s: Floats
    checkpoint_age_s: Floats
    speed_frac: Floats
    batch_frac: Floats
    variant: Ints


@dataclass(frozen=True, slots=True)
class Storage:
    """A battery's state; `power_w` is positive when it discharges and NaN where nobody knows it, `available` False
    under local control or no link.

    The power limits are what its converter allows now, infinite where it says nothing: the lower of these and the
    unit's own counts.
    """

    soc_frac: float
    soh_frac: float
    power_w: float
    age_s: float
    available: bool
    max_charge_w: float = math.inf
    max_discharge_w: float = math.inf


@dataclass(frozen=True, slots=True)
class Window:
    """A limit with a beginning and an end, from a schedule, a grid event or a derating, already in unix seconds.

    The limit is reached `ramp_s` after `start_s`, along a straight line from what held before.
    """

    scope: int
    source: str
    name: str
    start_s: float
    end_s: float
    limit_w: float
    ramp_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """A scope's draw ahead if nothing were held back: quantiles at `at_s` (unix seconds, ascending)."""

    scope: int
    at_s: Floats
    p50_w: Floats
    p90_w: Floats


@dataclass(frozen=True, slots=True)
class Peak:
    """A scope's metering windows by the site's books: the highest of the billing month so far, that of the month before
    (0 where it was not counted), and of the open one when it began, for how long it was watched and its mean draw."""

    scope: int
    peak_w: float
    before_w: float = 0.0
    window_start_s: float = -1.0
    watched_s: float = 0.0
    drawn_w: float = 0.0


@dataclass(frozen=True, slots=True)
class Prices:
    """Energy price (money per kWh) and carbon (g per kWh) that hold from each `at_s` on; empty where unknown."""

    at_s: Floats
    energy_per_kwh: Floats
    carbon_g_per_kwh: Floats


NO_PRICES = Prices(np.empty(0), np.empty(0), np.empty(0))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a tick knows. `storages` stands beside `Site.storages`."""

    now_s: float
    site: Site
    gpus: GpuReadings
    nodes: NodeReadings
    jobs: Jobs
    meters: tuple[Reading, ...] = ()
    storages: tuple[Storage, ...] = ()
    windows: tuple[Window, ...] = ()
    forecasts: tuple[Forecast, ...] = ()
    prices: Prices = field(default=NO_PRICES)
    peaks: tuple[Peak, ...] = ()
