"""What every tick keeps of the month's peak and of the converters' limits, whatever is planned and drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.actions import Charge, Discharge
from wattlease.core.api import PowerBudget
from wattlease.core.decide import decide
from wattlease.core.limits import LimitsMemory, ScopeMemory, help_w
from wattlease.core.limits_memory import NO_WINDOW
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import NO_PRICES, Forecast, Peak, Prices, Snapshot, Storage, StorageUnit
from wattlease.core.peak_guard import SURE_FRAC, guarded_w, level_w, peak_w
from wattlease.core.storage_plan import StoragePlan
from wattlease.core.tick import assess
from wattlease.sim import instances
from wattlease.sim.instances import Shape

PACK = StorageUnit("pack", 0, 3.6e7, 5e3, 5e3, reserve_frac=0.2, fade_frac=0.1)
WINDOW_S = 900.0
QUIET = Peak(0, 0.0, 1.0)
"""Nothing was drawn yet, and next to nothing in the month before."""

laws = settings(max_examples=60, deadline=None)
watts = st.floats(-5e3, 5e3)


def site(soc_frac: float = 0.8, soh_frac: float = 1.0, charged: bool = True, target_frac: float = 1.0) -> Snapshot:
    """A site far under its limit that pays 15 for each kW of its month's peak, with a part of its limit as target."""
    snapshot = instances.snapshot(np.random.default_rng(9), Shape(running=4, sizes=(8,), limit_frac=2.0))
    scope = snapshot.site.scopes[0]
    spec = scope.budget.model_dump(by_alias=True, exclude_none=True)
    if charged:
        spec["spec"]["demandCharge"] = {
            "targetWatts": round(target_frac * scope.budget.spec.limit_watts), "pricePerKilowatt": 15.0,
        }  # fmt: skip
    scopes = (replace(scope, budget=PowerBudget.model_validate(spec)), *snapshot.site.scopes[1:])
    return replace(
        snapshot,
        site=replace(snapshot.site, scopes=scopes, storages=(PACK,)),
        storages=(Storage(soc_frac, soh_frac, 0.0, 1.0, True),),
        peaks=(QUIET,),
    )


def planned(now_s: float, power_w: float, level_w: float) -> StoragePlan:
    """The same power all day, for a peak of this level."""
    flat = np.full(96, power_w)
    return StoragePlan(now_s - 1800.0, 900.0, flat, np.full(96, 0.5), 0.0 * flat, level_w, 0.0, 0.0)


def opened(snapshot: Snapshot, passed_s: float, mean_w: float) -> Snapshot:
    """In a metering window that is open for some time and was drawn at this mean."""
    return replace(snapshot, peaks=(Peak(0, 0.0, 1.0, snapshot.now_s - passed_s, passed_s, mean_w),))


def remembered(snapshot: Snapshot, power_w: float, level_w: float) -> Memory:
    """A plan of the same power throughout, for a peak of this level."""
    row = ScopeMemory("s", snapshot.now_s, NO_WINDOW, 0.0, 0.0, 0.0)
    rows = tuple(replace(row, scope=scope.id) for scope in snapshot.site.scopes)
    plan = planned(snapshot.now_s, power_w, level_w)
    return replace(
        FRESH, storage_plans=(plan,), storage_planned_s=snapshot.now_s, limits=LimitsMemory(rows), now_s=snapshot.now_s
    )


@laws
@given(watts, st.floats(0, 4e4), st.floats(1e3, 4e4), st.floats(0, 899), st.floats(0, 4e4), st.floats(0, 5e3))
def test_a_guarded_order_is_between_the_plan_and_what_can_be_sustained(
    power_w: float, load_w: float, level_w: float, passed_s: float, mean_w: float, most_w: float
) -> None:
    snapshot = opened(site(), passed_s, mean_w)
    memory = remembered(snapshot, power_w, level_w)
    load = np.full(len(snapshot.site.scopes), load_w)
    (order_w,) = guarded_w(snapshot, load, np.array([power_w]), np.array([most_w]), memory).tolist()
    assert power_w <= order_w <= max(power_w, most_w)


@laws
@given(watts, st.floats(0, 4e4), st.floats(1e3, 4e4), st.floats(0, 890), st.floats(0.5, 1.2))
def test_where_the_battery_suffices_the_window_keeps_its_level(
    power_w: float, load_w: float, level_w: float, passed_s: float, drawn_frac: float
) -> None:
    mean_w = level_w * drawn_frac
    snapshot = opened(site(), passed_s, mean_w)
    memory = remembered(snapshot, power_w, level_w)
    load = np.full(len(snapshot.site.scopes), load_w)
    (order_w,) = guarded_w(snapshot, load, np.array([power_w]), np.array([5e3]), memory).tolist()
    drawn_w = (mean_w * passed_s + (load_w - order_w) * (WINDOW_S - passed_s)) / WINDOW_S
    owed = mean_w * passed_s + 0.5 * level_w * (WINDOW_S - passed_s) > level_w * WINDOW_S
    assert drawn_w <= level_w * (1 + 1e-9) or order_w == pytest.approx(max(power_w, 5e3)) or owed


@laws
@given(watts, st.floats(0, 4e4), st.floats(0, 890), st.floats(0.1, 1.0))
def test_a_draw_that_keeps_the_level_leaves_the_plan_alone(
    power_w: float, load_w: float, passed_s: float, drawn_frac: float
) -> None:
    level_w = max(load_w - power_w, 1.0)
    snapshot = opened(site(), passed_s, level_w * drawn_frac)
    memory = remembered(snapshot, power_w, level_w)
    load = np.full(len(snapshot.site.scopes), load_w)
    (order_w,) = guarded_w(snapshot, load, np.array([power_w]), np.array([5e3]), memory).tolist()
    assert order_w == pytest.approx(power_w, abs=1e-3)


@pytest.mark.parametrize("window", [(0.0, 0.0), (2000.0, 2e4), (-60.0, 2e4)])
def test_what_is_not_known_of_a_window_asks_nothing_of_the_store(window: tuple[float, float]) -> None:
    snapshot, level = opened(site(), *window), 1e4
    load = np.full(len(snapshot.site.scopes), level - 1.0)
    memory = remembered(snapshot, 0.0, level)
    assert guarded_w(snapshot, load, np.zeros(1), np.array([5e3]), memory).tolist() == [0.0]
    bare = replace(snapshot, peaks=())
    assert guarded_w(bare, load, np.zeros(1), np.array([5e3]), memory).tolist() == [0.0]


@pytest.mark.parametrize("charged", [True, False])
def test_only_a_peak_that_costs_is_guarded(charged: bool) -> None:
    snapshot = site(charged=charged)
    draw_w = float(assess(snapshot, FRESH)[0].known.draw_w[0])
    plan, _ = decide(snapshot, remembered(snapshot, -2e3, draw_w - 1e3))
    (order,) = (a for a in plan.actions if isinstance(a, Charge | Discharge))
    assert isinstance(order, Discharge if charged else Charge)
    assert order.power_w == pytest.approx(1e3 if charged else 2e3, abs=1.0)


def test_a_plan_that_knows_no_level_guards_nothing() -> None:
    snapshot = site()
    memory = remembered(snapshot, 0.0, math.nan)
    load = np.full(len(snapshot.site.scopes), 1e6)
    assert guarded_w(snapshot, load, np.zeros(1), np.array([5e3]), memory).tolist() == [0.0]


@pytest.mark.parametrize("told_w", [None, 0.0, 7e4])
def test_the_books_of_the_site_know_the_month_better_than_this_process(told_w: float | None) -> None:
    snapshot = replace(site(), peaks=() if told_w is None else (Peak(0, told_w),))
    memory = remembered(snapshot, 0.0, 0.0)
    rows = tuple(replace(row, peak_w=5e4) for row in memory.limits.scopes)
    memory = replace(memory, limits=LimitsMemory(rows))
    assert peak_w(snapshot, 0, memory) == (5e4 if told_w is None else told_w)


def test_a_month_is_not_shaved_far_below_the_one_before() -> None:
    snapshot = site()
    memory = remembered(snapshot, 0.0, 5e3)
    assert level_w(snapshot, 0, [0], memory) == 5e3
    assert level_w(replace(snapshot, peaks=(Peak(0, 3e3, 1e4),)), 0, [0], memory) == SURE_FRAC * 1e4
    assert level_w(replace(snapshot, peaks=(Peak(0, 9e3, 1e4),)), 0, [0], memory) == 9e3


@pytest.mark.parametrize("peaks", [(), (Peak(0, 3e3),)])
def test_while_no_month_before_is_known_a_month_is_not_shaved_far_below_its_target(peaks: tuple[Peak, ...]) -> None:
    snapshot = replace(site(target_frac=0.9), peaks=peaks)
    charge = snapshot.site.scopes[0].budget.spec.demand_charge
    assert charge is not None
    assert level_w(snapshot, 0, [0], remembered(snapshot, 0.0, 5e3)) == SURE_FRAC * charge.target_watts


def test_a_target_no_lower_than_the_limit_tells_nothing_of_the_month() -> None:
    snapshot = replace(site(), peaks=())
    assert level_w(snapshot, 0, [0], remembered(snapshot, 0.0, 5e3)) == 5e3


def foreseen(snapshot: Snapshot) -> tuple[Snapshot, float]:
    """With a day foreseen that draws a fifth more for three quarters of an hour, and what it draws for the rest."""
    draw_w = float(assess(snapshot, FRESH)[0].known.draw_w[0])
    at_s = snapshot.now_s + 900.0 * np.arange(96.0)
    day_w = np.where((np.arange(96) > 8) & (np.arange(96) < 12), 1.2 * draw_w, draw_w)
    return replace(snapshot, forecasts=(Forecast(0, at_s, day_w, day_w),), prices=NO_PRICES), draw_w


def test_a_store_is_not_spent_on_the_small_peaks_of_a_first_day() -> None:
    known, _ = foreseen(replace(site(target_frac=0.9), peaks=()))
    (plan,) = assess(known, FRESH)[1].storage_plans
    assert plan.power_w.max() < 1.0


def test_a_peak_that_is_paid_for_already_is_not_shaved_again() -> None:
    known, draw_w = foreseen(site())
    (plan,) = assess(known, FRESH)[1].storage_plans
    (paid,) = assess(replace(known, peaks=(Peak(0, 1.3 * draw_w),)), FRESH)[1].storage_plans
    assert plan.power_w.max() > 500.0
    assert plan.peak_w < 1.2 * draw_w
    assert paid.power_w.max() < 1.0


@laws
@given(st.floats(0, 9e3), st.floats(0, 9e3), st.floats(0, 1), st.floats(0, 1.2), st.integers(0, 9))
def test_what_the_converter_allows_bounds_plan_and_order_and_the_reserve_stays(
    charge_w: float, discharge_w: float, soc_frac: float, soh_frac: float, seed: int
) -> None:
    snapshot, chance = site(soc_frac, soh_frac), np.random.default_rng(seed)
    state = replace(snapshot.storages[0], max_charge_w=charge_w, max_discharge_w=discharge_w)
    price = Prices(snapshot.now_s + 3600.0 * np.arange(24.0), chance.uniform(0, 1, 24), np.zeros(24))
    snapshot = replace(snapshot, storages=(state,), prices=price)
    given, memory = decide(snapshot, FRESH)
    (plan,) = memory.storage_plans
    assert -min(charge_w, 5e3) - 1e-6 <= plan.power_w.min() <= plan.power_w.max() <= min(discharge_w, 5e3) + 1e-6
    assert (plan.soc_frac >= min(soc_frac, PACK.reserve_frac) - 1e-9).all()
    (order,) = (a for a in given.actions if isinstance(a, Charge | Discharge))
    most_w = help_w(PACK, state) if isinstance(order, Discharge) else min(charge_w, 5e3)
    assert 0.0 <= order.power_w <= most_w + 1e-6
    if isinstance(order, Discharge) and soc_frac <= PACK.reserve_frac:
        assert order.power_w == 0.0


def test_a_converter_that_allows_less_since_the_plan_was_made_is_not_asked_for_more() -> None:
    snapshot = site()
    memory = remembered(snapshot, -4e3, 1e6)
    state = replace(snapshot.storages[0], max_charge_w=1.5e3)
    plan, _ = decide(replace(snapshot, storages=(state,)), memory)
    (order,) = (a for a in plan.actions if isinstance(a, Charge | Discharge))
    assert order == Charge("pack", 1.5e3)
