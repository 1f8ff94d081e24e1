"""The record of minutes and the models on disk: bounded, never rewritten, and refused whole where they do not fit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from forecast_courses import COARSE, START_S, daily
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.facility.forecast.history import KEPT_WEEKS, History
from wattlease.facility.forecast.minutes import MINUTE_S, Minute, OpenMinute, series_of
from wattlease.facility.forecast.model import RangeModel
from wattlease.facility.forecast.note import Known
from wattlease.facility.forecast.series import LOOKS_S, WEEK_S, plain
from wattlease.facility.forecast.store import load, save
from wattlease.facility.forecast.training import train

LOOKS = tuple(float(k) for k in range(len(LOOKS_S)))


def minute(k: int, mean_w: float = 5e5) -> Minute:
    return Minute(START_S + k * MINUTE_S, mean_w, mean_w - 10.0, mean_w + 10.0, Known(7.0, LOOKS, LOOKS, LOOKS))


def model() -> RangeModel:
    found = train(daily(9, noise=0.1), COARSE)
    assert found is not None
    return found


def test_what_was_appended_is_read_after_a_restart(tmp_path: Path) -> None:
    written = [minute(k) for k in range(5)]
    for each in written[:3]:
        History(tmp_path / "deep").append(each)
    after = History(tmp_path / "deep")
    for each in written[3:]:
        after.append(each)
    assert list(History(tmp_path / "deep").minutes()) == written


def test_a_torn_line_costs_its_own_minute_only(tmp_path: Path) -> None:
    History(tmp_path).append(minute(0))
    [path] = tmp_path.glob("week-*.jsonl")
    with path.open("ab") as file:
        file.write(b"[123, 45")
    History(tmp_path).append(minute(2))
    assert [m.start_s for m in History(tmp_path).minutes()] == [START_S, START_S + 2 * MINUTE_S]


@pytest.mark.parametrize("line", [b"{}", b"[1]", b'["a",1,1,1,1,[],[],[]]', b"[1,-5,1,1,1,[],[],[]]", b"\xff\xfe"])
def test_what_cannot_be_true_is_not_read(tmp_path: Path, line: bytes) -> None:
    History(tmp_path).append(minute(0))
    [path] = tmp_path.glob("week-*.jsonl")
    with path.open("ab") as file:
        file.write(line + b"\n")
    assert list(History(tmp_path).minutes()) == [minute(0)]


def test_the_record_is_bounded(tmp_path: Path) -> None:
    history = History(tmp_path)
    for week in range(KEPT_WEEKS + 3):
        history.append(minute(round(week * WEEK_S / MINUTE_S)))
    assert len(list(tmp_path.glob("week-*.jsonl"))) == KEPT_WEEKS
    assert len(list(history.minutes())) == KEPT_WEEKS


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        History(tmp_path / "file" / "deeper").append(minute(0))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0.05, 14.0), st.floats(0.0, 1e6)), min_size=10, max_size=60))
def test_the_mean_of_a_minute_is_the_energy_of_its_readings(ticks: list[tuple[float, float]]) -> None:
    state, now_s, closed = OpenMinute(), START_S, []
    energy_j: dict[float, float] = {}
    before_s = START_S
    state, _ = state.noted(START_S, 0.0)
    for step_s, draw_w in ticks:
        now_s += step_s
        for edge_s in (now_s // MINUTE_S * MINUTE_S, now_s):
            if edge_s > before_s:
                start_s = before_s // MINUTE_S * MINUTE_S
                energy_j[start_s] = energy_j.get(start_s, 0.0) + draw_w * (edge_s - before_s)
                before_s = edge_s
        state, done = state.noted(now_s, draw_w)
        closed += [done] if done else []
    for each in closed:
        assert math.isclose(each.mean_w * MINUTE_S, energy_j[each.start_s], rel_tol=1e-6, abs_tol=1e-3)
        assert each.low_w <= each.mean_w + 1e-6 <= each.high_w + 2e-6


@pytest.mark.parametrize("draw_w", [math.nan, math.inf, -1.0])
def test_what_is_no_reading_is_not_counted(draw_w: float) -> None:
    state, _ = OpenMinute().noted(START_S, 100.0)
    assert state.noted(START_S + 1.0, draw_w) == (state, None)


def test_a_minute_that_was_hardly_seen_is_not_known() -> None:
    state, _ = OpenMinute().noted(START_S, 100.0)
    _, closed = state.noted(START_S + 90.0, 100.0)
    assert closed is None


def test_minutes_with_a_hole_keep_it() -> None:
    series = series_of([minute(0), minute(3)])
    np.testing.assert_array_equal(np.isfinite(series.mean_w), [True, False, False, True])
    joined = series.then(series_of([minute(6)]), 6)
    np.testing.assert_array_equal(np.isfinite(joined.mean_w), [False, False, True, False, False, True])
    assert joined.then(series_of([minute(2)]), 6) is joined


def test_coarser_steps_begin_on_their_multiples_and_keep_the_mean() -> None:
    fine = plain(START_S + 300.0, 300.0, np.arange(14.0))
    coarse = fine.coarser(900.0)
    assert coarse.start_s % 900.0 == 0.0
    np.testing.assert_allclose(coarse.mean_w, [3.0, 6.0, 9.0, 12.0])
    assert plain(START_S, 600.0, np.arange(9.0)).coarser(900.0).step_s == 1200.0


def test_a_model_survives_the_disk(tmp_path: Path) -> None:
    kept = model()
    save(tmp_path / "models.json", (kept,))
    found = load(tmp_path / "models.json")
    assert isinstance(found, dict)
    assert found["coarse"].model == kept


def test_no_models_are_no_trouble(tmp_path: Path) -> None:
    assert load(tmp_path / "models.json") == {}


@pytest.mark.parametrize("damage", ["", "{", '{"version":2,"ranges":[]}', '{"version":1,"features":[],"ranges":[]}'])
def test_a_model_that_does_not_fit_is_refused_whole(tmp_path: Path, damage: str) -> None:
    (tmp_path / "models.json").write_text(damage)
    assert "the next training replaces it" in str(load(tmp_path / "models.json"))


def test_trees_that_are_none_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "models.json", (model().model_copy(update={"trees": ("nonsense", "more")}),))
    assert "models.json" in str(load(tmp_path / "models.json"))
