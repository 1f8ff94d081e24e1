"""What a scope draws beyond its cards: learned from its meter, as a level and as a line of IT's draw.

A meter counts while it is fresh, in its own range, and agrees with the cards behind it. Without one nothing is learned,
and overhead is what was configured, at what the cards draw.

Rule 1: what looks low without need is doubted: overhead falls only as far as no card that is not heard, no battery
    whose power is not known and no meter that stands still while IT moves could be the reason. It rises all the same.
Rule 2: a look counts once IT has stood still for two more: a meter may tell sooner than cards and batteries do.
Rule 3: a scope that was never seen begins at what is configured, or where nothing is at what its cards may well bring
    with them. The mean of all looks so far takes its place; later overhead moves at its own pace.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from wattlease.core.drawn import steady
from wattlease.core.kept_overhead import with_kept
from wattlease.core.memory import ScopesMemory
from wattlease.core.model import Bools, Floats, Reading, Snapshot
from wattlease.core.sites import SiteTable, site_table

OVERHEAD_TAU_S = 20.0
"""Fans and pumps follow the load within tens of seconds; so does what is learned of them."""

STEADY_FRAC = 0.03
"""Overhead is learned only while IT is near its own lagged mean: a meter that is late says nothing in between."""

STILL_FRAC, STILL_TAU_S = 0.05, 300.0
"""That a meter stands still while IT rises by so much is strange, and is forgotten slowly: its scale may be coarse."""

LINE_TAU_S = 1800.0
START_RISE = 0.3
"""How overhead follows IT is learned over half an hour. It starts at 0.3: fans and supplies of an 8xH200 node took 0.14
(MLPerf power logs), cooling and conversion come on top."""

LOST_FRAC, LOST_TOLD_FRAC = 0.1, 0.5
"""A meter that misses more of what draws behind it has lost a phase or its scale. Clusters tell what they may draw: one
that has no meter counts its overhead as configured, and a node that it does not hear at the worst."""


@lru_cache(maxsize=256)
def blend(dt_s: float, tau_s: float) -> float:
    """Share of the new in a first-order filter of time constant `tau_s`."""
    return float(-np.expm1(-dt_s / tau_s))


def _blends(dt_s: float, tau_s: Floats) -> Floats:
    return np.array([blend(dt_s, one_s) for one_s in tau_s.tolist()])


@dataclass(frozen=True, slots=True)
class Behind:
    """What is counted behind the meters, columns of scopes: `it_w` of cards, `storage_w` that batteries give, and
    `doubt_w`, by how much less a meter may rightly see than these make."""

    it_w: Floats
    storage_w: Floats
    doubt_w: Floats

    @property
    def net_w(self) -> Floats:
        """What of IT's draw comes through the feed."""
        return self.it_w - self.storage_w


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at the meters, columns of scopes: `meter_w` is what is believed (NaN: nothing), `slow_w` what of IT it
    tells of, `small_w` what does not count as a move, `steady` whether IT stands still, `window_s` the meter's own."""

    meter_w: Floats
    slow_w: Floats
    small_w: Floats
    steady: Bools
    window_s: Floats


def learned(snapshot: Snapshot, memory: ScopesMemory, behind: Behind, dt_s: float) -> tuple[ScopesMemory, Bools]:
    """The memory after one more look at the meters, and which scopes have one that can be believed, or none at all."""
    table = site_table(snapshot.site)
    before = memory if len(memory.ramp_w) == len(table.parent) else _begun(behind, table, memory)
    look = _look(snapshot, before, behind, dt_s)
    after = _taught(_stood(before, behind, look, dt_s), behind, look, table.rated_w > 0.0, dt_s)
    after = _as_configured(after, before.it_at_w, behind.it_w, table, blend(dt_s, OVERHEAD_TAU_S))
    rise_w = overhead_rise(table, before) * np.maximum(behind.it_w - after.it_at_w, 0.0)
    held_s = np.where(table.window_s > 0.0, table.window_s, look.window_s)
    drawn_w = behind.net_w + after.overhead_w + rise_w
    mean_w = before.mean_w + _blends(dt_s, np.maximum(held_s, 1.0)) * (drawn_w - before.mean_w)
    return replace(after, it_slow_w=look.slow_w, mean_w=mean_w), ~table.metered | np.isfinite(look.meter_w)


def overhead_rise(table: SiteTable, scopes: ScopesMemory) -> Floats:
    """By how much overhead rises with a watt of IT: learned, from a start on the high side, 0 to 0.5; as configured
    without a meter."""
    trust = (0.03 * np.maximum(scopes.it_mean_w, 1.0)) ** 2  # a spread of 3 % of IT weighs as much as the start
    line = (scopes.overhead_cov + trust * START_RISE) / (scopes.it_var + trust)
    return np.where(table.metered, np.minimum(np.maximum(line, 0.0), 0.5), table.overhead_rise)


def _look(snapshot: Snapshot, before: ScopesMemory, behind: Behind, dt_s: float) -> _Look:
    told = [[r for r in snapshot.meters if r.scope == s and _of_feed(r, snapshot)] for s in range(len(behind.it_w))]
    window_s = np.array([max((r.window_s for r in readings), default=1.0) for readings in told])
    lag_s = np.array([max((r.age_s for r in readings), default=0.0) for readings in told]) + 0.5 * window_s
    slow_w = before.it_slow_w + _blends(dt_s, np.maximum(lag_s, 0.5)) * (behind.net_w - before.it_slow_w)
    small_w = STEADY_FRAC * np.maximum(behind.net_w, 1.0)
    steady = np.abs(behind.net_w - slow_w) < small_w
    lost_frac = LOST_TOLD_FRAC if snapshot.site.all_told else LOST_FRAC
    least_w = slow_w - lost_frac * (slow_w + np.maximum(behind.storage_w, 0.0))
    return _Look(_believed(snapshot, told, least_w), slow_w, small_w, steady, window_s)


def _believed(snapshot: Snapshot, told: list[list[Reading]], least_w: Floats) -> Floats:
    """The highest reading of each scope that can be believed, NaN without one."""
    found = [[r.power_w for r in of if _plausible(r, snapshot, least_w[s])] for s, of in enumerate(told)]
    return np.array([max(of, default=np.nan) for of in found], float)


def _stood(before: ScopesMemory, behind: Behind, look: _Look, dt_s: float) -> ScopesMemory:
    """Remember the least of IT that the meter's word may tell of: since the word before it, and from then on while it
    stands still."""
    moved = np.isfinite(look.meter_w) & (look.meter_w != before.meter_w)
    least_w = np.minimum(behind.net_w, before.it_slow_w)
    since_w = np.minimum(before.since_w, least_w)
    still_w = np.minimum(before.meter_at_w, least_w)
    still_w = still_w + blend(dt_s, STILL_TAU_S) * (least_w - still_w)
    return replace(
        before,
        meter_w=np.where(moved, look.meter_w, before.meter_w),
        meter_at_w=np.where(moved, since_w, still_w),
        since_w=np.where(moved, least_w, since_w),
    )


def _taught(before: ScopesMemory, behind: Behind, look: _Look, of_cards: Bools, dt_s: float) -> ScopesMemory:
    """Take in the look of two ticks ago, if IT has stood still since."""
    counts = look.steady & np.isfinite(look.meter_w)
    seen_w = np.where(counts & (dt_s > 0.0), before.seen_then_w, np.nan)
    doubt_w = _doubt(before, behind, look)
    sure = np.isfinite(seen_w) & (doubt_w < look.small_w)
    share = np.maximum(blend(dt_s, OVERHEAD_TAU_S), np.where(sure, _mean_share(of_cards, before), 0.0))
    of_it_w = look.slow_w + behind.storage_w  # what a battery carries has its overhead too
    after = replace(
        before,
        overhead_w=np.maximum(before.overhead_w + share * _off(before.overhead_w, seen_w, doubt_w), 0.0),
        it_at_w=before.it_at_w + np.where(sure, share * (of_it_w - before.it_at_w), 0.0),
        looks=before.looks + sure,
        seen_w=np.where(counts, look.meter_w - look.slow_w, np.nan),
        seen_then_w=np.where(counts, before.seen_w, np.nan),
    )
    return _followed(after, sure, of_it_w, seen_w, blend(dt_s, LINE_TAU_S))


def _as_configured(
    taught: ScopesMemory, was_at_w: Floats, it_w: Floats, table: SiteTable, share: float
) -> ScopesMemory:
    """What was taught; without a meter what was configured, as if each card brought as much along as any. It follows a
    fall of IT slowly; a rise counts at once on top."""
    it_at_w = np.where(table.metered, taught.it_at_w, was_at_w + share * (it_w - was_at_w))
    overhead_w = np.where(table.metered, taught.overhead_w, table.floor_w + table.overhead_rise * it_at_w)
    return replace(taught, overhead_w=overhead_w, it_at_w=it_at_w)


def _doubt(before: ScopesMemory, behind: Behind, look: _Look) -> Floats:
    """By how much too low a look may be: anything where the meter stands still and IT has risen, 0 where little is."""
    stands = behind.net_w - before.meter_at_w >= STILL_FRAC * np.maximum(behind.net_w, 1.0)
    return np.where(stands, np.inf, np.where(behind.doubt_w < look.small_w, 0.0, behind.doubt_w))


def _off(level_w: Floats, seen_w: Floats, doubt_w: Floats) -> Floats:
    """By how much the level is off what was seen: all that it is too low, and too high beyond doubt."""
    off_w = np.maximum(seen_w - level_w, 0.0) + np.minimum(seen_w + doubt_w - level_w, 0.0)
    return np.where(np.isfinite(seen_w), off_w, 0.0)


def _mean_share(of_cards: Bools, before: ScopesMemory) -> Floats:
    """The share of one more look in the mean of all of them and of what it began with; 0 for clusters, whose words come
    and go by kilowatts as they begin."""
    return np.where(of_cards, 1.0 / (before.looks + 2.0), 0.0)


def _followed(after: ScopesMemory, sure: Bools, it_w: Floats, overhead_w: Floats, share: float) -> ScopesMemory:
    """Running mean and variance of IT, mean of overhead, and their covariance, after one more pair. The first begins
    them."""
    first = sure & (after.looks == 1.0)
    part, spread = np.where(first, 1.0, np.where(sure, share, 0.0)), np.where(first | ~sure, 0.0, share)
    it_off_w = np.where(sure, it_w - after.it_mean_w, 0.0)
    off_w = np.where(sure, overhead_w - after.overhead_mean_w, 0.0)
    return replace(
        after,
        it_mean_w=after.it_mean_w + part * it_off_w,
        it_var=after.it_var + spread * (it_off_w**2 - after.it_var),
        overhead_mean_w=after.overhead_mean_w + part * off_w,
        overhead_cov=after.overhead_cov + spread * (it_off_w * off_w - after.overhead_cov),
    )


def _begun(behind: Behind, table: SiteTable, kept: ScopesMemory) -> ScopesMemory:
    """The memory of scopes that no tick has seen: what is kept of their overhead, else what is configured, else a guess
    until a meter tells."""
    guessed = table.metered & (table.overhead_w == 0.0) & (table.rated_w > 0.0)
    overhead_w = np.where(guessed, START_RISE * behind.it_w, table.overhead_w)
    nothing, unknown = np.zeros(len(overhead_w)), np.full(len(overhead_w), np.nan)
    begun = ScopesMemory(
        allowed_w=nothing + np.inf,
        ramp_w=nothing + np.inf,
        began_w=unknown,
        overhead_w=overhead_w,
        it_slow_w=behind.net_w,
        it_at_w=behind.it_w,
        it_mean_w=behind.it_w,
        it_var=nothing,
        overhead_mean_w=overhead_w,
        overhead_cov=nothing,
        mean_w=nothing,
        over_var=nothing,
        trim_w=nothing,
        aim_w=unknown,
        late_aim_w=unknown,
        short_w=nothing,
        looks=nothing,
        meter_w=unknown,
        meter_at_w=behind.net_w,
        since_w=behind.net_w,
        seen_w=unknown,
        seen_then_w=unknown,
    )
    begun = with_kept(begun, kept, table.metered)
    drawn_w = behind.net_w + begun.overhead_w
    return replace(begun, mean_w=drawn_w, drawn=steady(drawn_w))


def _of_feed(reading: Reading, snapshot: Snapshot) -> bool:
    """Whether the meter measures what the limit holds for, and not a part of it."""
    named = snapshot.site.scopes[reading.scope].budget.spec.meters
    return all(m.measures == "Feed" for m in named if m.name == reading.meter)


def _plausible(reading: Reading, snapshot: Snapshot, least_w: float) -> bool:
    """Whether the meter counts where it must see this much at least."""
    budget = snapshot.site.scopes[reading.scope].budget.spec
    spec = next((m for m in budget.meters if m.name == reading.meter), None)
    stale_s = spec.stale_seconds + spec.delay_seconds if spec else 10.0
    top_w = spec.max_watts if spec and spec.max_watts else 2.0 * budget.limit_watts
    bottom_w = spec.min_watts if spec else 0.0
    return reading.age_s <= stale_s and bottom_w <= reading.power_w <= top_w and reading.power_w >= least_w
