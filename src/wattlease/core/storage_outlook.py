"""What is ahead of a battery: the draw, the limits and the prices of its scope, as its plan wants them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wattlease.core.estimate import Estimate
from wattlease.core.foresight import foresee
from wattlease.core.limits import Bound
from wattlease.core.memory import Memory
from wattlease.core.model import Floats, JobState, Snapshot, Storage, StorageUnit
from wattlease.core.peak_guard import sure_w
from wattlease.core.storage_plan import WINDOW_S, Outlook

STEP_S = 900.0
STEPS = 96

LEAST_W = 1.0
"""What a converter allows below this is nothing: the plan counts in the battery's power."""

READY_PER_H = 1e-3
"""Of the price of a kilowatt's peak: what it costs to miss a kilowatt-hour in store for an hour. A missing one raises
an unforeseen peak of a few hours by a third of a kilowatt; that a peak comes unforeseen about once in two weeks."""


def outlook(snapshot: Snapshot, unit: StorageUnit, known: Estimate, bound: Bound, memory: Memory) -> Outlook:
    """The next day of one battery."""
    start_s = snapshot.now_s - snapshot.now_s % STEP_S
    at_s = start_s + STEP_S * np.arange(STEPS, dtype=np.float64)
    spec, prices = snapshot.site.scopes[unit.scope].budget.spec, snapshot.prices
    tariff, charge, per_kw = spec.tariff, spec.demand_charge, spec.demand_price_per_kilowatt
    draw_w, high_w = _expected(snapshot, unit.scope, known, memory, at_s)
    grams = _stepped(prices.at_s, prices.carbon_g_per_kwh, at_s, tariff.carbon_grams_per_kilowatt_hour)
    return Outlook(
        start_s=start_s,
        step_s=STEP_S,
        draw_w=draw_w,
        high_w=high_w,
        limit_w=_lowest(bound, at_s),
        energy_per_kwh=_stepped(prices.at_s, prices.energy_per_kwh, at_s, tariff.price_per_kilowatt_hour),
        carbon_per_kwh=grams * tariff.carbon_price_per_tonne / 1e6,
        demand_per_kw=per_kw,
        peak_so_far_w=sure_w(snapshot, unit.scope, memory),
        window_s=float(charge.window_seconds) if charge else WINDOW_S,
        window_offset_s=float(charge.offset_seconds) if charge else 0.0,
        ready_per_kwh_h=READY_PER_H * per_kw,
    )


def able(unit: StorageUnit, state: Storage) -> StorageUnit:
    """The unit as it is now: by its health and its converter's limits, and without power where it may not be used."""
    health = min(1.0, state.soh_frac) if state.soh_frac > 0.0 else 0.0
    return replace(
        unit,
        capacity_j=unit.capacity_j * health,
        max_charge_w=_usable_w(state, min(unit.max_charge_w, state.max_charge_w)),
        max_discharge_w=_usable_w(state, min(unit.max_discharge_w, state.max_discharge_w)),
    )


def _usable_w(state: Storage, most_w: float) -> float:
    return most_w if state.available and most_w >= LEAST_W else 0.0


def _expected(snapshot: Snapshot, scope: int, known: Estimate, memory: Memory, at_s: Floats) -> tuple[Floats, Floats]:
    """The scope's forecast for the steps that begin then; where none was given, what the known jobs will draw."""
    forecast = next((f for f in snapshot.forecasts if f.scope == scope and len(f.at_s)), None)
    if forecast is not None:
        middle_s = at_s + STEP_S / 2
        return np.interp(middle_s, forecast.at_s, forecast.p50_w), np.interp(middle_s, forecast.at_s, forecast.p90_w)
    running = (snapshot.jobs.state == JobState.RUNNING) & (known.job_gpus > 0)
    idle_w = np.array([m.idle_w for m in snapshot.site.models])[snapshot.jobs.model]
    of_jobs_w = float((known.job_gpus * (known.job_draw_w - idle_w))[running].sum())
    base_w = float(known.draw_w[scope] + known.storage_w[scope]) - of_jobs_w
    return foresee(snapshot, memory, base_w, at_s)


def _lowest(bound: Bound, at_s: Floats) -> Floats:
    """The lowest limit within each step."""
    step = np.clip(np.searchsorted(at_s, bound.ahead_t_s, side="right") - 1, 0, len(at_s) - 1)
    lowest_w = np.full(len(at_s), np.inf)
    np.minimum.at(lowest_w, step, bound.ahead_w)
    for k in np.flatnonzero(np.isinf(lowest_w)):
        lowest_w[k] = lowest_w[k - 1] if k else bound.limit_w
    return lowest_w


def _stepped(since_s: Floats, values: Floats, at_s: Floats, fallback: float) -> Floats:
    """Prices that hold from each time on, at these times; the fallback before the first and where none is known."""
    if not len(since_s):
        return np.full(len(at_s), fallback)
    k = np.searchsorted(since_s, at_s, side="right") - 1
    found = np.where(k >= 0, values[np.maximum(k, 0)], fallback)
    return np.where(np.isfinite(found), found, fallback)
