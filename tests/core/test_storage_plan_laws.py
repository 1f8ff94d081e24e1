"""What every storage plan keeps, whatever is ahead; bill and best schedule are worked out here a second time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from wattlease.core.model import Floats, StorageUnit
from wattlease.core.storage_plan import TIE, Outlook, cheap_per_kwh, plan_storage

EPS = 1e-9


def column(draw: st.DrawFn, steps: int, low: float, high: float) -> Floats:
    values = st.integers(round(low * 100), round(high * 100))
    return np.array(draw(st.lists(values, min_size=steps, max_size=steps))) / 100.0


@st.composite
def units(draw: st.DrawFn) -> StorageUnit:
    return StorageUnit(
        id="b1",
        scope=0,
        capacity_j=draw(st.sampled_from([20, 100, 500])) * 3.6e6,
        max_charge_w=draw(st.sampled_from([0, 40, 100])) * 1e3,
        max_discharge_w=draw(st.sampled_from([30, 100])) * 1e3,
        reserve_frac=draw(st.sampled_from([0.0, 0.2, 0.5])),
        round_trip_frac=draw(st.sampled_from([0.7, 0.88, 1.0])),
        wear_per_kwh=draw(st.sampled_from([0.0, 0.05])),
    )


@st.composite
def outlooks(draw: st.DrawFn, cheapest: float = 0.0, tight: bool = True) -> Outlook:
    """Outlooks of 1 to 24 steps; not `tight` leaves room under the limit at every step."""
    steps = draw(st.integers(1, 24))
    expected_w = column(draw, steps, 0.0, 3.0) * 1e5
    high_w = expected_w + column(draw, steps, 0.0, 0.3) * 1e5
    limit_w = column(draw, steps, 1.0, 3.5) * 1e5
    return Outlook(
        start_s=1.7e9 + draw(st.sampled_from([0, 300, 450, 899])),
        step_s=draw(st.sampled_from([300.0, 900.0, 3600.0])),
        draw_w=expected_w,
        high_w=high_w,
        limit_w=limit_w if tight else np.maximum(limit_w, high_w),
        energy_per_kwh=column(draw, steps, cheapest, 0.5),
        carbon_per_kwh=column(draw, steps, 0.0, 0.1),
        demand_per_kw=draw(st.sampled_from([0.0, 15.0])),
        peak_so_far_w=draw(st.sampled_from([0.0, 1.5e5])),
    )


anything = outlooks(cheapest=-0.5)
socs = st.integers(0, 100).map(lambda percent: percent / 100.0)
laws = settings(max_examples=40, deadline=None)


def window_peak_w(outlook: Outlook, grid_w: Floats) -> float:
    """Highest mean of a metering window, second by second."""
    seconds = np.repeat(grid_w, int(outlook.step_s))
    window = (np.arange(len(seconds)) + outlook.start_s) // 900
    return max(float(seconds[window == w].mean()) for w in np.unique(window))


def bill(unit: StorageUnit, outlook: Outlook, power_w: Floats, gained_kwh: float) -> float:
    hours, grid_w = outlook.step_s / 3600, outlook.draw_w - power_w
    energy = float(((outlook.energy_per_kwh + outlook.carbon_per_kwh) * grid_w).sum()) / 1e3 * hours
    demand = outlook.demand_per_kw * max(window_peak_w(outlook, grid_w) - outlook.peak_so_far_w, 0.0) / 1e3
    wear = unit.wear_per_kwh * float(power_w[power_w > 0].sum()) / 1e3 * hours
    way = math.sqrt(unit.round_trip_frac)
    return energy + demand + wear - cheap_per_kwh(outlook) * min(gained_kwh * way, gained_kwh / way)


def moved_kwh(unit: StorageUnit, outlook: Outlook) -> float:
    """The most that the battery can move in the outlook: what TIE is a fraction of."""
    return max(unit.max_charge_w, unit.max_discharge_w) * outlook.step_s * len(outlook.draw_w) / 3.6e6


def tie(unit: StorageUnit, outlook: Outlook) -> float:
    """Money that a plan may leave on the table for the sake of calm."""
    scale = max(float(np.abs(outlook.price_per_kwh).max()), unit.wear_per_kwh, 1e-3 * outlook.demand_per_kw)
    return 4 * TIE * scale * moved_kwh(unit, outlook) + 1e-6


def reference(unit: StorageUnit, soc_frac: float, outlook: Outlook, cost: Floats) -> tuple[float, bool]:
    """Least value of cost @ (charge kW, discharge kW, peak kW, worth of the gain) within the limit; and whether any is.

    Dense and in kW; the store is a running sum of flows and not a column, and every bound on it is a row.
    """
    steps, hours, way = len(outlook.draw_w), outlook.step_s / 3600, math.sqrt(unit.round_trip_frac)
    seen = np.tril(np.ones((steps, steps))) * hours
    full, none = unit.capacity_j / 3.6e6, np.zeros((steps, 2))
    flow = np.hstack([seen * way, -seen / way, none])
    net = np.hstack([np.eye(steps), -np.eye(steps), none])
    worst_kw = np.maximum(outlook.high_w, outlook.draw_w) / 1e3
    seconds = np.repeat(np.arange(steps), int(outlook.step_s))
    window = (np.arange(len(seconds)) + outlook.start_s) // 900
    means = np.array([np.bincount(seconds[window == w], minlength=steps) for w in np.unique(window)], dtype=float)
    means /= means.sum(axis=1, keepdims=True)
    peak = np.hstack([means, -means, -np.ones((len(means), 1)), np.zeros((len(means), 1))])
    worth = np.append(np.zeros(2 * steps + 1), 1.0) - np.outer([way, 1 / way], flow[-1]) * cheap_per_kwh(outlook)
    rows = np.vstack([flow, -flow, net, -net, peak, worth])
    most = [
        np.full(steps, (1 - soc_frac) * full + EPS),
        np.full(steps, (soc_frac - unit.reserve_frac) * full + EPS),
        outlook.limit_w / 1e3 - worst_kw + EPS,
        outlook.draw_w / 1e3 + EPS,
        -means @ outlook.draw_w / 1e3,
        np.zeros(2),
    ]
    least = [0.0] * 2 * steps + [outlook.peak_so_far_w / 1e3, -np.inf]
    most_flow = [unit.max_charge_w / 1e3] * steps + [unit.max_discharge_w / 1e3] * steps
    bounds = list(zip(least, [*most_flow, np.inf, np.inf], strict=True))
    result = linprog(cost, A_ub=rows, b_ub=np.concatenate(most), bounds=bounds)
    return float(result.fun if result.fun is not None else math.nan), result.status == 0


@laws
@given(units(), socs, anything)
def test_the_store_stays_between_reserve_and_full_and_power_within_its_limits(
    unit: StorageUnit, soc_frac: float, outlook: Outlook
) -> None:
    plan = plan_storage(unit, soc_frac, outlook)
    assert (plan.soc_frac >= min(unit.reserve_frac, soc_frac) - EPS).all()
    assert (plan.soc_frac <= 1 + EPS).all()
    assert (plan.power_w >= -unit.max_charge_w - EPS).all()
    assert (plan.power_w <= unit.max_discharge_w + EPS).all()


@laws
@given(units(), socs, anything)
def test_a_battery_under_its_reserve_charges_back_as_fast_as_the_limit_lets_it(
    unit: StorageUnit, soc_frac: float, outlook: Outlook
) -> None:
    plan = plan_storage(unit, soc_frac * unit.reserve_frac, outlook)
    now = soc_frac * unit.reserve_frac
    left_w = np.clip(outlook.limit_w - outlook.high_w, 0.0, unit.max_charge_w)
    for step, most_w in enumerate(left_w):
        now += most_w * math.sqrt(unit.round_trip_frac) * outlook.step_s / unit.capacity_j
        now = min(now, unit.reserve_frac)
        assert plan.soc_frac[step] >= now - 1e-5


@laws
@given(units(), socs, anything)
def test_energy_is_conserved_less_one_way_losses(unit: StorageUnit, soc_frac: float, outlook: Outlook) -> None:
    plan = plan_storage(unit, soc_frac, outlook)
    way = math.sqrt(unit.round_trip_frac)
    into_w = np.where(plan.power_w < 0, -plan.power_w * way, -plan.power_w / way)
    expected = soc_frac + np.cumsum(into_w) * outlook.step_s / unit.capacity_j
    np.testing.assert_allclose(plan.soc_frac, expected, atol=EPS)


@laws
@given(units(), socs, anything)
def test_the_battery_never_feeds_the_grid(unit: StorageUnit, soc_frac: float, outlook: Outlook) -> None:
    plan = plan_storage(unit, soc_frac, outlook)
    assert (plan.power_w <= outlook.draw_w + EPS).all()


@laws
@given(units(), socs, anything)
def test_charging_never_passes_the_limit_nor_adds_to_an_excess(
    unit: StorageUnit, soc_frac: float, outlook: Outlook
) -> None:
    plan = plan_storage(unit, soc_frac, outlook)
    left_w = np.maximum(outlook.limit_w - outlook.high_w, 0.0)
    assert (-plan.power_w <= left_w + EPS).all()


@laws
@given(units(), socs, anything)
def test_the_figures_are_those_of_the_schedule(unit: StorageUnit, soc_frac: float, outlook: Outlook) -> None:
    plan = plan_storage(unit, soc_frac, outlook)
    gained_kwh = (plan.soc_frac[-1] - soc_frac) * unit.capacity_j / 3.6e6
    assert math.isclose(plan.peak_w, window_peak_w(outlook, outlook.draw_w - plan.power_w), abs_tol=1e-3)
    assert math.isclose(plan.cost, bill(unit, outlook, plan.power_w, gained_kwh), rel_tol=1e-9, abs_tol=1e-6)
    assert math.isclose(plan.cost_idle, bill(unit, outlook, 0 * plan.power_w, 0.0), rel_tol=1e-9, abs_tol=1e-6)


@laws
@given(units(), socs, outlooks(cheapest=-0.5, tight=False))
def test_a_plan_never_costs_more_than_doing_nothing_even_under_negative_prices(
    unit: StorageUnit, soc_frac: float, outlook: Outlook
) -> None:
    assume(soc_frac >= unit.reserve_frac)
    plan = plan_storage(unit, soc_frac, outlook)
    assert plan.cost <= plan.cost_idle + 1e-6 * tie(unit, outlook) / TIE + 1e-6


@laws
@given(units(), socs, outlooks(tight=False), st.sampled_from([1.5, 4.0]))
def test_a_larger_battery_never_costs_more(unit: StorageUnit, soc_frac: float, outlook: Outlook, factor: float) -> None:
    assume(soc_frac >= unit.reserve_frac)
    larger = replace(
        unit,
        capacity_j=unit.capacity_j * factor,
        max_charge_w=unit.max_charge_w * factor,
        max_discharge_w=unit.max_discharge_w * factor,
    )
    small, large = plan_storage(unit, soc_frac, outlook), plan_storage(larger, soc_frac, outlook)
    assert large.cost <= small.cost + tie(larger, outlook)


@laws
@given(units(), socs, outlooks(tight=False))
def test_no_schedule_is_cheaper(unit: StorageUnit, soc_frac: float, outlook: Outlook) -> None:
    assume(soc_frac >= unit.reserve_frac)
    plan = plan_storage(unit, soc_frac, outlook)
    hours, price = outlook.step_s / 3600, outlook.price_per_kwh
    cost = np.concatenate([price * hours, (unit.wear_per_kwh - price) * hours, [outlook.demand_per_kw, -1.0]])
    best, feasible = reference(unit, soc_frac, outlook, cost)
    assert feasible
    fixed = float(price @ outlook.draw_w) / 1e3 * hours - outlook.demand_per_kw * outlook.peak_so_far_w / 1e3
    assert plan.cost <= best + fixed + tie(unit, outlook)


@laws
@given(units(), socs, anything)
def test_the_limit_is_met_whenever_any_schedule_could_meet_it(
    unit: StorageUnit, soc_frac: float, outlook: Outlook
) -> None:
    assume(soc_frac >= unit.reserve_frac)
    _, feasible = reference(unit, soc_frac, outlook, np.zeros(2 * len(outlook.draw_w) + 2))
    plan = plan_storage(unit, soc_frac, outlook)
    assert feasible == (not plan.short_w.any())
    assert bool(plan.note) == plan.short_w.any()


@laws
@given(units(), socs, anything, st.integers(-200, 200))
def test_the_hour_of_the_clock_does_not_matter_only_the_place_in_the_metering_window(
    unit: StorageUnit, soc_frac: float, outlook: Outlook, windows: int
) -> None:
    plan = plan_storage(unit, soc_frac, outlook)
    later = plan_storage(unit, soc_frac, replace(outlook, start_s=outlook.start_s + 900 * windows))
    np.testing.assert_array_equal(later.power_w, plan.power_w)
    assert (later.cost, later.peak_w, later.note) == (plan.cost, plan.peak_w, plan.note)


@laws
@given(units(), socs, anything, st.sampled_from([1e-3, 1e3]))
def test_a_rack_and_a_campus_get_the_same_plan(
    unit: StorageUnit, soc_frac: float, outlook: Outlook, factor: float
) -> None:
    scaled_unit = replace(
        unit,
        capacity_j=unit.capacity_j * factor,
        max_charge_w=unit.max_charge_w * factor,
        max_discharge_w=unit.max_discharge_w * factor,
    )
    scaled = replace(
        outlook,
        draw_w=outlook.draw_w * factor,
        high_w=outlook.high_w * factor,
        limit_w=outlook.limit_w * factor,
        peak_so_far_w=outlook.peak_so_far_w * factor,
    )
    plan, other = plan_storage(unit, soc_frac, outlook), plan_storage(scaled_unit, soc_frac, scaled)
    slack = tie(unit, outlook) + 1e-6 * abs(plan.cost)
    assert math.isclose(other.cost / factor, plan.cost, abs_tol=slack)
    np.testing.assert_allclose(other.short_w.sum() / factor, plan.short_w.sum(), atol=1.0)


@laws
@given(units(), socs, outlooks(tight=False), st.sampled_from([0.002, 0.02, 0.5]))
def test_readiness_costs_no_more_than_it_is_worth_and_holds_no_less_in_store(
    unit: StorageUnit, soc_frac: float, outlook: Outlook, ready_per_kwh_h: float
) -> None:
    assume(soc_frac >= unit.reserve_frac)
    careless = plan_storage(unit, soc_frac, outlook)
    ready = plan_storage(unit, soc_frac, replace(outlook, ready_per_kwh_h=ready_per_kwh_h))
    kwh_h = unit.capacity_j / 3.6e6 * outlook.step_s / 3600.0
    held = float((ready.soc_frac - careless.soc_frac).sum()) * kwh_h
    slack = tie(unit, outlook)
    assert ready.cost - careless.cost <= held * ready_per_kwh_h + slack
    assert held * ready_per_kwh_h >= -2 * slack


@laws
@given(units(), socs, outlooks(tight=False), st.sampled_from([900.0, 1800.0, 3600.0]), st.sampled_from([0.0, 300.0]))
def test_windows_are_as_long_and_as_late_as_the_meter_has_them(
    unit: StorageUnit, soc_frac: float, outlook: Outlook, window_s: float, offset_s: float
) -> None:
    outlook = replace(outlook, window_s=window_s, window_offset_s=offset_s)
    plan = plan_storage(unit, soc_frac, outlook)
    seconds = np.repeat(outlook.draw_w - plan.power_w, int(outlook.step_s))
    window = (np.arange(len(seconds)) + outlook.start_s - offset_s) // window_s
    highest_w = max(float(seconds[window == w].mean()) for w in np.unique(window))
    assert math.isclose(plan.peak_w, highest_w, abs_tol=1e-3)
