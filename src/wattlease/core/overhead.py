"""What a scope draws beyond its cards: learned from its meter, as a level and as a line of IT's draw.

A meter counts while it is fresh, in its own range, and agrees with the cards behind it. Without one nothing is learned,
and overhead is what was configured.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from wattlease.core.drawn import steady
from wattlease.core.memory import ScopesMemory
from wattlease.core.model import Bools, Floats, Reading, Snapshot
from wattlease.core.sites import SiteTable, site_table

OVERHEAD_TAU_S = 20.0
"""Fans and pumps follow the load within tens of seconds; so does what is learned of them."""

STEADY_FRAC = 0.03
"""Overhead is learned only while IT is near its own lagged mean: a meter that is late says nothing in between."""

LINE_TAU_S = 1800.0
START_RISE = 0.3
"""How overhead follows IT is learned over half an hour. It starts at 0.3: fans and supplies of an 8xH200 node took 0.14
(MLPerf power logs), cooling and conversion come on top."""


@lru_cache(maxsize=256)
def blend(dt_s: float, tau_s: float) -> float:
    """Share of the new in a first-order filter of time constant `tau_s`."""
    return float(-np.expm1(-dt_s / tau_s))


def learned(
    snapshot: Snapshot, memory: ScopesMemory, it_w: Floats, storage_w: Floats, dt_s: float
) -> tuple[ScopesMemory, Bools]:
    """The memory after one more look at the meters, and which scopes have one that can be believed, or none at all."""
    table = site_table(snapshot.site)
    before = memory if len(memory.ramp_w) == len(table.parent) else _begun(it_w, table.overhead_w, storage_w)
    fresh = ~table.metered
    overhead_w, slow_w, mean_w = before.overhead_w.copy(), before.it_slow_w.copy(), before.mean_w.copy()
    at_w, rise = before.it_at_w.copy(), overhead_rise(table, before)
    line = np.array([before.it_mean_w, before.it_var, before.overhead_mean_w, before.overhead_cov])
    behind_w = it_w - storage_w
    for s in range(len(table.parent)):
        readings = [r for r in snapshot.meters if r.scope == s and _of_feed(r, snapshot)]
        window_s = max((r.window_s for r in readings), default=1.0)
        lag_s = max((r.age_s for r in readings), default=0.0) + 0.5 * window_s
        slow_w[s] += blend(dt_s, max(lag_s, 0.5)) * (behind_w[s] - slow_w[s])
        believed = [r.power_w for r in readings if _plausible(r, snapshot, slow_w[s])]
        fresh[s] |= bool(believed)
        if believed and abs(behind_w[s] - slow_w[s]) < STEADY_FRAC * max(behind_w[s], 1.0):
            overhead_w[s] += blend(dt_s, OVERHEAD_TAU_S) * (max(believed) - slow_w[s] - overhead_w[s])
            at_w[s] += blend(dt_s, OVERHEAD_TAU_S) * (slow_w[s] - at_w[s])
            line[:, s] = _followed(line[:, s], slow_w[s], max(believed) - slow_w[s], blend(dt_s, LINE_TAU_S))
        overhead_w[s] = max(overhead_w[s], 0.0)
        held_s = float(table.window_s[s]) or window_s
        mean_w[s] += blend(dt_s, max(held_s, 1.0)) * (
            behind_w[s] + overhead_w[s] + rise[s] * max(behind_w[s] - at_w[s], 0.0) - mean_w[s]
        )
    return replace(
        before, overhead_w=overhead_w, it_slow_w=slow_w, it_at_w=at_w, mean_w=mean_w,
        it_mean_w=line[0], it_var=line[1], overhead_mean_w=line[2], overhead_cov=line[3],
    ), fresh  # fmt: skip


def _followed(line: Floats, it_w: float, overhead_w: float, share: float) -> Floats:
    """Running mean and variance of IT, mean of overhead, and their covariance, after one more pair."""
    it_off_w, off_w = it_w - line[0], overhead_w - line[2]
    return line + share * np.array([it_off_w, it_off_w**2 - line[1], off_w, it_off_w * off_w - line[3]])


def overhead_rise(table: SiteTable, scopes: ScopesMemory) -> Floats:
    """By how much overhead rises with a watt of IT: learned, from a start on the high side; 0 to 0.5."""
    trust = (0.03 * np.maximum(scopes.it_mean_w, 1.0)) ** 2  # a spread of 3 % of IT weighs as much as the start
    line = (scopes.overhead_cov + trust * START_RISE) / (scopes.it_var + trust)
    return np.where(table.metered, np.minimum(np.maximum(line, 0.0), 0.5), 0.0)


def _begun(it_w: Floats, overhead_w: Floats, storage_w: Floats) -> ScopesMemory:
    """The memory of scopes that were never seen: overhead as configured, no limit known yet."""
    nothing, behind_w = np.zeros(len(it_w)), it_w - storage_w
    unknown = nothing + np.nan
    return ScopesMemory(
        allowed_w=nothing + np.inf,
        ramp_w=nothing + np.inf,
        began_w=unknown,
        drawn=steady(behind_w + overhead_w),
        overhead_w=overhead_w,
        it_slow_w=behind_w,
        it_at_w=behind_w,
        it_mean_w=behind_w,
        it_var=nothing,
        overhead_mean_w=overhead_w,
        overhead_cov=nothing,
        mean_w=behind_w + overhead_w,
        over_var=nothing,
        trim_w=nothing,
        aim_w=unknown,
        late_aim_w=unknown,
        short_w=nothing,
    )


def _of_feed(reading: Reading, snapshot: Snapshot) -> bool:
    """Whether the meter measures what the limit holds for, and not a part of it."""
    named = snapshot.site.scopes[reading.scope].budget.spec.meters
    return all(m.measures == "Feed" for m in named if m.name == reading.meter)


def _plausible(reading: Reading, snapshot: Snapshot, it_w: float) -> bool:
    """Whether the meter counts beside this IT draw."""
    budget = snapshot.site.scopes[reading.scope].budget.spec
    spec = next((m for m in budget.meters if m.name == reading.meter), None)
    stale_s = spec.stale_seconds + spec.delay_seconds if spec else 10.0
    top_w = spec.max_watts if spec and spec.max_watts else 2.0 * budget.limit_watts
    bottom_w = spec.min_watts if spec else 0.0
    return reading.age_s <= stale_s and bottom_w <= reading.power_w <= top_w and reading.power_w >= 0.9 * it_w
