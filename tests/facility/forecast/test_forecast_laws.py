"""Laws of the forecast, whatever the course: quantiles in order, nothing below nought, nothing from the future."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from forecast_courses import COARSE, DAY_S, START_S, daily, wandering
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.model import Floats, Ints
from wattlease.facility.forecast.features import Past
from wattlease.facility.forecast.judging import Foreseen, chosen, judged, pinball_w
from wattlease.facility.forecast.model import QUANTILES, RangeModel
from wattlease.facility.forecast.predicting import ready
from wattlease.facility.forecast.series import LOOKS_S, Series, plain
from wattlease.facility.forecast.training import train

AHEAD: Ints = np.array([1, 2, 5, 8, 20, 48])


def trained(series: Series) -> RangeModel:
    model = train(series, COARSE)
    assert model is not None
    return model


def last_w(model: RangeModel, series: Series) -> Floats:
    """What is foreseen from the end of a course."""
    series = series.coarser(model.step_s)
    return ready(model).foresee_w(Past(series), np.full(len(AHEAD), len(series) - 1), AHEAD)


def courses() -> st.SearchStrategy[Series]:
    """Short courses with holes, noughts, jumps and absurd values."""
    watts = st.one_of(st.floats(0.0, 2e6), st.sampled_from([0.0, np.nan, -5.0, np.inf, 1e6]))
    return st.builds(
        lambda day, days: plain(START_S, 1800.0, np.tile(np.array(day), days)),
        st.lists(watts, min_size=48, max_size=48),
        st.integers(1, 9),
    )


@settings(max_examples=12, deadline=None)
@given(courses(), st.integers(0, 3))
def test_quantiles_never_cross_and_no_draw_is_negative_and_gaps_never_crash(series: Series, seed: int) -> None:
    holes = np.random.default_rng(seed).random(len(series)) < 0.2
    series = replace(series, mean_w=np.where(holes, np.nan, series.mean_w))
    model = train(series, COARSE)
    if model is None:
        assert series.known_s < 2 * DAY_S
        return
    drawn_w = last_w(model, series)
    if np.isfinite(series.mean_w).any():
        assert (drawn_w >= 0.0).all()
        assert (drawn_w[1] >= drawn_w[0]).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(200, 400), st.integers(0, 1000), st.booleans())
def test_changing_the_future_never_changes_a_forecast(origin: int, seed: int, holes: bool) -> None:
    series = _with_queue(daily(10, noise=0.1, seed=seed), seed)
    chance = np.random.default_rng(seed + 1)
    later = np.arange(len(series)) > origin
    changed: dict[str, Any] = {}
    for column in fields(Series):
        values = getattr(series, column.name)
        if isinstance(values, np.ndarray):
            other = chance.uniform(0.0, 1e9, values.shape) if not holes else np.full(values.shape, np.nan)
            changed[column.name] = np.where(later.reshape(-1, *[1] * (values.ndim - 1)), other, values)
    at = np.full(len(AHEAD), origin)
    before, after = (Past(s).rows(at, AHEAD) for s in (series, replace(series, **changed)))
    np.testing.assert_array_equal(before.table, after.table)


def test_training_looks_at_nothing_after_its_end() -> None:
    whole = daily(12, noise=0.1)
    assert trained(whole.part(0, 9 * 48)) == trained(replace(whole, mean_w=whole.mean_w.copy()).part(0, 9 * 48))
    other = replace(whole, mean_w=np.where(np.arange(len(whole)) >= 9 * 48, 7.0, whole.mean_w))
    assert trained(other.part(0, 9 * 48)) == trained(whole.part(0, 9 * 48))


@pytest.mark.parametrize("draw_w", [0.0, 1.0, 750_000.0])
def test_a_constant_course_is_foreseen_as_constant(draw_w: float) -> None:
    series = plain(START_S, 1800.0, np.full(480, draw_w))
    np.testing.assert_allclose(last_w(trained(series), series), draw_w, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_model_worse_than_persistence_is_never_in_force(seed: int) -> None:
    for knot in trained(wandering(20, seed)).knots:
        assert knot.scores.origins > 100
        assert knot.scores.pinball_w <= knot.scores.naive_pinball_w
        assert knot.scores.mae_w <= knot.scores.naive_mae_w


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 3.0), st.integers(12, 200))
def test_what_is_chosen_never_loses_to_any_of_the_naive_forecasts(seed: int, spread: float, count: int) -> None:
    chance = np.random.default_rng(seed)
    truth_w = chance.uniform(0.0, 10.0, count)
    said_w = truth_w + chance.normal(0.0, 1.0 + spread, (4, 2, count))
    foreseen = Foreseen(said_w[0], said_w[1], said_w[2])
    bars_w = said_w[[0, 3]]
    mixes = chosen(truth_w, foreseen, bars_w, np.arange(count) // 12)
    scores = judged(truth_w, foreseen, mixes)
    assert scores.pinball_w <= scores.naive_pinball_w
    for q, quantile in enumerate(QUANTILES):
        if mixes[q].learned:
            best_w = min(pinball_w(truth_w, bar[q], quantile).mean() for bar in bars_w)
            assert pinball_w(truth_w, foreseen.quantile_w(q, mixes[q]), quantile).mean() < best_w


def test_a_course_with_a_day_and_a_night_is_foreseen_better_than_by_yesterday() -> None:
    knots = {k.ahead_s: k for k in trained(daily(20, noise=0.1)).knots}
    assert knots[14_400.0].scores.skill > 0.15
    assert knots[14_400.0].mixes[0].learned
    assert knots[DAY_S].scores.skill > 0.1


def test_without_three_days_nothing_is_learned_and_it_says_so() -> None:
    model = trained(daily(2))
    assert "learning needs 3" in model.note
    assert not any(mix.learned for knot in model.knots for mix in knot.mixes)


def test_without_the_trees_library_the_line_still_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    model = trained(daily(14, noise=0.1))
    assert "LightGBM cannot be loaded" in model.note
    assert model.trees == ()
    assert any(mix.line > 0.0 for knot in model.knots for mix in knot.mixes)


def test_a_job_that_waits_for_cards_is_foreseen_before_the_meter_sees_it() -> None:
    series = _with_jobs(20)
    knowing, blind = trained(series), trained(plain(series.start_s, series.step_s, series.mean_w))
    near = {k.ahead_s: k.scores for k in knowing.knots}[3600.0]
    far = {k.ahead_s: k.scores for k in blind.knots}[3600.0]
    assert near.mae_w < 0.3 * far.mae_w


def _with_jobs(days: int) -> Series:
    """Jobs of 100 kW that come by chance, stay for four hours, and are known an hour and a half before they start."""
    chance, count = np.random.default_rng(4), days * 48
    begins = chance.random(count) < 0.08
    draw_w = 3e5 + 1e5 * np.convolve(begins, np.ones(8))[:count]
    soon = [round(look / 1800.0) for look in LOOKS_S]
    starting_w = np.stack([1e5 * _within(begins, min(n, 3)) for n in soon], axis=1)
    ending_w = np.stack([1e5 * _within(np.roll(begins, 8), min(n, 3)) for n in soon], axis=1)
    return replace(plain(START_S, 1800.0, draw_w), starting_w=starting_w, ending_w=ending_w)


def _within(events: np.ndarray, steps: int) -> Floats:
    """How many of the events come within so many steps after each."""
    total = np.concatenate([[0.0], np.cumsum(events)])
    last = np.minimum(np.arange(len(events)) + steps + 1, len(events))
    return total[last] - total[1:]


def _with_queue(series: Series, seed: int) -> Series:
    known_w = np.random.default_rng(seed).uniform(0.0, 1e5, (len(series), 3, len(LOOKS_S)))
    return replace(series, starting_w=known_w[:, 0], ending_w=known_w[:, 1], limit_w=known_w[:, 2])
