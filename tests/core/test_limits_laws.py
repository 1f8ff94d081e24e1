"""The laws of limits: the lowest wins, nothing added ever raises it, and whoever obeys it is safe."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.api import Metadata, PowerBudget, PowerBudgetSpec
from wattlease.core.limits import AHEAD_S, Bound, LimitsMemory, ScopeMemory, bounds, help_w
from wattlease.core.limits_memory import WARM_FRAC
from wattlease.core.limits_sources import BURST_FRAC, DIP_FRAC
from wattlease.core.model import (
    NONE,
    GpuReadings,
    Gpus,
    Jobs,
    NodeReadings,
    Nodes,
    Scope,
    Site,
    Snapshot,
    Storage,
    StorageUnit,
    Window,
)

NOW_S = 1_800_000_000.0  # a multiple of 900
F = np.empty(0)
I = np.empty(0, np.int64)  # noqa: E741
TRIP = [{"overPercent": 10, "seconds": 3600}, {"overPercent": 25, "seconds": 600}, {"overPercent": 60, "seconds": 20}]


def scope(name: str = "hall", parent: int = NONE, **spec: Any) -> Scope:
    fields = {"limitWatts": 1000, **spec}
    whole = PowerBudget(metadata=Metadata(name=name), spec=PowerBudgetSpec.model_validate(fields))
    return Scope(name, parent, whole)


def snapshot(
    *scopes: Scope,
    now_s: float = NOW_S,
    windows: tuple[Window, ...] = (),
    storages: tuple[tuple[StorageUnit, Storage], ...] = (),
) -> Snapshot:
    site = Site(
        name="site",
        scopes=scopes,
        models=(),
        nodes=Nodes((), I, (), F, F, F),
        gpus=Gpus(I, I, F, F),
        terms=(),
        storages=tuple(unit for unit, _ in storages),
    )
    return Snapshot(
        now_s=now_s,
        site=site,
        gpus=GpuReadings(F, F, F, I),
        nodes=NodeReadings(F, F, F),
        jobs=Jobs((), (), (), (), I, I, I, I, I, F, F, F, F, F, F, I),
        storages=tuple(state for _, state in storages),
        windows=windows,
    )


def looked_at(snap: Snapshot, memory: LimitsMemory | None = None, draw_w: float = 500.0) -> tuple[Bound, ...]:
    found, _ = bounds(snap, np.full(len(snap.site.scopes), draw_w), memory or LimitsMemory())
    return found


def remembered(**row: float) -> LimitsMemory:
    fields = {"last_s": NOW_S, "window_start_s": NOW_S, "energy_j": 0.0, "peak_w": 0.0, "heat_frac": 0.0}
    return LimitsMemory((ScopeMemory("hall", **{**fields, **row}),))


def battery(**unit: float) -> StorageUnit:
    return replace(StorageUnit("b", 0, 3.6e6, 400.0, 400.0, 0.2), **unit)


def charged(soc_frac: float, **state: Any) -> Storage:
    return replace(Storage(soc_frac, 1.0, 0.0, 1.0, True), **state)


some_windows = st.lists(
    st.builds(
        lambda source, name, start, length, limit, ramp: Window(
            0, source, name, NOW_S + start, NOW_S + start + length, float(limit), float(min(ramp, length))
        ),
        st.sampled_from(["schedule", "event", "thermal"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(-4000, 90_000),
        st.integers(1, 8000),
        st.integers(100, 1500),
        st.integers(0, 3000),
    ),
    max_size=6,
)

some_spec = st.fixed_dictionaries(
    {},
    optional={
        "breaker": st.sampled_from([{"ratedWatts": 900}, {"ratedWatts": 700, "tripCurve": TRIP}]),
        "redundancy": st.just({"feeds": [{"name": n, "ratedWatts": 450} for n in ("a", "b", "c")]}),
        "demandCharge": st.sampled_from([{"targetWatts": 800}, {"targetWatts": 300, "windowSeconds": 300}]),
    },
)


# --- the lowest wins ---


@given(some_spec, some_windows)
def test_the_lowest_wins_and_the_losers_are_all_the_others(spec: dict[str, Any], windows: list[Window]) -> None:
    (bound,) = looked_at(snapshot(scope(**spec), windows=tuple(windows)))
    everyone = (bound.binding, *bound.losers)
    assert bound.limit_w == bound.binding.limit_w == min(x.limit_w for x in everyone)
    active = {w.source for w in windows if w.start_s <= NOW_S < w.end_s}
    assert {x.source for x in everyone} == {"static", *spec, *active}
    assert len(everyone) == 1 + len(spec) + len(active)


@given(some_spec, some_windows, some_windows)
def test_another_window_never_raises_the_limit(spec: dict[str, Any], some: list[Window], more: list[Window]) -> None:
    (few,) = looked_at(snapshot(scope(**spec), windows=tuple(some)))
    (many,) = looked_at(snapshot(scope(**spec), windows=(*some, *more)))
    assert many.limit_w <= few.limit_w + 1e-9
    assert np.all(many.ahead_w <= few.ahead_w + 1e-9)


@given(some_spec, some_windows, st.integers(0, 2))
def test_another_source_in_the_budget_never_raises_the_limit(
    spec: dict[str, Any], windows: list[Window], drop: int
) -> None:
    fewer = {k: v for i, (k, v) in enumerate(sorted(spec.items())) if i != drop}
    (few,) = looked_at(snapshot(scope(**fewer), windows=tuple(windows)))
    (many,) = looked_at(snapshot(scope(**spec), windows=tuple(windows)))
    assert many.limit_w <= few.limit_w + 1e-9
    assert np.all(many.ahead_w <= few.ahead_w + 1e-9)


@given(some_spec, some_windows, st.randoms(use_true_random=False))
def test_the_order_of_windows_does_not_matter(spec: dict[str, Any], windows: list[Window], chance: Any) -> None:
    (one,) = looked_at(snapshot(scope(**spec), windows=tuple(windows)))
    chance.shuffle(windows)
    (other,) = looked_at(snapshot(scope(**spec), windows=tuple(windows)))
    assert (one.binding, one.losers, one.shortage_s) == (other.binding, other.losers, other.shortage_s)
    assert np.array_equal(one.ahead_w, other.ahead_w)


@given(some_spec, some_windows)
def test_the_horizon_begins_with_the_limit_of_now(spec: dict[str, Any], windows: list[Window]) -> None:
    (bound,) = looked_at(snapshot(scope(**spec), windows=tuple(windows)))
    assert bound.ahead_w[0] == bound.limit_w
    assert np.array_equal(bound.ahead_t_s, NOW_S + AHEAD_S)
    assert np.all(np.diff(bound.ahead_t_s) > 0)


@given(some_windows, st.integers(0, AHEAD_S.size - 1))
def test_what_the_horizon_promises_holds_when_the_time_comes(windows: list[Window], step: int) -> None:
    (now,) = looked_at(snapshot(scope(), windows=tuple(windows)))
    (then,) = looked_at(snapshot(scope(), windows=tuple(windows), now_s=NOW_S + AHEAD_S[step]))
    assert then.limit_w >= now.ahead_w[step] - 1e-6


@given(some_windows)
def test_no_window_is_too_short_for_the_horizon(windows: list[Window]) -> None:
    (bound,) = looked_at(snapshot(scope(), windows=tuple(windows)))
    for w in windows:
        if w.end_s > NOW_S and w.start_s <= NOW_S + 86_400:
            near = bound.ahead_w[(bound.ahead_t_s >= w.start_s)]
            assert w.ramp_s > 0 or near[0] <= w.limit_w + 1e-9


# --- nested scopes ---


@given(some_spec, some_spec, some_windows)
def test_a_child_never_passes_its_parent_and_a_parent_keeps_its_own(
    above: dict[str, Any], below: dict[str, Any], windows: list[Window]
) -> None:
    (alone,) = looked_at(snapshot(scope(**above), windows=tuple(windows)))
    parent, child = looked_at(snapshot(scope(**above), scope("rack", 0, **below), windows=tuple(windows)))
    assert parent.limit_w == alone.limit_w
    assert child.limit_w <= parent.limit_w
    assert np.all(child.ahead_w <= parent.ahead_w)
    if child.binding.scope == 0:
        assert child.binding == parent.binding
        assert child.shortage_s == parent.shortage_s


def test_a_parents_battery_helps_its_children_too() -> None:
    snap = snapshot(scope(), scope("rack", 0, limitWatts=1300), storages=((battery(), charged(0.9)),))
    parent, child = looked_at(snap)
    assert parent.storage_w == 400.0
    assert child.limit_w == 1300.0
    assert np.all(child.ahead_w == 1300.0)
    assert child.storage_w == 0.0


# --- ramps ---


@given(st.integers(0, 3000), st.integers(100, 999), st.floats(0, 3500))
def test_a_ramp_is_a_straight_line_without_a_step(ramp_s: int, limit_w: int, passed_s: float) -> None:
    window = Window(0, "event", "e", NOW_S, NOW_S + 4000, float(limit_w), float(ramp_s))

    def at(t_s: float) -> float:
        return looked_at(snapshot(scope(), windows=(window,), now_s=NOW_S + t_s))[0].limit_w

    steepness = (1000 - limit_w) / max(ramp_s, 1)
    assert at(-0.001) == 1000.0
    assert at(passed_s) == pytest.approx(max(limit_w, 1000 - steepness * passed_s) if ramp_s else limit_w)
    if ramp_s:
        step_s = 0.01 + 1e-6  # a float tells unix seconds apart to a quarter of a microsecond
        assert abs(at(passed_s + 0.01) - at(passed_s)) <= steepness * step_s + 1e-6


def test_a_ramp_falls_from_the_window_before_and_not_from_the_budget() -> None:
    before = Window(0, "schedule", "day", NOW_S - 100, NOW_S, 600.0)
    after = Window(0, "event", "e", NOW_S, NOW_S + 1000, 200.0, 100.0)
    bound = looked_at(snapshot(scope(), windows=(before, after), now_s=NOW_S + 50))[0]
    assert bound.limit_w == 400.0


def test_a_shortage_lasts_until_the_last_window_that_keeps_the_limit_so_low() -> None:
    first = Window(0, "event", "a", NOW_S, NOW_S + 100, 500.0)
    second = Window(0, "schedule", "b", NOW_S + 50, NOW_S + 300, 400.0)
    later = Window(0, "schedule", "c", NOW_S + 400, NOW_S + 500, 400.0)
    assert looked_at(snapshot(scope(), windows=(later, second, first)))[0].shortage_s == 300.0
    assert math.isinf(looked_at(snapshot(scope()))[0].shortage_s)


# --- the demand charge ---


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 899), st.floats(-0.4, 1.0), st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_whoever_obeys_keeps_the_windows_mean(elapsed_s: int, spare: float, moods: list[float]) -> None:
    target_w = 700.0
    left_s = 900 - elapsed_s
    # a debt that the rest of the window can just pay with the deepest dip that is asked
    owed_j = min(-spare * elapsed_s, (1 - DIP_FRAC) * left_s) * target_w if spare < 0 else -spare * elapsed_s * target_w
    memory = remembered(last_s=NOW_S + elapsed_s, energy_j=target_w * elapsed_s + owed_j)
    hall = scope(demandCharge={"targetWatts": 700})
    drawn_w = 0.0
    for second in range(elapsed_s, 1800):
        (bound,), memory = bounds(snapshot(hall, now_s=NOW_S + second), np.array([drawn_w]), memory)
        charge = next(x for x in (bound.binding, *bound.losers) if x.source == "demandCharge")
        assert DIP_FRAC * target_w <= charge.limit_w <= BURST_FRAC * target_w
        drawn_w = charge.limit_w * moods[second * 8 // 1800]
    _, memory = bounds(snapshot(hall, now_s=NOW_S + 1800), np.array([drawn_w]), memory)
    assert memory.scopes[0].peak_w <= target_w * (1 + 1e-9)


def test_a_window_that_is_drawn_at_its_target_asks_for_no_dip_at_its_end() -> None:
    memory = remembered(last_s=NOW_S + 899.9, energy_j=700 * 899.9)
    (bound,) = looked_at(snapshot(scope(demandCharge={"targetWatts": 700}), now_s=NOW_S + 899.9), memory, 700.0)
    assert bound.limit_w == pytest.approx(700.0)
    assert bound.shortage_s == pytest.approx(0.1)


def test_what_a_window_has_to_spare_makes_no_burst_of_its_last_second() -> None:
    memory = remembered(last_s=NOW_S + 899, energy_j=700 * 899 - 600.0)
    (bound,) = looked_at(snapshot(scope(demandCharge={"targetWatts": 700}), now_s=NOW_S + 899), memory, 700.0)
    assert bound.limit_w == pytest.approx(710.0)


def test_a_window_that_was_open_before_we_came_counts_as_drawn_at_its_target() -> None:
    snap = snapshot(scope(demandCharge={"targetWatts": 700}), now_s=NOW_S + 450)
    assert looked_at(snap, draw_w=100.0)[0].limit_w == pytest.approx(700.0)
    assert looked_at(snap, draw_w=800.0)[0].limit_w == pytest.approx(600.0)


def test_the_highest_window_and_its_price_are_visible() -> None:
    hall = scope(demandCharge={"targetWatts": 700, "pricePerKilowatt": 12})
    memory = remembered(last_s=NOW_S + 890, energy_j=800.0 * 890)
    (bound,), memory = bounds(snapshot(hall, now_s=NOW_S + 910), np.array([800.0]), memory)
    assert memory.scopes[0].peak_w == pytest.approx(800.0)
    assert memory.scopes[0].energy_j == pytest.approx(8000.0)
    assert "at 12 a kW, highest so far 800 W" in bound.binding.text


# --- the breaker ---


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_whoever_obeys_never_comes_near_the_trip(heat_frac: float, moods: list[float]) -> None:
    hall = scope(limitWatts=100_000, breaker={"ratedWatts": 1000, "tripCurve": TRIP})
    memory = remembered(heat_frac=heat_frac)
    drawn_w = 0.0
    for second in range(1200):
        (bound,), memory = bounds(snapshot(hall, now_s=NOW_S + second), np.array([drawn_w]), memory)
        assert memory.scopes[0].heat_frac <= max(heat_frac, WARM_FRAC + 1 / 600)
        assert bound.limit_w >= 1000.0
        if memory.scopes[0].heat_frac >= WARM_FRAC:
            assert bound.limit_w == 1000.0
        drawn_w = bound.limit_w * (1.0 if moods[second // 200] > 0.3 else moods[second // 200])


def test_a_cold_breaker_may_be_passed_as_far_as_its_curve_is_slow() -> None:
    hall = scope(limitWatts=100_000, breaker={"ratedWatts": 1000, "tripCurve": TRIP})
    assert looked_at(snapshot(hall), remembered())[0].limit_w == pytest.approx(1250.0)
    assert looked_at(snapshot(hall))[0].limit_w == 1000.0  # of unknown past: warm


def test_an_overload_is_not_counted_on_for_later() -> None:
    hall = scope(limitWatts=100_000, breaker={"ratedWatts": 1000, "tripCurve": TRIP})
    (bound,) = looked_at(snapshot(hall), remembered())
    assert np.all(bound.ahead_w[1:] == 1000.0)


def test_a_breaker_without_a_curve_is_never_passed() -> None:
    hall = scope(limitWatts=100_000, breaker={"ratedWatts": 1000})
    assert looked_at(snapshot(hall), remembered())[0].limit_w == 1000.0


# --- storage ---


@given(st.floats(0, 1), st.floats(0.01, 0.5), st.floats(0, 0.5), st.floats(1e5, 1e9))
def test_a_batterys_help_has_no_edge(soc: float, fade: float, reserve: float, capacity_j: float) -> None:
    unit = battery(reserve_frac=reserve, fade_frac=fade, capacity_j=capacity_j)
    step = 1e-5
    below, above = (help_w(unit, charged(s)) for s in (soc, min(1.0, soc + step)))
    assert 0.0 <= below <= above + 1e-9 <= unit.max_discharge_w + 1e-6
    # the steepest it gets: the fade's own slope, or the energy's where little energy is left to give
    slope = unit.max_discharge_w / fade + capacity_j / 900.0
    assert above - below <= min(unit.max_discharge_w, slope * step) + 1e-9
    if soc <= reserve:
        assert below == 0.0


def test_a_batterys_help_is_halved_half_way_down_the_fade() -> None:
    unit = battery(capacity_j=1e9, reserve_frac=0.2, fade_frac=0.1)
    assert help_w(unit, charged(0.25)) == pytest.approx(200.0)
    assert help_w(unit, charged(0.30)) == pytest.approx(400.0)


@pytest.mark.parametrize(
    "state",
    [charged(0.9, available=False), charged(0.9, age_s=60.0), charged(0.9, age_s=math.nan), charged(math.nan)],
)
def test_a_battery_that_is_away_stale_or_unknown_adds_nothing(state: Storage) -> None:
    assert help_w(battery(), state) == 0.0


def test_what_a_battery_adds_it_can_add_for_a_quarter_of_an_hour() -> None:
    unit = battery(capacity_j=3.6e5, round_trip_frac=0.81)
    assert help_w(unit, charged(0.7)) == pytest.approx(0.5 * 3.6e5 * 0.9 / 900)
    assert help_w(unit, charged(0.7, soh_frac=0.5)) == pytest.approx(0.25 * 3.6e5 * 0.9 / 900)


def test_a_battery_stands_beside_the_limit_and_not_inside_it() -> None:
    snap = snapshot(scope(), storages=((battery(), charged(0.9)), (battery(id="c"), charged(0.1))))
    (bound,) = looked_at(snap)
    assert (bound.limit_w, bound.storage_w) == (1000.0, 400.0)


# --- memory ---


@given(some_spec, st.lists(st.tuples(st.integers(0, 400), st.floats(0, 1200)), max_size=8))
def test_memory_survives_json_and_the_same_tick_twice(spec: dict[str, Any], ticks: list[tuple[int, float]]) -> None:
    hall, memory, now_s, draw_w = scope(**spec), LimitsMemory(), NOW_S, 0.0
    for passed_s, draw_w in [(0, 0.0), *ticks]:
        now_s += passed_s
        _, memory = bounds(snapshot(hall, now_s=now_s), np.array([draw_w]), memory)
    stored = json.loads(json.dumps(asdict(memory), allow_nan=False))
    assert LimitsMemory(tuple(ScopeMemory(**row) for row in stored["scopes"])) == memory
    assert bounds(snapshot(hall, now_s=now_s), np.array([draw_w]), memory)[1] == memory


def test_a_draw_that_is_not_known_counts_as_the_whole_limit() -> None:
    hall = scope(demandCharge={"targetWatts": 700})
    known = bounds(snapshot(hall, now_s=NOW_S + 10), np.array([1000.0]), remembered())
    unknown = bounds(snapshot(hall, now_s=NOW_S + 10), np.array([math.nan]), remembered())
    assert unknown[1] == known[1]


def test_a_clock_that_goes_back_changes_nothing() -> None:
    hall = scope(demandCharge={"targetWatts": 700}, breaker={"ratedWatts": 900, "tripCurve": TRIP})
    memory = remembered(last_s=NOW_S + 100, energy_j=5e4, heat_frac=0.3)
    assert bounds(snapshot(hall, now_s=NOW_S + 90), np.array([950.0]), memory)[1] == memory
