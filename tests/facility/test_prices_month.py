"""The month's peak by the meter's own clock, and a cap on carbon."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.api import CarbonCap, DemandCharge
from wattlease.facility.prices.calendar_spans import span_at
from wattlease.facility.prices.month import CarbonSoFar, MeterClock, MonthPeak, carbon_window

BERLIN = ZoneInfo("Europe/Berlin")
CLOCK = MeterClock(900.0, 420.0, BERLIN)
START_S = datetime(2026, 11, 3, tzinfo=BERLIN).timestamp()


def watched(draw_w: list[float], clock: MeterClock, start_s: float = START_S, step_s: float = 10.0) -> MonthPeak:
    peak = MonthPeak().updated(start_s, draw_w[0], clock)
    for k, watts in enumerate(draw_w, start=1):
        peak = peak.updated(start_s + k * step_s, watts, clock)
    return peak


blocks = st.lists(st.floats(-1e6, 1e7), min_size=8, max_size=20)


@given(blocks, st.integers(0, 899))
@settings(max_examples=40, deadline=None)
def test_the_peak_is_the_highest_whole_window_of_the_meters_clock(draw_w: list[float], offset_s: int) -> None:
    clock = MeterClock(900.0, float(offset_s), UTC)
    fine_w = np.repeat(draw_w, 30)  # five minutes each, looked at every ten seconds
    t_s = START_S + 10.0 * np.arange(len(fine_w))
    first_s = clock.window_at(START_S) + (900.0 if clock.window_at(START_S) < START_S - 90 else 0.0)
    energy = np.concatenate([[0.0], np.cumsum(fine_w * 10.0)])
    bounds = np.arange(first_s, t_s[-1] + 10.0 + 1e-6, 900.0)
    ends = np.interp(bounds, np.append(t_s, t_s[-1] + 10.0), energy)
    spans = np.diff(np.maximum(bounds, START_S))
    expected_w = max(0.0, float((np.diff(ends) / spans).max())) if len(spans) else 0.0
    assert watched(fine_w.tolist(), clock).peak_w == pytest.approx(expected_w, rel=1e-9, abs=1e-3)


@given(blocks)
@settings(max_examples=30, deadline=None)
def test_looking_more_often_changes_nothing_and_the_peak_never_falls(draw_w: list[float]) -> None:
    coarse = watched(np.repeat(draw_w, 15).tolist(), CLOCK, step_s=20.0)
    fine = MonthPeak().updated(START_S, draw_w[0], CLOCK)
    highest = 0.0
    for k, watts in enumerate(np.repeat(draw_w, 60).tolist(), start=1):
        fine = fine.updated(START_S + 5.0 * k, watts, CLOCK)
        assert fine.peak_w >= highest
        highest = fine.peak_w
    assert fine.peak_w == pytest.approx(coarse.peak_w)
    assert fine.energy_j == pytest.approx(coarse.energy_j, abs=1e-3)


@given(blocks)
@settings(max_examples=20, deadline=None)
def test_the_peak_survives_json(draw_w: list[float]) -> None:
    peak = watched(draw_w, CLOCK)
    assert MonthPeak(**orjson.loads(orjson.dumps(asdict(peak)))) == peak


def test_the_peak_of_another_month_is_that_of_the_month_before() -> None:
    peak = watched([5e5] * 200, CLOCK)
    assert peak.peaks_w(START_S + 86_400.0, CLOCK) == pytest.approx((5e5, 0.0))
    later_s = START_S + 31 * 86_400.0
    assert peak.peaks_w(later_s, CLOCK) == pytest.approx((0.0, 5e5))
    assert peak.updated(later_s, 1.0, CLOCK).peaks_w(later_s, CLOCK) == pytest.approx((0.0, 5e5))
    assert MonthPeak().peaks_w(START_S, CLOCK) == (0.0, 0.0)


def test_a_burst_across_two_windows_is_halved_and_within_one_is_not() -> None:
    straddling = [1e6 if 435 <= 10 * k < 1335 else 0.0 for k in range(360)]
    within = MeterClock(900.0, (START_S + 435) % 900, BERLIN)
    across = MeterClock(900.0, (START_S + 885) % 900, BERLIN)
    assert watched(straddling, within).peak_w == pytest.approx(1e6, rel=0.03)
    assert watched(straddling, across).peak_w == pytest.approx(5e5, rel=0.03)


def test_a_window_that_was_hardly_watched_sets_no_peak() -> None:
    peak = watched([5e5] * 160, CLOCK)
    before = peak.peak_w
    peak = peak.updated(peak.last_s + 1100.0, 9e6, CLOCK)
    for _ in range(60):
        peak = peak.updated(peak.last_s + 10.0, 9e6, CLOCK)
    assert peak.peak_w == before == pytest.approx(5e5)


def test_a_draw_that_nobody_knows_is_not_drawn_as_nothing() -> None:
    peak = watched([5e5] * 160, CLOCK)
    for _ in range(90):
        peak = peak.updated(peak.last_s + 10.0, float("nan"), CLOCK)
    assert peak.peak_w == pytest.approx(5e5)
    assert peak.watched_s == 0.0


def test_a_new_billing_month_begins_at_nothing_by_the_local_clock() -> None:
    clock = MeterClock(900.0, 0.0, BERLIN, billing_day=15)
    late_s = datetime(2026, 11, 14, 23, 0, tzinfo=BERLIN).timestamp()
    peak = watched([8e5] * 359, clock, late_s)
    assert (peak.month, peak.peak_w) == ("2026-10", pytest.approx(8e5))
    for _ in range(100):
        peak = peak.updated(peak.last_s + 10.0, 3e5, clock)
    assert (peak.month, peak.peak_w) == ("2026-11", pytest.approx(3e5))


def test_a_clock_that_steps_back_adds_nothing() -> None:
    peak = watched([5e5] * 160, CLOCK)
    assert peak.updated(peak.last_s - 60.0, 9e9, CLOCK) == peak


def test_the_meters_clock_is_the_budgets() -> None:
    charge = DemandCharge.model_validate({"targetWatts": 1000, "windowSeconds": 1800, "offsetSeconds": 120})
    assert MeterClock.of(charge, BERLIN, 3) == MeterClock(1800.0, 120.0, BERLIN, 3)
    with pytest.raises(ValueError, match="a window or more"):
        DemandCharge.model_validate({"targetWatts": 1000, "offsetSeconds": 900})


@given(st.floats(1.6e9, 2.0e9), st.sampled_from(["Day", "Month", "Year"]), st.integers(1, 28))
@settings(max_examples=80, deadline=None)
def test_every_moment_lies_in_its_own_calendar_span(now_s: float, per: str, day: int) -> None:
    span = span_at(now_s, per, BERLIN, day)  # type: ignore[arg-type]
    assert span.start_s <= now_s < span.end_s
    assert span_at(span.start_s, per, BERLIN, day) == span == span_at(span.end_s - 1, per, BERLIN, day)  # type: ignore[arg-type]
    assert span_at(span.end_s, per, BERLIN, day).name != span.name  # type: ignore[arg-type]


CAP = CarbonCap(tonnes=10, per="Day")
MIDNIGHT_S = datetime(2026, 11, 3, tzinfo=BERLIN).timestamp()


@given(st.lists(st.floats(0, 3e6), min_size=24, max_size=24), st.floats(10, 900), st.floats(1e4, 2e5))
@settings(max_examples=60, deadline=None)
def test_who_keeps_to_the_carbon_window_keeps_the_cap(wanted_w: list[float], grams: float, least_w: float) -> None:
    """If the least alone would not break it."""
    so_far = CarbonSoFar("2026-11-03", 0.0, MIDNIGHT_S)
    span = span_at(MIDNIGHT_S, "Day", BERLIN)
    for want_w in wanted_w:
        limit_w = carbon_window(so_far, CAP, span, grams, least_w, 0).limit_w
        assert limit_w >= least_w
        so_far = so_far.updated(
            min(so_far.last_s + 3600.0, span.end_s - 1e-3), min(want_w, limit_w), grams, CAP, BERLIN
        )
    least_tonnes = least_w / 1000 * 24 * grams / 1e6
    assert so_far.grams / 1e6 <= max(CAP.tonnes, least_tonnes) * (1 + 1e-6)


def test_what_came_before_the_first_look_counts_as_the_caps_even_share() -> None:
    noon_s = MIDNIGHT_S + 12 * 3600
    assert CarbonSoFar().updated(noon_s, 1e6, 400.0, CAP, BERLIN).grams == pytest.approx(5e6)


def test_a_gap_counts_at_the_draw_after_it_and_the_next_span_begins_at_its_beginning() -> None:
    so_far = CarbonSoFar("2026-11-03", 1e6, MIDNIGHT_S + 20 * 3600)
    assert so_far.updated(MIDNIGHT_S + 22 * 3600, None, 500.0, CAP, BERLIN) == so_far
    after = so_far.updated(MIDNIGHT_S + 26 * 3600, 1e6, 500.0, CAP, BERLIN)
    assert after.span == "2026-11-04"
    assert after.grams == pytest.approx(2 * 1000 * 500.0)
    assert timedelta(seconds=after.last_s - MIDNIGHT_S) == timedelta(hours=26)
