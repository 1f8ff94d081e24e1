"""How much a scope may draw in this tick: the limit, as a release lets it rise, less what noise needs, plus what
measurement says is still free.

Rule 1: what is aimed at never exceeds the limit now, nor the limit a few seconds ahead.
Rule 2: without a fresh meter nothing rises (`release`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattlease.core.estimate import Estimate
from wattlease.core.limits import Bound
from wattlease.core.memory import ScopesMemory
from wattlease.core.model import Floats, Snapshot
from wattlease.core.overhead import blend
from wattlease.core.release import released
from wattlease.core.sites import SiteTable, site_table

LEAD_S = 5.0
"""A lower limit is obeyed this long before it holds: a cap needs a renewal, a write and up to a second to settle."""

NOISE_SIGMAS, NOISE_TAU_S, MOST_NOISE_FRAC = 2.5, 300.0, 0.03
"""What the mean was seen to pass its aim by, over minutes, is kept free, up to 3 % of the limit."""

SETTLE_TAU_S = 10.0
"""A draw follows a falling aim in this time; what passes the aim meanwhile is no noise."""

TRIM_DOWN_S, TRIM_UP_S = 8.0, 120.0
"""What is drawn too much is taken back within seconds; what a dip leaves free is not given away before it is over."""

TRIM_EVEN_S, EVEN_FRAC = 12.0, 0.01
"""Up to 1 % of the limit is noise and corrected alike to both sides; else the mean would settle below its aim."""

MOST_TRIM_FRAC = 0.05
"""The most that measurement may correct the sum of what curves and learned draws say."""


@dataclass(frozen=True, slots=True)
class Aim:
    """Columns of scopes: `target_w` is the limit with a few seconds of foresight, `ramp_w` what its ramp alone
    lets through, `allowed_w` what may be drawn of that now, `aim_w` what is aimed at below that, `jobs_w` what of it is
    IT's."""

    target_w: Floats
    ramp_w: Floats
    allowed_w: Floats
    aim_w: Floats
    jobs_w: Floats


def aims(
    snapshot: Snapshot,
    known: Estimate,
    bounds: tuple[Bound, ...],
    promised_w: Floats,
    before: ScopesMemory,
    dt_s: float,
) -> tuple[Aim, ScopesMemory]:
    """Each scope's aim, and the memory of it; `promised_w` is what each must have for its contracts."""
    table = site_table(snapshot.site)
    target_w = np.array([_target(b) for b in bounds])
    late_aim_w = _late(before, known, table, dt_s)
    over_w = np.where(np.isnan(late_aim_w), 0.0, np.maximum(before.mean_w - late_aim_w, 0.0))
    over_var = before.over_var + blend(dt_s, NOISE_TAU_S) * (over_w**2 - before.over_var)
    noise_w = np.minimum(NOISE_SIGMAS * np.sqrt(over_var), MOST_NOISE_FRAC * target_w)
    before = released(target_w, promised_w, noise_w + table.margin_frac * target_w, known, table, before, dt_s)
    allowed_w = before.allowed_w
    aim_w = allowed_w * (1.0 - table.margin_frac) - np.minimum(noise_w, MOST_NOISE_FRAC * allowed_w)
    trim_w = _trim(before, known, table, allowed_w, dt_s)
    jobs_w = of_it(aim_w + trim_w, known)
    after = replace(before, over_var=over_var, trim_w=trim_w, aim_w=aim_w, late_aim_w=late_aim_w)
    return Aim(target_w, before.ramp_w, allowed_w, aim_w, jobs_w), after


def _late(before: ScopesMemory, known: Estimate, table: SiteTable, dt_s: float) -> Floats:
    """The aim as the draw can have followed it: what passes a falling aim for a while is no noise, nor is what no cap
    could have taken away."""
    aim_w, late_w = before.aim_w + (1.0 + known.rise) * before.short_w, before.late_aim_w
    share = np.array([blend(dt_s, SETTLE_TAU_S + window_s) for window_s in table.window_s.tolist()])
    followed = late_w + share * (aim_w - late_w)
    return np.where(np.isfinite(late_w) & (aim_w < late_w), followed, aim_w)


def of_it(feed_w: Floats, known: Estimate) -> Floats:
    """What IT may draw of what the feed and the batteries may give: more IT takes more overhead with it.

    A cut does not count on overhead falling until it has.
    """
    room_w = feed_w - known.overhead_w
    more_w = room_w - known.it_w
    return np.where(more_w > 0, known.it_w + more_w / (1.0 + known.rise), room_w)


def _target(bound: Bound) -> float:
    """The lowest limit of the next few seconds."""
    soon = bound.ahead_w[bound.ahead_t_s <= bound.ahead_t_s[0] + LEAD_S]
    return min(bound.limit_w, float(soon.min(initial=np.inf)))


def _trim(before: ScopesMemory, known: Estimate, table: SiteTable, allowed_w: Floats, dt_s: float) -> Floats:
    """Integrate what was aimed at and not met, where jobs were held back; else forget it slowly.

    With limits counted at face value the trim only lowers: the sum of limits stays under the limit.
    """
    error_w = before.aim_w - known.draw_w
    held = np.isfinite(before.aim_w) & (np.abs(error_w) < 0.1 * allowed_w)
    wanted_w = np.where(held, error_w, -before.trim_w)
    sided = np.where(wanted_w < 0, blend(dt_s, TRIM_DOWN_S), blend(dt_s, TRIM_UP_S))
    even = held & (np.abs(error_w) < EVEN_FRAC * allowed_w)
    # what was added while a job was in its lull is taken back at once when it wakes
    from_w = np.where(held & (error_w < -EVEN_FRAC * allowed_w), np.minimum(before.trim_w, 0.0), before.trim_w)
    moved = from_w + np.where(even, blend(dt_s, TRIM_EVEN_S), sided) * wanted_w
    moved = np.where(known.meter_fresh, moved, np.minimum(moved, before.trim_w))
    most_w = np.where(table.counts_limits, 0.0, MOST_TRIM_FRAC * allowed_w)
    return np.minimum(np.maximum(moved, -MOST_TRIM_FRAC * allowed_w), most_w)
