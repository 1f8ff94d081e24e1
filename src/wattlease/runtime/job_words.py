"""Words about one job: what happened to it, what it has used, and all that is known of it. Light to import."""

from __future__ import annotations

from dataclasses import dataclass

J_PER_KWH = 3.6e6

ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened, at a time in unix seconds; `sentence` is the plan's own reason."""

    now_s: float
    what: str
    sentence: str


@dataclass(slots=True)
class JobAccount:
    """A job's sums over the ticks that saw it; times are unix seconds. Energy is that of its GPUs alone.

    `lost` is the money of the work that steering cost it, `energy_cost` what its energy cost at the hour's price.
    """

    job: str
    name: str
    owner: str
    cluster: str
    gpus: int
    began_s: float
    ended_s: float
    ran_s: float = 0.0
    paused_s: float = 0.0
    energy_j: float = 0.0
    energy_cost: float = 0.0
    carbon_g: float = 0.0
    lost: float = 0.0
    speed_s: float = 0.0
    """Seconds at full speed that would have done the same work."""


@dataclass(frozen=True, slots=True)
class JobSheet:
    """A job as of `now_s` (unix seconds), in money of `currency`. What is not known, or is over, is None.

    `state` is a word of the page's table, or `ended`; `account` is None of a job that has not run; `written` counts
    the runs of this id that a file of ended jobs knows, of which this is the newest.
    """

    now_s: float
    currency: str
    id: str
    name: str
    owner: str
    cluster: str
    state: str
    gpus: int
    sentence: str = ""
    draw_w: float | None = None
    full_w: float | None = None
    cap_w: float | None = None
    speed_frac: float | None = None
    cost_per_h: float | None = None
    entries: tuple[Entry, ...] = ()
    account: JobAccount | None = None
    written: int = 0
