"""What batteries are meant to do in this tick: the plan of the day, and what may be taken from them on top."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattlease.core.estimate import Estimate
from wattlease.core.foresight import foresee
from wattlease.core.limits import Bound, help_w
from wattlease.core.memory import Memory
from wattlease.core.model import NONE, Floats, JobState, Snapshot, StorageUnit
from wattlease.core.storage_plan import Outlook, StoragePlan, plan_storage

REPLAN_S = 300.0
STEP_S = 900.0
STEPS = 96


@dataclass(frozen=True, slots=True)
class Stores:
    """Columns of batteries: what the plan gives and takes now, and what each could sustain beyond that. `help_w` is all
    that they could give, by scope: the fit counts what they do not give as load."""

    discharge_w: Floats
    charge_w: Floats
    more_w: Floats
    help_w: Floats


def stores(snapshot: Snapshot, known: Estimate, bounds: tuple[Bound, ...], memory: Memory) -> tuple[Stores, Memory]:
    """Renew the plan of the day when it is due, and read the set points of this tick from it."""
    site = snapshot.site
    due = len(memory.storage_plans) != len(site.storages) or not snapshot.now_s - memory.storage_planned_s < REPLAN_S
    if site.storages and due:
        plans = tuple(_planned(snapshot, u, known, bounds[u.scope], memory) for u in site.storages)
        memory = replace(memory, storage_plans=plans, storage_planned_s=_aligned(snapshot.now_s, REPLAN_S))
    most_w = np.array([help_w(u, s) for u, s in zip(site.storages, snapshot.storages, strict=True)], float)
    planned_w = np.array([plan.at(snapshot.now_s) for plan in memory.storage_plans], float)
    discharge_w = np.clip(planned_w, 0.0, most_w)
    return Stores(discharge_w, np.maximum(-planned_w, 0.0), most_w - discharge_w, to_scopes(snapshot, most_w)), memory


def _aligned(now_s: float, step_s: float) -> float:
    return now_s - now_s % step_s


def to_scopes(snapshot: Snapshot, power_w: Floats) -> Floats:
    """A battery's power helps its own scope and all above it."""
    helped_w = np.zeros(len(snapshot.site.scopes))
    for unit, watts in zip(snapshot.site.storages, power_w.tolist(), strict=True):
        s = unit.scope
        while s != NONE:
            helped_w[s] += watts
            s = snapshot.site.scopes[s].parent
    return helped_w


def _planned(snapshot: Snapshot, unit: StorageUnit, known: Estimate, bound: Bound, memory: Memory) -> StoragePlan:
    """The plan of one battery for the next day."""
    start_s = _aligned(snapshot.now_s, STEP_S)
    at_s = start_s + STEP_S * np.arange(STEPS, dtype=np.float64)
    spec = snapshot.site.scopes[unit.scope].budget.spec
    draw_w, high_w = _expected(snapshot, unit.scope, known, memory, at_s)
    demand, tariff, prices = spec.demand_charge, spec.tariff, snapshot.prices
    grams = _stepped(prices.at_s, prices.carbon_g_per_kwh, at_s, tariff.carbon_grams_per_kilowatt_hour)
    row = memory.limits.scopes[unit.scope]
    outlook = Outlook(
        start_s=start_s,
        step_s=STEP_S,
        draw_w=draw_w,
        high_w=high_w,
        limit_w=_lowest(bound, at_s),
        energy_per_kwh=_stepped(prices.at_s, prices.energy_per_kwh, at_s, tariff.price_per_kilowatt_hour),
        carbon_per_kwh=grams * tariff.carbon_price_per_tonne / 1e6,
        demand_per_kw=demand.price_per_kilowatt if demand else 0.0,
        peak_so_far_w=row.peak_w,
    )
    state = snapshot.storages[snapshot.site.storages.index(unit)]
    able = unit if state.available else replace(unit, max_charge_w=0.0, max_discharge_w=0.0)
    return plan_storage(able, state.soc_frac, outlook)


def _expected(snapshot: Snapshot, scope: int, known: Estimate, memory: Memory, at_s: Floats) -> tuple[Floats, Floats]:
    """The scope's forecast at these times; where none was given, what the jobs that are known will draw."""
    forecast = next((f for f in snapshot.forecasts if f.scope == scope and len(f.at_s)), None)
    if forecast is not None:
        return np.interp(at_s, forecast.at_s, forecast.p50_w), np.interp(at_s, forecast.at_s, forecast.p90_w)
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
