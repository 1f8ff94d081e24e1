"""The forecast of a scope as a process runs it: noted, trained in the background, asked."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from forecast_courses import DAY_S, START_S, daily
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.facility.forecast import fast
from wattlease.facility.forecast.fast import Fast
from wattlease.facility.forecast.history import History
from wattlease.facility.forecast.minutes import MINUTE_S, Minute
from wattlease.facility.forecast.note import Known
from wattlease.facility.forecast.scope_forecast import OLD_S, ScopeForecast
from wattlease.facility.forecast.series import LOOKS_S

DAYS = 4
"""Enough to learn from; the training runs in a process of its own and gives way to all others."""
END_S = START_S + DAYS * DAY_S


def recorded(folder: Path) -> None:
    """Four days of minutes, as an earlier process left them."""
    history = History(folder)
    for k, mean_w in enumerate(daily(DAYS, 60.0).mean_w.tolist()):
        history.append(Minute(START_S + k * MINUTE_S, mean_w, mean_w, mean_w))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose models a real training process has made."""
    folder = tmp_path_factory.mktemp("site")
    recorded(folder)
    forecast = ScopeForecast(folder, "Europe/Berlin")
    try:
        assert forecast.forecasts(0, END_S) == ()
        forecast.tend(END_S)
        for _ in range(1000):
            forecast.tend(END_S + 1.0)
            if forecast.standing().horizons:
                break
            time.sleep(0.1)
        assert forecast.standing().trained_until_s == END_S, forecast.standing().note
    finally:
        forecast.close()
    return folder


def test_a_forecast_reaches_from_seconds_to_two_days(trained: Path) -> None:
    forecast = ScopeForecast(trained, trains=False)
    forecast.note(END_S + 1.0, 1e6)
    [ahead] = forecast.forecasts(3, END_S + 2.0)
    assert ahead.scope == 3
    assert ahead.at_s[0] == END_S + 3.0
    assert ahead.at_s[-1] > END_S + 47.5 * 3600.0
    assert (np.diff(ahead.at_s) > 0.0).all()
    assert (ahead.p90_w >= ahead.p50_w).all()
    assert (ahead.p50_w >= 0.0).all()
    truth_w = 1e6 * (1.0 + 0.3 * np.sin(2 * np.pi * (ahead.at_s - START_S) / DAY_S))
    assert np.mean(np.abs(ahead.p50_w - truth_w)) < 0.1e6


def test_without_fresh_readings_there_is_no_forecast(trained: Path) -> None:
    forecast = ScopeForecast(trained, trains=False)
    assert forecast.forecasts(0, END_S) == ()
    forecast.note(END_S + 1.0, 1e6)
    assert forecast.forecasts(0, END_S + 302.0) == ()


def test_its_standing_names_what_is_in_force_and_its_skill(trained: Path) -> None:
    standing = ScopeForecast(trained, trains=False).standing()
    assert [h.ahead_s for h in standing.horizons] == sorted(h.ahead_s for h in standing.horizons)
    for horizon in standing.horizons:
        assert horizon.skill >= 0.0
        assert (horizon.in_force == horizon.fallback) == (not horizon.in_force.startswith("learned"))
    assert any(h.in_force.startswith("learned") for h in standing.horizons)


def test_a_model_that_was_not_renewed_gives_way_to_its_fallback(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "site")  # what is noted here lasts
    forecast = ScopeForecast(folder, trains=False)
    later_s = END_S + OLD_S + MINUTE_S
    for k in range(60):
        forecast.note(later_s + 10.0 * k, 5e5)
    [ahead] = forecast.forecasts(0, later_s + 600.0)
    hour = (ahead.at_s > later_s + 900.0) & (ahead.at_s < later_s + 4000.0)
    np.testing.assert_allclose(ahead.p50_w[hour], 5e5)


def test_less_than_a_day_of_record_gives_no_forecast_and_says_so(tmp_path: Path) -> None:
    forecast = ScopeForecast(tmp_path)
    for k in range(30):
        forecast.note(START_S + 10.0 * k, 1e5)
        forecast.tend(START_S + 10.0 * k)
    assert forecast.forecasts(0, START_S + 300.0) == ()
    assert "a forecast needs 24" in forecast.standing().note


def test_a_folder_that_cannot_be_written_costs_the_record_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    forecast = ScopeForecast(tmp_path / "file" / "deep", trains=False)
    for k in range(30):
        forecast.note(START_S + 10.0 * k, 1e5)
    assert forecast.standing().horizons == ()


def test_damaged_models_are_told_and_not_used(trained: Path, tmp_path: Path) -> None:
    recorded(tmp_path)
    (tmp_path / "models.json").write_text("{")
    forecast = ScopeForecast(tmp_path, trains=False)
    forecast.note(END_S + 1.0, 1e6)
    assert forecast.forecasts(0, END_S + 2.0) == ()
    assert "the next training replaces it" in forecast.standing().note


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 20.0), st.floats(-10.0, 1e6) | st.just(math.nan)), max_size=80),
    st.floats(0.0, 1e6),
    st.floats(0.0, 1e6),
)
def test_the_next_minutes_keep_their_quantiles_in_order(
    ticks: list[tuple[float, float]], starting_w: float, ending_w: float
) -> None:
    seconds, now_s = Fast(), START_S
    for step_s, draw_w in ticks:
        now_s += step_s
        seconds = seconds.seen(now_s, draw_w)
    drawn_w = seconds.foresee_w(starting_w, ending_w)
    if len(seconds.t_s):
        assert (drawn_w[0] >= 0.0).all()
        assert (drawn_w[1] >= drawn_w[0]).all()
        assert seconds.t_s[-1] - seconds.t_s[0] <= fast.KEPT_S
    else:
        assert np.isnan(drawn_w).all()


def test_a_steady_draw_is_foreseen_as_steady() -> None:
    seconds = Fast()
    for k in range(600):
        seconds = seconds.seen(START_S + k, 4e5)
    np.testing.assert_array_equal(seconds.foresee_w(0.0, 0.0), 4e5)


def test_the_rises_of_the_last_minutes_make_the_p90() -> None:
    seconds = Fast()
    for k in range(900):
        seconds = seconds.seen(START_S + k, 4e5 + (1e5 if k % 60 < 30 else 0.0))
    p50_w, p90_w = seconds.foresee_w(0.0, 0.0)
    assert p50_w[0] == 4e5
    assert p90_w[2] == 5e5


def test_a_released_job_is_seen_before_the_meter_sees_it(trained: Path) -> None:
    forecast = ScopeForecast(trained, trains=False)
    looks = (2e5,) * len(LOOKS_S)
    forecast.note(END_S + 1.0, 1e6, Known(2e5, looks, (0.0,) * len(LOOKS_S), (1e9,) * len(LOOKS_S)))
    [ahead] = forecast.forecasts(0, END_S + 2.0)
    assert ahead.p90_w[0] == 1.2e6


def test_a_clock_that_is_set_back_ends_the_forecast_until_the_record_is_of_now_again(trained: Path) -> None:
    forecast = ScopeForecast(trained, trains=False)
    forecast.note(END_S + 1.0, 1e6)
    forecast.note(END_S - 3600.0, 9e5)
    assert forecast.forecasts(0, END_S - 3599.0) == ()
    forecast.note(END_S + 2.0, 1e6)
    assert len(forecast.forecasts(0, END_S + 3.0)) == 1


def test_what_was_trained_lately_is_not_trained_anew_after_a_restart(trained: Path) -> None:
    forecast = ScopeForecast(trained)
    try:
        forecast.tend(END_S + 600.0)
        assert not forecast.training
        forecast.tend(END_S + DAY_S)
        assert forecast.training
    finally:
        forecast.close()
    assert not forecast.training
