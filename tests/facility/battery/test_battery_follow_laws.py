"""Laws of the fast path: whatever batteries, feeds and plans there are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.limits import help_w
from wattlease.core.model import NONE, Storage, StorageUnit
from wattlease.facility.battery.follow import HAND_BACK_S, Columns, Load, orders, way_up

EPS_W = 1e-6
PARENTS = (NONE, 0, 0, 1)
POWER = st.floats(0.0, 1e6)
FEW = settings(max_examples=150, deadline=None)


@st.composite
def batteries(draw: st.DrawFn) -> Columns:
    n = draw(st.integers(1, 4))
    most, full = [draw(POWER) for _ in range(n)], [draw(POWER) for _ in range(n)]

    def column(values: st.SearchStrategy[float]) -> np.ndarray:
        return np.array([draw(values) for _ in range(n)])

    return Columns(
        scope=tuple(draw(st.integers(0, 3)) for _ in range(n)),
        least_w=-column(POWER),
        most_w=np.array(most),
        planned_w=column(st.floats(-2e6, 2e6)),
        was_w=column(st.floats(-1e6, 1e6)),
        helped_w=column(st.one_of(st.just(0.0), POWER)),
        ramp_w_per_s=column(st.one_of(st.just(math.inf), POWER)),
        full_w=np.array(full),
    )


@st.composite
def feeds(draw: st.DrawFn) -> list[Load]:
    scopes = draw(st.lists(st.integers(0, 3), unique=True, max_size=4))
    return [Load(s, draw(st.floats(-1e6, 3e6)), draw(st.floats(0, 3e6)), draw(POWER)) for s in scopes]


DT_S = st.floats(0.0, 5.0)


def under(columns: Columns, scope: int) -> np.ndarray:
    return np.array([scope in way_up(s, PARENTS) for s in columns.scope])


@FEW
@given(batteries(), feeds(), DT_S)
def test_no_order_is_beyond_what_a_battery_may_do_now(columns: Columns, loads: list[Load], dt_s: float) -> None:
    power_w = orders(columns, loads, PARENTS, dt_s)
    assert (power_w <= columns.most_w + EPS_W).all()
    assert (power_w >= columns.least_w - EPS_W).all()


@FEW
@given(batteries(), feeds(), DT_S)
def test_nothing_charges_while_its_feed_is_over(columns: Columns, loads: list[Load], dt_s: float) -> None:
    power_w = orders(columns, loads, PARENTS, dt_s)
    for load in loads:
        if load.feed_w > load.limit_w:
            assert (power_w[under(columns, load.scope)] >= -EPS_W).all()


@FEW
@given(batteries(), feeds())
def test_charging_takes_no_more_than_the_limit_leaves(columns: Columns, loads: list[Load]) -> None:
    power_w = orders(columns, loads, PARENTS, 1.0)
    for load in loads:
        mine = power_w[under(columns, load.scope)]
        if (mine < -EPS_W).any() and (mine <= EPS_W).all():  # all of them charge
            assert load.load_w - mine.sum() <= load.limit_w + 1e-3


def test_nothing_charges_on_what_a_battery_below_was_planned_to_give_and_may_not_feed_back() -> None:
    nothing, watt = np.zeros(2), np.ones(2)
    columns = Columns(
        scope=(0, 1), least_w=-watt, most_w=watt, planned_w=np.array([-1.0, 1.0]), was_w=np.array([-1.0, 1.0]),
        helped_w=nothing, ramp_w_per_s=watt * math.inf, full_w=watt,
    )  # fmt: skip
    idle = [Load(scope, 0.0, 0.0, 0.0) for scope in (0, 1)]
    assert (orders(columns, idle, PARENTS, 1.0) == 0.0).all()


@FEW
@given(batteries(), feeds().filter(lambda loads: len(loads) == 1))
def test_what_is_missing_is_covered_as_far_as_batteries_can(columns: Columns, loads: list[Load]) -> None:
    columns, (load,) = replace(columns, ramp_w_per_s=np.full(len(columns.scope), math.inf)), loads
    mine = under(columns, load.scope)
    left_w = load.load_w - orders(columns, loads, PARENTS, 1.0)[mine].sum()
    possible_w = load.load_w - columns.most_w[mine].sum()
    assert left_w <= max(load.limit_w, possible_w) + 1e-3


@FEW
@given(batteries(), feeds(), DT_S)
def test_batteries_never_feed_more_than_their_scope_draws(columns: Columns, loads: list[Load], dt_s: float) -> None:
    power_w = orders(columns, loads, PARENTS, dt_s)
    for load in loads:
        mine = under(columns, load.scope)
        assert power_w[mine].sum() <= max(load.load_w, 0.0) + 1e-3


@FEW
@given(batteries())
def test_with_nothing_missing_and_no_help_left_orders_are_the_plans(columns: Columns) -> None:
    n = len(columns.scope)
    columns = replace(columns, helped_w=np.zeros(n), ramp_w_per_s=np.full(n, math.inf))
    asked_w = np.clip(columns.planned_w, columns.least_w, columns.most_w)
    assert np.allclose(orders(columns, [], PARENTS, 1.0), asked_w)


@FEW
@given(batteries(), DT_S)
def test_with_nothing_missing_no_order_rises_above_the_plan(columns: Columns, dt_s: float) -> None:
    """Whatever was helped before, and however the plan changes meanwhile."""
    most_w = np.maximum(np.maximum(columns.planned_w, columns.was_w), 0.0)
    assert (orders(columns, [], PARENTS, dt_s) <= most_w + EPS_W).all()


@FEW
@given(batteries(), feeds(), st.floats(1e-9, 1.0))
def test_orders_change_no_more_than_what_a_battery_may_give(
    columns: Columns, loads: list[Load], less_frac: float
) -> None:
    """Continuity: a battery that may give a little less moves the sum by no more than that, so that nothing jumps."""
    less_w = columns.most_w[0] * less_frac
    lower = replace(columns, most_w=columns.most_w - np.eye(len(columns.scope))[0] * less_w)
    before_w, after_w = (orders(c, loads, PARENTS, 1.0).sum() for c in (columns, lower))
    assert abs(before_w - after_w) <= 4 * less_w + 1e-3


@FEW
@given(batteries(), feeds(), st.randoms(use_true_random=False))
def test_the_order_of_scopes_told_does_not_matter(columns: Columns, loads: list[Load], chance: object) -> None:
    shuffled = list(loads)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert np.allclose(orders(columns, loads, PARENTS, 1.0), orders(columns, shuffled, PARENTS, 1.0))


@settings(max_examples=25, deadline=None)
@given(
    soc_frac=st.floats(0.15, 1.0),
    reserve_frac=st.floats(0.0, 0.5),
    loads_w=st.lists(st.floats(0.0, 3e5), min_size=1, max_size=6),
    limit_w=st.floats(0.0, 2e5),
    planned_w=st.floats(-1e5, 1e5),
)
def test_a_day_of_help_never_reaches_below_the_reserve(
    soc_frac: float, reserve_frac: float, loads_w: list[float], limit_w: float, planned_w: float
) -> None:
    unit = StorageUnit("pack", 0, 1e7, 5e4, 1e5, reserve_frac)
    start_frac, was_w, helped_w, given_w = soc_frac, 0.0, 0.0, 0.0
    for second in range(600):
        load_w = loads_w[second // 100 % len(loads_w)]
        most_w = help_w(unit, Storage(soc_frac, 1.0, was_w, 0.0, True))
        columns = Columns(
            (0,), np.array([-5e4]), np.array([most_w]), np.array([planned_w]), np.array([was_w]), np.array([helped_w]),
            np.array([math.inf]), np.array([1e5]),
        )  # fmt: skip
        given_w = float(orders(columns, [Load(0, load_w - was_w, load_w, limit_w)], (NONE,), 1.0)[0])
        was_w, helped_w = given_w, max(0.0, given_w - planned_w)
        way_frac = math.sqrt(unit.round_trip_frac)
        cells_w = given_w / way_frac if given_w > 0 else given_w * way_frac
        soc_frac = min(1.0, soc_frac - cells_w / unit.capacity_j)
        assert soc_frac >= min(start_frac, reserve_frac) - 1e-9


def test_help_is_handed_back_over_a_minute_and_in_even_steps() -> None:
    one = np.ones(1)
    columns = Columns((0,), -one, 100 * one, 0 * one, 100 * one, 100 * one, math.inf * one, 100 * one)
    orders_w = []
    for _ in range(int(HAND_BACK_S) + 5):
        power_w = orders(columns, [Load(0, 50.0, 200.0, 1000.0)], (NONE,), 1.0)
        columns = replace(columns, was_w=power_w, helped_w=power_w)
        orders_w.append(float(power_w[0]))
    steps_w = -np.diff([100.0, *orders_w])
    assert orders_w[-1] == 0.0
    assert steps_w.max() <= 100.0 / HAND_BACK_S + EPS_W


def test_batteries_that_charge_stop_before_others_discharge() -> None:
    columns = Columns(
        (0, 0), np.full(2, -100.0), np.full(2, 100.0), np.array([-80.0, 0.0]), np.zeros(2), np.zeros(2),
        np.full(2, math.inf), np.full(2, 100.0),
    )  # fmt: skip
    assert np.allclose(orders(columns, [Load(0, 100.0, 60.0, 100.0)], (NONE,), 1.0), [-40.0, 0.0])
    assert np.allclose(orders(columns, [Load(0, 200.0, 120.0, 100.0)], (NONE,), 1.0), [10.0, 10.0])


def test_a_battery_helps_its_own_scope_and_all_above_it() -> None:
    columns = Columns(
        (1, 2), np.full(2, -100.0), np.full(2, 100.0), np.zeros(2), np.zeros(2), np.zeros(2),
        np.full(2, math.inf), np.full(2, 100.0),
    )  # fmt: skip
    power_w = orders(columns, [Load(1, 130.0, 130.0, 100.0), Load(0, 500.0, 500.0, 400.0)], (NONE, 0, 0), 1.0)
    assert power_w.sum() == 100.0
    assert power_w[0] > power_w[1] > 0.0
    assert orders(columns, [Load(1, 130.0, 130.0, 100.0)], (NONE, 0, 0), 1.0).tolist() == [30.0, 0.0]
