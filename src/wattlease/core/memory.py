"""What one tick leaves for the next: plain values that survive JSON there and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from wattlease.core.drawn import Drawn
from wattlease.core.limits import LimitsMemory
from wattlease.core.model import Floats, Ints
from wattlease.core.storage_plan import StoragePlan

NAN = float("nan")
NO_LIMITS = LimitsMemory()
NOTHING_DRAWN = Drawn()


def _floats() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, slots=True)
class JobsMemory:
    """Columns of what is known of each live job, beside `id`.

    Watts are per GPU. `full_w` is the learned uncapped draw and `need_w` what the job wants now (both NaN until
    seen), `track_frac` its draw under a biting cap as a fraction of the cap, `shape` and `shape_var` what
    `curves.learn` knows, `cap_w` the cap that was last planned; `changed_s` when it was last
    told to change its state, and `meant_kind` and `meant_size` what to (NaN: never told).
    `rank` is the place of each id in sorted order: ties are broken by it, never by the order of the input. `keys`
    and `ran_s` (believed seconds of settled running) are for the history, once the job is gone.
    """

    id: tuple[str, ...] = ()
    rank: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    full_w: Floats = field(default_factory=_floats)
    need_w: Floats = field(default_factory=_floats)
    track_frac: Floats = field(default_factory=_floats)
    shape: Floats = field(default_factory=_floats)
    shape_var: Floats = field(default_factory=_floats)
    cap_w: Floats = field(default_factory=_floats)
    changed_s: Floats = field(default_factory=_floats)
    meant_kind: Floats = field(default_factory=_floats)
    meant_size: Floats = field(default_factory=_floats)
    ran_s: Floats = field(default_factory=_floats)
    keys: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class ScopesMemory:
    """Columns beside `Site.scopes`: how far the limit has come back, and what was learned of the scope's draw.

    `allowed_w` is what was allowed of the limit, `ramp_w` the limit as the ramp alone has let it rise, `began_w` the
    least that the release may allow (NaN: there is none), `drawn` what was drawn of late.
    `overhead_w` is feed minus IT and `it_at_w` the IT draw at which it was learned, `it_slow_w` the IT draw, less what
    batteries give, as the meter would average it; `it_mean_w`, `it_var`, `overhead_mean_w` and `overhead_cov` tell how
    overhead follows IT; `mean_w` the draw over the meter's window, `over_var` the squared excess of that mean over its
    aim, `trim_w` the correction that makes the draw meet the aim, `aim_w` the aim of the tick before where it bound
    (NaN: it did not), `late_aim_w` the same but slow to fall, `short_w` what the caps of the tick before lacked in
    spite of all.

    `looks` is how often overhead was seen without doubt; `meter_w` what the meter said last (NaN: nothing yet),
    `meter_at_w` the least of IT that this may tell of, `since_w` the least since it said so; `seen_w` and `seen_then_w`
    are overhead as the last look and the one before saw it (NaN: IT has moved since, or nothing was believed).
    """

    allowed_w: Floats = field(default_factory=_floats)
    ramp_w: Floats = field(default_factory=_floats)
    began_w: Floats = field(default_factory=_floats)
    drawn: Drawn = NOTHING_DRAWN
    overhead_w: Floats = field(default_factory=_floats)
    it_slow_w: Floats = field(default_factory=_floats)
    it_at_w: Floats = field(default_factory=_floats)
    it_mean_w: Floats = field(default_factory=_floats)
    it_var: Floats = field(default_factory=_floats)
    overhead_mean_w: Floats = field(default_factory=_floats)
    overhead_cov: Floats = field(default_factory=_floats)
    mean_w: Floats = field(default_factory=_floats)
    over_var: Floats = field(default_factory=_floats)
    trim_w: Floats = field(default_factory=_floats)
    aim_w: Floats = field(default_factory=_floats)
    late_aim_w: Floats = field(default_factory=_floats)
    short_w: Floats = field(default_factory=_floats)
    looks: Floats = field(default_factory=_floats)
    meter_w: Floats = field(default_factory=_floats)
    meter_at_w: Floats = field(default_factory=_floats)
    since_w: Floats = field(default_factory=_floats)
    seen_w: Floats = field(default_factory=_floats)
    seen_then_w: Floats = field(default_factory=_floats)


@dataclass(frozen=True, slots=True)
class GpusMemory:
    """Columns beside `Site.gpus`: the last reading and since when it has not moved, to tell a frozen sensor; the cap
    that readings are held against, and since when the one in force is higher."""

    power_w: Floats = field(default_factory=_floats)
    since_s: Floats = field(default_factory=_floats)
    cap_w: Floats = field(default_factory=_floats)
    raised_s: Floats = field(default_factory=_floats)


@dataclass(frozen=True, slots=True)
class Seen:
    """What jobs of one user, name and size drew: watts per GPU, how many ran, when last (unix seconds)."""

    mean_w: float
    spread_w: float
    count: int
    last_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """All that outlives a tick. `debts` is money owed to each owner for past cuts, as of `now_s`."""

    now_s: float = NAN
    slow_s: float = NAN
    jobs: JobsMemory = JobsMemory()
    scopes: ScopesMemory = ScopesMemory()
    gpus: GpusMemory = GpusMemory()
    limits: LimitsMemory = NO_LIMITS
    storage_plans: tuple[StoragePlan, ...] = ()
    storage_planned_s: float = NAN
    debts: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, Seen] = field(default_factory=dict)


FRESH = Memory()
