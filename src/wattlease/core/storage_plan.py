"""When to charge and discharge a battery over the next day or two.

The bill is energy and carbon, the month's demand charge, and the wear of what is discharged. Before money comes the
limit: excess that is foreseen at p90 costs more than any bill could save, so the battery covers what it can, and
spreads what it cannot (a cut in two halves slows jobs less than one at full depth). Four choices need a reason:

1.  *The store at the end*: what is missing against the start must be bought back in the cheapest quarter of the steps,
    with losses; what has been added is worth what it saves there, after losses. So the plan neither sells its store
    cheap because the horizon ends (a spread must pay for the whole round trip, whoever bought the energy), nor buys for
    a day that nobody has forecast.
2.  *Among equal plans* it charges early and discharges late, and it moves nothing for a gain under TIE of the price:
    what is in store can also meet what was not foreseen, and a forecast that trembles does not flip the plan.
3.  *Ready*: a peak that nobody foresaw is met only by what is in store, so each hour of each kWh that is missing may
    count as a cost, and the plan fills the store sooner than prices alone would. It is a worry and not a bill, so
    no figure of the plan has it in it.
4.  *Under its reserve* it charges back as fast as the limit lets it, whatever that costs: the reserve is for an outage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from wattlease.core.model import Floats, StorageUnit
from wattlease.core.storage_programme import DUST, Programme, Sparse, solve

WINDOW_S = 900.0
"""Metering window of the demand charge where none is named, aligned to the clock."""

TIE = 1e-4
"""Fraction of the largest price for which nothing is moved; a thousand times the solver's tolerance."""

J_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a scope expects, in H steps of `step_s` from `start_s`; every column has length H.

    `draw_w` is the expected draw without the battery and `high_w` its p90; `limit_w` may be infinite. Prices are
    money per kWh, carbon already priced. `demand_per_kw` is money for each kW by which the highest window mean
    exceeds `peak_so_far_w`, what this month has reached already; windows of `window_s` begin `window_offset_s` after
    its multiples. `ready_per_kwh_h` is what it is worth, in money, to have a kWh in store for an hour.
    Raises ValueError for columns that do not fit.
    """

    start_s: float
    step_s: float
    draw_w: Floats
    high_w: Floats
    limit_w: Floats
    energy_per_kwh: Floats
    carbon_per_kwh: Floats
    demand_per_kw: float = 0.0
    peak_so_far_w: float = 0.0
    window_s: float = WINDOW_S
    window_offset_s: float = 0.0
    ready_per_kwh_h: float = 0.0

    def __post_init__(self) -> None:
        columns = (self.draw_w, self.high_w, self.limit_w, self.energy_per_kwh, self.carbon_per_kwh)
        lengths = [len(column) for column in columns]
        if not lengths[0] or len(set(lengths)) > 1 or not self.step_s > 0:
            raise ValueError(
                "an outlook needs at least one step, longer than 0 s, and one value for each step in every column; "
                f"this one has steps of {self.step_s} s and columns of {lengths} values"
            )

    @property
    def price_per_kwh(self) -> Floats:
        """What a kWh costs in all, money."""
        return self.energy_per_kwh + self.carbon_per_kwh

    @property
    def worst_w(self) -> Floats:
        """The draw that the limit is held against: p90, and never less than what is expected."""
        return np.maximum(self.high_w, self.draw_w)

    @property
    def windows(self) -> Sparse:
        """Weights (windows x H) that turn the steps into metering windows.

        A window that the horizon only touches counts with the part that is seen, as if the rest were like it.
        """
        steps, offset_s = len(self.draw_w), (round(self.start_s) - self.window_offset_s) % self.window_s
        turns_s = np.arange(self.window_s - offset_s, steps * self.step_s, self.window_s)
        edges_s = np.unique(np.concatenate([np.arange(steps + 1) * self.step_s, turns_s]))
        middle_s, length_s = (edges_s[1:] + edges_s[:-1]) / 2, np.diff(edges_s)
        window = ((middle_s + offset_s) // self.window_s).astype(np.int64)
        step = (middle_s // self.step_s).astype(np.int64)
        weight = length_s / np.bincount(window, length_s)[window]
        return sparse.coo_array((weight, (window, step)), shape=(int(window[-1]) + 1, steps)).tocsr()

    def peaks_w(self, *grids_w: Floats) -> Floats:
        """Highest window mean of each draw from the grid."""
        return np.asarray(self.windows @ np.column_stack(grids_w)).max(axis=0)

    def bill(self, grid_w: Floats, peak_w: float) -> float:
        """Money for the energy and carbon of a draw from the grid, and for what it adds to the month's peak."""
        energy = float(self.price_per_kwh @ grid_w) * self.step_s / J_PER_KWH
        return energy + self.demand_per_kw * max(peak_w - self.peak_so_far_w, 0.0) / 1e3


@dataclass(frozen=True, slots=True)
class StoragePlan:
    """Set points for H steps: `power_w` is positive when it discharges, `soc_frac` holds at the end of each step.

    `short_w` is the excess over the limit that p90 leaves at each step, `peak_w` the highest window mean of the
    expected draw. `cost` is the bill and the wear, less the worth of what the store has gained; `cost_idle` the bill
    without a move; what readiness is worth is in neither. `note` is empty for an ordinary plan, else the sentence why
    it is idle or what it falls short of.
    """

    start_s: float
    step_s: float
    power_w: Floats
    soc_frac: Floats
    short_w: Floats
    peak_w: float
    cost: float
    cost_idle: float
    note: str = ""

    def at(self, now_s: float) -> float:
        """Set point in watts of the step that holds at `now_s`; 0 outside the plan."""
        step = math.floor((now_s - self.start_s) / self.step_s)
        return float(self.power_w[step]) if 0 <= step < len(self.power_w) else 0.0


def plan_storage(unit: StorageUnit, soc_frac: float, outlook: Outlook) -> StoragePlan:
    """Plan the least bill among the schedules that leave the least excess over the limit.

    The unit is as it is now: a caller scales its capacity by the state of health, and sets its power limits to 0 when
    it may not be used. What cannot be planned (no battery, unknown state, solver failure) is an idle plan with a note.
    """
    idle_w, idle_frac = np.zeros(len(outlook.draw_w)), np.full(len(outlook.draw_w), soc_frac)
    trouble = _trouble(unit, soc_frac, outlook)
    if trouble:
        return _plan(unit, soc_frac, outlook, idle_w, idle_frac, trouble)
    base_w = max(unit.max_charge_w, unit.max_discharge_w)
    programme = _programme(unit, min(max(soc_frac, 0.0), 1.0), outlook, base_w)
    solution = solve(programme)
    if isinstance(solution, str):
        return _plan(unit, soc_frac, outlook, idle_w, idle_frac, f"battery {unit.id} stays idle: {solution}")
    power, energy = solution
    return _plan(unit, soc_frac, outlook, power * base_w, energy / programme.full)


def cheap_per_kwh(outlook: Outlook) -> float:
    """Mean price of the cheapest quarter of the steps, and never less than 0: what energy is worth at the end."""
    price = np.sort(outlook.price_per_kwh)
    return max(float(price[: math.ceil(len(price) / 4)].mean()), 0.0)


def _trouble(unit: StorageUnit, soc_frac: float, outlook: Outlook) -> str:
    """Say why there is nothing to plan; empty if there is."""
    known = (outlook.draw_w, outlook.high_w, outlook.price_per_kwh)
    if not all(np.isfinite(column).all() for column in known) or np.isnan(outlook.limit_w).any():
        return f"battery {unit.id} stays idle: a draw, a price or a limit ahead is not known"
    if not math.isfinite(soc_frac):
        return f"battery {unit.id} stays idle: its state of charge is not known"
    if not min(max(unit.max_charge_w, unit.max_discharge_w), unit.capacity_j, unit.round_trip_frac) > 0:
        return f"battery {unit.id} is not available"
    return ""


def _programme(unit: StorageUnit, soc_frac: float, outlook: Outlook, base_w: float) -> Programme:
    """Bound every step: no export, no charge over the limit at p90, and as floor the fastest way to the reserve.

    A unit of excess costs thrice the dearest way to cover it: bought at the highest price, lost both ways, on top of
    the peak.
    """
    way_frac, full = math.sqrt(unit.round_trip_frac), unit.capacity_j / (base_w * outlook.step_s)
    left_w = outlook.limit_w - outlook.worst_w
    charge = np.clip(left_w, 0.0, max(unit.max_charge_w, 0.0)) / base_w
    price, ahead = outlook.price_per_kwh, np.arange(len(outlook.draw_w)) / len(outlook.draw_w)
    dearest, rise = float(np.abs(price).max()), outlook.demand_per_kw * 3600.0 / outlook.step_s
    scale = max(dearest, unit.wear_per_kwh, 1e-3 * outlook.demand_per_kw) or 1.0
    excess = 3.0 * (2.0 * dearest + unit.wear_per_kwh + rise + scale) / unit.round_trip_frac
    return Programme(
        way_frac=way_frac,
        start=soc_frac * full,
        full=full,
        floor=np.minimum(unit.reserve_frac * full, soc_frac * full + np.cumsum(way_frac * charge)),
        charge=charge,
        discharge=np.clip(outlook.draw_w, 0.0, max(unit.max_discharge_w, 0.0)) / base_w,
        excess=np.maximum(-left_w, 0.0) / base_w,
        draw=outlook.draw_w / base_w,
        windows=outlook.windows,
        peak=outlook.peak_so_far_w / base_w,
        charge_cost=price / scale + TIE * (1.0 + ahead),
        discharge_cost=(unit.wear_per_kwh - price) / scale + TIE * (2.0 - ahead),
        gain_worth=cheap_per_kwh(outlook) * way_frac / scale,
        loss_cost=cheap_per_kwh(outlook) / way_frac / scale,
        ready_worth=outlook.ready_per_kwh_h * outlook.step_s / 3600.0 / scale,
        peak_cost=rise / scale,
        excess_cost=excess / scale,
    )


def _plan(
    unit: StorageUnit, start_frac: float, outlook: Outlook, power_w: Floats, soc_frac: Floats, note: str = ""
) -> StoragePlan:
    """Put figures to a schedule; they are NaN where the outlook is."""
    grid_w = outlook.draw_w - power_w
    peak_w, idle_peak_w = map(float, outlook.peaks_w(grid_w, outlook.draw_w))
    short_w = np.maximum(outlook.worst_w - power_w - outlook.limit_w, 0.0)
    short_w[short_w <= DUST * max(unit.max_charge_w, unit.max_discharge_w)] = 0.0
    worn = np.maximum(power_w, 0.0).sum() * outlook.step_s / J_PER_KWH * unit.wear_per_kwh
    gained_kwh, way_frac = (soc_frac[-1] - start_frac) * unit.capacity_j / J_PER_KWH, math.sqrt(unit.round_trip_frac)
    gain = gained_kwh * cheap_per_kwh(outlook) * (way_frac if gained_kwh > 0 else 1.0 / way_frac)
    return StoragePlan(
        outlook.start_s,
        outlook.step_s,
        power_w,
        soc_frac,
        short_w,
        peak_w=peak_w,
        cost=float(outlook.bill(grid_w, peak_w) + worn - gain),
        cost_idle=outlook.bill(outlook.draw_w, idle_peak_w),
        note=note or _shortfall(unit, start_frac, outlook.step_s, short_w),
    )


def _shortfall(unit: StorageUnit, start_frac: float, step_s: float, short_w: Floats) -> str:
    """Say what a plan cannot do; empty if it does all."""
    if short_w.any():
        span_min = np.count_nonzero(short_w) * step_s / 60
        return f"battery {unit.id} leaves up to {short_w.max() / 1e3:.1f} kW over the limit, for {span_min:.0f} min"
    if start_frac < unit.reserve_frac:
        return f"battery {unit.id} is under its reserve of {unit.reserve_frac:.0%} and charges back first"
    return ""
