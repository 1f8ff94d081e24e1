"""Storage plans for days that a person can work out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wattlease.core.model import Floats, StorageUnit
from wattlease.core.storage_plan import Outlook, plan_storage

MIDNIGHT_S = 1_750_032_000.0
UNIT = StorageUnit("b1", 0, 400 * 3.6e6, 100e3, 100e3, reserve_frac=0.2)
"""400 kWh, 100 kW, of which 320 kWh may be used."""


def day(price: Floats | float = 0.1, draw_w: Floats | float = 300e3, **fields: Floats | float) -> Outlook:
    """24 hours in quarters of an hour, with room for the battery unless said otherwise."""
    columns = {"high_w": draw_w, "limit_w": 1e6, "energy_per_kwh": price, "carbon_per_kwh": 0.0, **fields}
    demand_per_kw, peak_so_far_w = columns.pop("demand_per_kw", 0.0), columns.pop("peak_so_far_w", 0.0)
    filled = {name: np.zeros(96) + value for name, value in columns.items()}
    return Outlook(
        MIDNIGHT_S,
        900.0,
        np.zeros(96) + draw_w,
        **filled,
        demand_per_kw=float(demand_per_kw),
        peak_so_far_w=float(peak_so_far_w),
    )


def hours(base: float, **spans: tuple[int, int, float]) -> Floats:
    """A column that is `base` but for spans of hours, each (from, to, value)."""
    column = np.full(96, base)
    for begin, end, value in spans.values():
        column[4 * begin : 4 * end] = value
    return column


def kwh(power_w: Floats) -> float:
    return float(power_w.sum()) / 4e3


def test_a_flat_price_leaves_the_battery_idle() -> None:
    plan = plan_storage(UNIT, 0.5, day())
    assert not plan.power_w.any()
    assert plan.cost == plan.cost_idle
    assert plan.note == ""


def test_two_prices_charge_it_cheap_and_discharge_it_dear() -> None:
    price = hours(0.15, night=(0, 6, 0.05), evening=(17, 21, 0.40))
    plan = plan_storage(UNIT, 0.2, day(price))
    assert kwh(-plan.power_w[:24]) == pytest.approx(320 / 0.88**0.5, rel=1e-4)
    assert kwh(plan.power_w[68:84]) == pytest.approx(320 * 0.88**0.5, rel=1e-4)
    assert not plan.power_w[24:68].any()
    assert plan.cost < plan.cost_idle


# Bought at 0.10: a kWh discharged costs 0.10 / 0.88 + 0.05 of wear = 0.1636.
@pytest.mark.parametrize(("dear", "moves"), [(0.160, False), (0.168, True)])
def test_it_moves_only_if_the_spread_beats_losses_and_wear(dear: float, moves: bool) -> None:
    plan = plan_storage(UNIT, 0.2, day(hours(0.10, evening=(17, 21, dear))))
    assert plan.power_w.any() == moves


def test_carbon_that_has_a_price_moves_it_like_energy() -> None:
    clean = hours(0.30, night=(0, 6, 0.0))
    assert plan_storage(UNIT, 0.2, day(carbon_per_kwh=clean)).power_w[:24].min() < 0


def test_among_equal_hours_it_charges_early_and_discharges_late() -> None:
    plan = plan_storage(UNIT, 0.2, day(hours(0.05, evening=(16, 24, 0.40))))
    assert np.flatnonzero(plan.power_w < 0).max() < 16
    assert np.flatnonzero(plan.power_w > 0).min() >= 96 - 13


def test_what_is_in_store_is_not_sold_because_the_horizon_ends() -> None:
    unworn = replace(UNIT, wear_per_kwh=0.0)
    assert plan_storage(unworn, 0.9, day(hours(0.10, night=(0, 6, 0.09)))).soc_frac[-1] == 0.9
    assert plan_storage(unworn, 0.9, day(hours(0.10, night=(0, 6, 0.08)))).soc_frac[-1] == pytest.approx(0.2)


def test_nothing_is_bought_for_a_day_that_nobody_has_forecast() -> None:
    assert not plan_storage(UNIT, 0.2, day(hours(0.30, last=(18, 24, 0.05)))).power_w.any()


def test_a_peak_of_an_hour_is_shaved_and_what_is_left_lowers_the_whole_day() -> None:
    draw_w = hours(300e3, peak=(14, 15, 390e3))
    plan = plan_storage(UNIT, 0.8, day(draw_w=draw_w, demand_per_kw=15.0))
    usable_kwh = 0.6 * 400 * 0.88**0.5
    height_w = 300e3 - (usable_kwh - 90) / 24 * 1e3
    np.testing.assert_allclose(draw_w - plan.power_w, height_w, rtol=1e-4)
    assert plan.peak_w == pytest.approx(height_w, rel=1e-4)


def test_a_peak_is_shaved_no_deeper_than_what_was_reached_already() -> None:
    draw_w = hours(300e3, peak=(14, 15, 390e3))
    plan = plan_storage(UNIT, 0.8, day(draw_w=draw_w, demand_per_kw=15.0, peak_so_far_w=310e3))
    np.testing.assert_allclose(plan.power_w[56:60], 80e3, rtol=1e-4)
    assert kwh(plan.power_w) == pytest.approx(80, rel=1e-4)
    # 80 kW less at 15 each; 80 kWh not bought at 0.1, bought back with losses, and worn at 0.05
    assert plan.cost_idle - plan.cost == pytest.approx(80 * 15 + 8 - 8 / 0.88 - 4, rel=1e-4)


def test_charging_never_makes_a_new_peak_that_costs_more_than_it_saves() -> None:
    price = hours(0.15, night=(0, 6, 0.05), evening=(17, 21, 0.40))
    plan = plan_storage(UNIT, 0.2, day(price, demand_per_kw=15.0, peak_so_far_w=310e3))
    assert plan.peak_w <= 310e3 + 1.0
    assert plan.power_w[:24].min() == pytest.approx(-10e3, rel=1e-3)


def test_a_peak_already_paid_for_is_not_shaved_again() -> None:
    draw_w = hours(300e3, peak=(14, 15, 390e3))
    plan = plan_storage(UNIT, 0.8, day(draw_w=draw_w, demand_per_kw=15.0, peak_so_far_w=400e3))
    assert not plan.power_w.any()


def test_steps_of_five_minutes_are_billed_by_their_quarter_of_an_hour() -> None:
    draw_w = np.tile([300e3, 300e3, 390e3], 32)
    outlook = replace(day(draw_w=draw_w, demand_per_kw=15.0), step_s=300.0)
    plan = plan_storage(UNIT, 0.2, outlook)
    assert not plan.power_w.any()
    assert plan.peak_w == pytest.approx(330e3)


def test_an_event_of_three_hours_at_three_quarters_is_covered() -> None:
    limit_w = hours(1e6, event=(16, 19, 225e3))
    plan = plan_storage(UNIT, 1.0, day(limit_w=limit_w))
    np.testing.assert_allclose(plan.power_w[64:76], 75e3, rtol=1e-5)
    assert not plan.short_w.any()
    assert plan.note == ""


def test_it_charges_before_an_event_even_at_a_high_price() -> None:
    price = hours(0.50, after=(19, 24, 0.05))
    plan = plan_storage(UNIT, 0.2, day(price, limit_w=hours(1e6, event=(16, 19, 225e3))))
    assert kwh(-plan.power_w[:64]) >= 225 / 0.88 - 0.1
    assert not plan.short_w.any()


def test_an_event_too_deep_is_covered_as_far_as_it_goes_evenly_and_says_so() -> None:
    plan = plan_storage(UNIT, 1.0, day(limit_w=hours(1e6, event=(12, 20, 225e3))))
    np.testing.assert_allclose(plan.short_w[48:80], plan.short_w[48], rtol=1e-3)
    assert plan.soc_frac[80] == pytest.approx(0.2, abs=1e-4)
    assert plan.note == "battery b1 leaves up to 37.5 kW over the limit, for 480 min"


def test_the_limit_is_held_at_p90_and_not_at_what_is_expected() -> None:
    high_w = hours(300e3, risk=(16, 17, 350e3))
    plan = plan_storage(UNIT, 0.8, day(high_w=high_w, limit_w=320e3))
    np.testing.assert_allclose(plan.power_w[64:68], 30e3, rtol=1e-5)


def test_under_its_reserve_it_charges_back_at_once_and_says_so() -> None:
    plan = plan_storage(UNIT, 0.1, day(limit_w=350e3))
    assert plan.power_w[0] == -50e3
    assert plan.soc_frac[3] == pytest.approx(0.2, abs=1e-9)
    assert plan.note == "battery b1 is under its reserve of 20% and charges back first"


def test_under_its_reserve_it_gives_nothing_even_to_an_excess() -> None:
    plan = plan_storage(UNIT, 0.1, day(limit_w=hours(250e3, night=(20, 24, 350e3))))
    assert not plan.power_w[:80].any()
    assert plan.power_w[80] < 0


def test_a_negative_price_fills_it_and_burns_nothing() -> None:
    price = hours(0.10, noon=(11, 15, -0.05), evening=(18, 21, 0.30))
    plan = plan_storage(UNIT, 0.6, day(price))
    assert (plan.power_w[44:60] <= 0).all()
    assert plan.soc_frac[59] == pytest.approx(1.0, abs=1e-5)
    assert plan.cost < plan.cost_idle


def test_a_full_battery_under_a_lasting_negative_price_stays_full() -> None:
    plan = plan_storage(UNIT, 1.0, day(-0.05))
    assert not plan.power_w.any()


def test_a_battery_that_may_not_be_used_stays_idle() -> None:
    away = replace(UNIT, max_charge_w=0.0, max_discharge_w=0.0)
    plan = plan_storage(away, 0.5, day(hours(0.1, evening=(17, 21, 0.4))))
    assert not plan.power_w.any()
    assert plan.note == "battery b1 is not available"


@pytest.mark.parametrize("column", ["draw_w", "high_w", "limit_w", "energy_per_kwh"])
def test_an_outlook_with_a_gap_is_an_idle_plan_with_a_note(column: str) -> None:
    gap = hours(300e3, gap=(3, 4, np.nan))
    outlook = day(**{column: gap})
    plan = plan_storage(UNIT, 0.5, outlook)
    assert not plan.power_w.any()
    assert plan.note == "battery b1 stays idle: a draw, a price or a limit ahead is not known"


def test_an_unknown_state_of_charge_is_an_idle_plan_with_a_note() -> None:
    plan = plan_storage(UNIT, float("nan"), day())
    assert not plan.power_w.any()
    assert plan.note == "battery b1 stays idle: its state of charge is not known"


def test_a_solver_that_fails_is_an_idle_plan_with_its_message() -> None:
    plan = plan_storage(replace(UNIT, round_trip_frac=1e-300), 0.5, day(hours(0.1, evening=(17, 21, 0.4))))
    assert not plan.power_w.any()
    assert plan.note.startswith("battery b1 stays idle: ")


def test_a_limit_that_is_not_known_to_end_may_be_infinite() -> None:
    price = hours(0.15, night=(0, 6, 0.05), evening=(17, 21, 0.40))
    endless = plan_storage(UNIT, 0.2, day(price, limit_w=np.inf))
    np.testing.assert_array_equal(endless.power_w, plan_storage(UNIT, 0.2, day(price)).power_w)


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one value for each step.*\[96, 95, 96, 96, 96\]"):
        replace(day(), high_w=np.zeros(95))


def test_a_set_point_holds_for_its_step_and_outside_the_plan_there_is_none() -> None:
    plan = plan_storage(UNIT, 1.0, day(limit_w=hours(1e6, event=(16, 19, 225e3))))
    assert plan.at(MIDNIGHT_S + 16 * 3600) == plan.at(MIDNIGHT_S + 16 * 3600 + 899) == pytest.approx(75e3)
    assert plan.at(MIDNIGHT_S + 16 * 3600 - 1) == 0.0
    assert plan.at(MIDNIGHT_S - 1) == plan.at(MIDNIGHT_S + 24 * 3600) == 0.0
