from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wattlease.sim.measures import (
    bill,
    class_results,
    energy_j,
    integral,
    max_rise_w,
    mean,
    one_minute_means,
    over_limit,
    seconds_over,
    settle_s,
    throughput_frac,
)
from wattlease.sim.run import NOTHING, JobRow, Tariff

START_S = 1_746_315_000.0  # a whole quarter of an hour


def seconds(n: int) -> np.ndarray:
    return START_S + np.arange(float(n))


watts = arrays(np.float64, st.integers(130, 300), elements=st.floats(0, 1e5))


@given(watts)
@settings(max_examples=50, deadline=None)
def test_one_minute_means_keep_the_energy_of_whole_minutes(feed_w) -> None:
    t_s = seconds(len(feed_w))
    minutes, means = one_minute_means(t_s, feed_w)
    assert len(minutes) == len(feed_w) // 60
    assert means.sum() * 60 == pytest.approx(feed_w[: len(minutes) * 60].sum(), rel=1e-9, abs=1e-3)


@given(watts, st.integers(1, 100))
@settings(max_examples=50, deadline=None)
def test_the_mean_of_a_span_is_the_mean_of_its_samples(feed_w, length) -> None:
    t_s = seconds(len(feed_w))
    assert mean(t_s, feed_w, t_s[7], t_s[7] + length) == pytest.approx(
        feed_w[7 : 7 + length].mean(), rel=1e-6, abs=1e-3
    )


@given(watts)
@settings(max_examples=50, deadline=None)
def test_sampling_a_step_function_finer_changes_nothing(feed_w) -> None:
    t_s, fine_s = seconds(len(feed_w)), START_S + np.arange(4 * len(feed_w)) / 4
    fine_w, limit_w = np.repeat(feed_w, 4), np.full(len(feed_w), 5e4)
    assert energy_j(t_s, feed_w) == pytest.approx(energy_j(fine_s, fine_w))
    assert one_minute_means(t_s, feed_w)[1] == pytest.approx(one_minute_means(fine_s, fine_w)[1], abs=1e-3)
    assert settle_s(t_s, feed_w, limit_w, t_s[0], t_s[-1]) == settle_s(
        fine_s, fine_w, np.repeat(limit_w, 4), t_s[0], t_s[-1]
    )


@given(watts, st.floats(0, 1e5), st.integers(1, 90))
@settings(max_examples=50, deadline=None)
def test_a_higher_limit_is_never_passed_for_longer(feed_w, limit_w, window_s) -> None:
    t_s, level = seconds(len(feed_w)), np.full(len(feed_w), limit_w)
    assert seconds_over(t_s, feed_w, level + 100, window_s) <= seconds_over(t_s, feed_w, level, window_s)
    assert seconds_over(t_s, np.minimum(feed_w, level), level, window_s) == 0


def test_a_span_outside_the_run_has_no_mean() -> None:
    assert np.isnan(mean(seconds(60), np.ones(60), START_S - 100, START_S))
    assert mean(seconds(60), np.ones(60), START_S - 100, START_S + 10) == 1.0


def test_what_is_not_known_does_not_count_in_a_mean() -> None:
    assert mean(seconds(4), np.array([1.0, np.nan, np.nan, 3.0]), START_S, START_S + 4) == 2.0
    assert np.isnan(mean(seconds(2), np.full(2, np.nan), START_S, START_S + 2))


def test_the_integral_is_flat_outside_the_run() -> None:
    assert integral(seconds(10), np.ones(10), np.array([0.0, START_S + 5, START_S + 99])).tolist() == [0, 5, 10]


def test_uneven_samples_count_for_as_long_as_they_hold() -> None:
    t_s = START_S + np.array([0.0, 10.0, 60.0, 70.0])
    assert energy_j(t_s, np.array([6.0, 1.0, 2.0, 3.0])) == 60 + 50 + 20 + 30
    assert one_minute_means(t_s, np.array([6.0, 1.0, 2.0, 3.0]))[1].tolist() == [pytest.approx(110 / 60)]


def test_minutes_that_are_covered_in_part_do_not_count() -> None:
    minutes, _ = one_minute_means(START_S + 30 + np.arange(100.0), np.ones(100))
    assert minutes.tolist() == [START_S + 60]


@pytest.mark.parametrize(("cut_after_s", "settled_s"), [(0, 0), (1, 60), (59, 60), (61, 120), (600, np.inf)])
def test_settling_ends_with_the_last_minute_over_the_limit(cut_after_s, settled_s) -> None:
    t_s = seconds(900)
    limit_w = np.where(t_s < START_S + 300, 100.0, 75.0)
    feed_w = np.where(t_s < START_S + 300 + cut_after_s, 100.0, 75.0)
    assert settle_s(t_s, feed_w, limit_w, START_S + 300, START_S + 900) == settled_s


def test_a_late_minute_over_the_limit_unsettles() -> None:
    t_s = seconds(900)
    feed_w = np.where((t_s >= START_S + 480) & (t_s < START_S + 500), 90.0, 70.0)
    assert settle_s(t_s, feed_w, np.full(900, 75.0), START_S, START_S + 900) == 540


def test_the_meter_averages_before_it_judges() -> None:
    t_s, limit_w = seconds(300), np.full(300, 100.0)
    spike_w = np.where(np.arange(300) == 150, 140.0, 99.0)
    assert seconds_over(t_s, spike_w, limit_w, 1.0) == 1
    assert seconds_over(t_s, spike_w, limit_w, 10.0) == 10
    assert seconds_over(t_s, spike_w, limit_w, 60.0) == 0


def test_draw_from_before_a_limit_fell_is_held_against_the_limit_of_then() -> None:
    t_s = seconds(300)
    limit_w = np.where(t_s < START_S + 150, 100.0, 70.0)
    assert seconds_over(t_s, limit_w.copy(), limit_w, 60.0) == 0
    late_w = np.where(t_s < START_S + 160, 100.0, 70.0)
    assert seconds_over(t_s, late_w, limit_w, 60.0) == 69  # until the window holds no second of the ten
    assert not over_limit(t_s, late_w, limit_w, 60.0)[:150].any()


def test_a_rise_is_that_of_the_steepest_minute() -> None:
    t_s = seconds(1200)
    feed_w = np.interp(t_s - START_S, [0, 300, 900, 1200], [75.0, 75.0, 125.0, 125.0])
    assert max_rise_w(t_s, feed_w, START_S, START_S + 1200) == pytest.approx(5.0, abs=0.01)
    assert max_rise_w(t_s, feed_w[::-1], START_S, START_S + 1200) == 0.0
    step_w = np.where(t_s < START_S + 400, 75.0, 100.0)
    assert max_rise_w(t_s, step_w, START_S, START_S + 1200) == pytest.approx(25.0)
    assert max_rise_w(t_s, step_w, START_S + 400, START_S + 1200) == 0.0


def test_throughput_weighs_by_gpus_and_leaves_out_what_did_not_run() -> None:
    gpus, speed = np.array([32.0, 96.0, 8.0]), np.array([1.0, 0.5, np.nan])
    assert throughput_frac(gpus, speed) == pytest.approx(0.625)
    assert np.isnan(throughput_frac(gpus, np.full(3, np.nan)))


def test_the_bill_of_a_flat_hour() -> None:
    t_s, ones = seconds(3600), np.ones(3600)
    due = bill(t_s, 1e5 * ones, 0.10 * ones, 400 * ones, Tariff(demand_per_kw=12.0, carbon_per_t=50.0))
    assert due.energy == pytest.approx(10.0)
    assert due.demand == pytest.approx(1200.0)
    assert (due.carbon_kg, due.carbon) == (pytest.approx(40.0), pytest.approx(2.0))
    assert due.total == pytest.approx(1212.0)


def test_the_demand_charge_counts_aligned_quarters_of_an_hour() -> None:
    t_s = seconds(2700)
    straddling_w = np.where((t_s >= START_S + 450) & (t_s < START_S + 1350), 2e5, 1e5)
    assert bill(t_s, straddling_w, NOTHING, NOTHING, Tariff()).peak_w == pytest.approx(1.5e5)
    aligned_w = np.where((t_s >= START_S + 900) & (t_s < START_S + 1800), 2e5, 1e5)
    assert bill(t_s, aligned_w, NOTHING, NOTHING, Tariff()).peak_w == pytest.approx(2e5)


def test_a_run_shorter_than_a_billing_window_is_billed_on_its_mean() -> None:
    assert bill(seconds(60), np.full(60, 5e4), NOTHING, NOTHING, Tariff()).peak_w == pytest.approx(5e4)


def test_power_that_is_fed_back_is_paid_and_is_no_peak() -> None:
    due = bill(seconds(900), np.full(900, -1e5), np.full(900, 0.2), NOTHING, Tariff(demand_per_kw=12.0))
    assert (due.energy, due.demand) == (pytest.approx(-5.0), 0.0)


def job(job_class: str, loss_frac: float, slowdown: float, breaches: int = 0) -> JobRow:
    ended_s = START_S + 60 if np.isfinite(slowdown) else float("nan")
    return JobRow("j", job_class, 8, loss_frac, START_S, START_S, ended_s, 2.0, 0.9, 1e6, 5.0, slowdown, breaches)


def test_classes_are_told_by_what_they_tolerate() -> None:
    jobs = [job("flex", 0.5, 1.0 + i / 100) for i in range(101)] + [
        job("gold", 0.01, 1.0, 1),
        job("gold", 0.01, np.nan),
    ]
    gold, flex = class_results(jobs)
    assert (gold.job_class, gold.jobs, gold.finished, gold.breaches, gold.p99_slowdown) == ("gold", 2, 1, 1, 1.0)
    assert (flex.p50_slowdown, flex.p99_slowdown) == (pytest.approx(1.5), pytest.approx(1.99))
    assert (flex.work_gpu_h, flex.mean_wait_s) == (202.0, 5.0)


def test_a_class_of_which_nobody_ended_has_no_slowdown() -> None:
    (row,) = class_results([job("gold", 0.0, np.nan)])
    assert np.isnan(row.p50_slowdown)
    assert row.finished == 0
