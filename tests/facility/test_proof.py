"""The proof of an event: its sums, its two baselines, and what becomes of gaps, cancellations and half records."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.model import Floats
from wattlease.facility.proof import Proof, minutes_around, proof
from wattlease.facility.proof_baseline import NoBaseline, hour_before, like_days
from wattlease.facility.proof_course import Course, minutes
from wattlease.facility.proof_ticks import JobShare, Record, RecordedEvent

BERLIN = ZoneInfo("Europe/Berlin")
START_S = datetime(2026, 11, 18, 16, tzinfo=BERLIN).timestamp()  # a Wednesday
HOUR_S = 3600.0


def steady(from_s: float, until_s: float, watts: float, step_s: float = 10.0) -> tuple[Floats, Floats]:
    t_s = np.arange(from_s, until_s, step_s)
    return t_s, np.full(len(t_s), watts)


def course(*parts: tuple[Floats, Floats]) -> Course:
    return Course(np.concatenate([t for t, _ in parts]), np.concatenate([w for _, w in parts]))


def event_of(long_s: float = HOUR_S, limit_w: float = 7e5, **more: float) -> RecordedEvent:
    end_s = more.get("end_s", START_S + long_s)
    event = RecordedEvent("site", "peak", START_S, end_s, START_S + long_s)
    event.t_s = np.arange(START_S, end_s, 10.0).tolist()
    event.limit_w = event.allowed_w = [limit_w] * len(event.t_s)
    return event


def judged(found: Course, event: RecordedEvent, method: str = "hour-before") -> Proof:
    result = proof(Record({"site": found}, {("site", event.name): event}), event, method, BERLIN)
    assert isinstance(result, Proof)
    return result


levels = st.lists(st.one_of(st.floats(0, 1e7), st.just(math.nan)), min_size=2, max_size=40)


@given(levels, st.lists(st.floats(1, 200), min_size=40, max_size=40), st.floats(0, 3000), st.floats(0, 3000))
@settings(max_examples=80, deadline=None)
def test_energy_and_known_time_are_summed_over_what_was_recorded(
    watts: list[float], gaps_s: list[float], a_s: float, b_s: float
) -> None:
    from_s, until_s = min(a_s, b_s), max(a_s, b_s)
    t_s = np.cumsum(gaps_s[: len(watts)])
    joules = known_s = 0.0
    for k, power_w in enumerate(watts):
        held_s = min(60.0, t_s[k + 1] - t_s[k] if k + 1 < len(watts) else t_s[k] - t_s[k - 1])
        inside_s = max(0.0, min(until_s, t_s[k] + held_s) - max(from_s, t_s[k]))
        if math.isfinite(power_w):
            joules, known_s = joules + power_w * inside_s, known_s + inside_s
    found = Course(t_s, np.array(watts))
    assert found.energy_j(from_s, until_s) == pytest.approx(joules, rel=1e-6, abs=1.0)
    assert found.known_s(from_s, until_s) == pytest.approx(known_s, abs=1e-6)


@given(st.floats(1e5, 2e6), st.floats(1e4, 2e6), st.floats(1e4, 2e6))
@settings(max_examples=60, deadline=None)
def test_what_is_delivered_is_expected_less_drawn(before_w: float, during_w: float, limit_w: float) -> None:
    found = judged(
        course(steady(START_S - HOUR_S, START_S, before_w), steady(START_S, START_S + 2 * HOUR_S, during_w)),
        event_of(limit_w=limit_w),
    )
    assert found.delivered_w == pytest.approx(before_w - during_w, abs=1.0)
    assert found.asked_w == pytest.approx(max(0.0, before_w - limit_w), abs=1.0)
    assert found.delivered_kwh == pytest.approx((before_w - during_w) / 1000, abs=0.01)
    assert found.over_kwh == pytest.approx(max(0.0, during_w - limit_w) / 1000, abs=0.01)
    assert found.unused_kwh == pytest.approx(max(0.0, limit_w - during_w) / 1000, abs=0.01)
    assert found.settle_s == (math.inf if during_w > limit_w + 1e-6 else 0.0)
    assert found.snap_back_w == pytest.approx(during_w - before_w, abs=1.0)
    assert found.missing_s == pytest.approx(0.0, abs=1e-6)


def test_an_event_settles_when_no_later_minute_is_above_what_was_allowed() -> None:
    drawn = course(
        steady(START_S - HOUR_S, START_S + 125, 9e5), steady(START_S + 125, START_S + 600, 6e5),
        steady(START_S + 600, START_S + 640, 8e5), steady(START_S + 640, START_S + HOUR_S, 6e5),
    )  # fmt: skip
    found = judged(drawn, event_of())
    assert found.settle_s == 660.0
    assert found.highest_w == pytest.approx(9e5)
    assert found.over_kwh == pytest.approx((120 * 2e5 + 60 * (8e5 * 40 + 6e5 * 20 - 7e5 * 60) / 60) / 3.6e6, rel=0.02)


def test_a_ramp_allows_what_it_allows() -> None:
    event = event_of()
    event.allowed_w = [max(7e5, 9e5 - 2e5 * k / 60) for k in range(len(event.t_s))]
    ramp = np.arange(START_S, START_S + HOUR_S, 10.0), np.array(event.allowed_w) - 1.0
    found = judged(course(steady(START_S - HOUR_S, START_S, 9e5), ramp), event)
    assert found.settle_s == 0.0
    assert found.over_kwh == 0.0
    assert found.limit_w == pytest.approx(7e5)


def test_what_is_not_recorded_is_said_and_not_counted() -> None:
    gap = course(
        steady(START_S - HOUR_S, START_S + 600, 9e5), steady(START_S + 1800, START_S + HOUR_S, 6e5),
    )  # fmt: skip
    found = judged(gap, event_of())
    assert found.missing_s == pytest.approx(1200 - 50, abs=1)
    known_s = HOUR_S - found.missing_s
    assert found.delivered_kwh == pytest.approx(1800 * 3e5 / 3.6e6, rel=1e-6)
    assert found.delivered_w == pytest.approx(1800 * 3e5 / known_s, rel=1e-6)


def test_an_event_that_was_cancelled_is_judged_to_where_it_was() -> None:
    event = event_of(end_s=START_S + 900)
    assert event.was_cancelled
    found = judged(course(steady(START_S - HOUR_S, START_S, 9e5), steady(START_S, START_S + HOUR_S, 6e5)), event)
    assert found.duration_s == 900
    assert found.delivered_kwh == pytest.approx(0.25 * 300, rel=1e-6)


def test_a_record_that_ends_within_the_event_leaves_the_rest_missing() -> None:
    found = judged(course(steady(START_S - HOUR_S, START_S + 1200, 6e5)), event_of())
    assert found.missing_s == pytest.approx(2400, abs=10)
    assert math.isnan(found.snap_back_w)


def test_a_job_pays_for_what_it_lost() -> None:
    event = event_of()
    event.jobs = {"a": JobShare("a", "a", "ada", 8, 3600.0, 900.0, 4.0), "b": JobShare("b", "b", "bob", 8, cost=6.0)}
    found = judged(course(steady(START_S - HOUR_S, START_S + HOUR_S, 6e5)), event)
    assert [job.id for job in found.jobs] == ["b", "a"]
    assert found.cost == 10.0
    assert event.jobs["a"].speed_frac == 0.75


def test_minutes_around_show_an_hour_on_each_side() -> None:
    drawn = course(steady(START_S - 2 * HOUR_S, START_S + 3 * HOUR_S, 6e5))
    found = judged(drawn, event_of())
    shown = minutes_around(Record({"site": drawn}, {}), found)
    assert len(shown.at_s) == 180
    assert np.isfinite(shown.draw_w).all()
    assert np.isfinite(shown.baseline_w).sum() == np.isfinite(shown.limit_w).sum() == 60


def day(ago: int, watts: float, hours: float = 6.0) -> tuple[Floats, Floats]:
    """The hours up to and through the event's, by the clock on the wall, so many days ago."""
    noon = datetime(2026, 11, 18, 12, tzinfo=BERLIN) - timedelta(days=ago)
    return steady(noon.timestamp(), noon.timestamp() + hours * HOUR_S, watts, 30.0)


@given(st.lists(st.floats(5e5, 1.5e6), min_size=3, max_size=16), st.floats(0.5, 2.0))
@settings(max_examples=40, deadline=None)
def test_like_days_are_the_last_ten_and_today_moves_them_by_a_fifth_at_most(
    levels_w: list[float], ratio: float
) -> None:
    working = [ago for ago in range(1, 40) if (datetime(2026, 11, 18) - timedelta(days=ago)).weekday() < 5]  # noqa: DTZ001
    days = list(zip(working, levels_w, strict=False))
    used_w = [watts for _, watts in days[:10]]
    today = day(0, ratio * float(np.mean(used_w)), hours=4.0)
    parts = [day(ago, watts) for ago, watts in reversed(days)]
    found = like_days(course(*parts, today), START_S, START_S + HOUR_S, [], BERLIN)
    assert not isinstance(found, NoBaseline)
    expected_w = float(np.mean(used_w)) * min(1.2, max(0.8, ratio))
    assert found.power_w == pytest.approx([expected_w] * 4, rel=1e-6)
    assert f"on {len(used_w)} like days" in found.words
    assert ("held there" in found.words) == (not 0.8 <= ratio <= 1.2)


def test_days_with_an_event_weekends_and_half_recorded_days_do_not_count() -> None:
    parts = [day(9, 1e6), day(8, 1e6), day(7, 1e6), day(4, 9e6), day(3, 9e6), day(2, 9e6), day(1, 9e6, hours=4.4)]
    event_on_monday = START_S - 2 * 86_400, START_S - 2 * 86_400 + 600
    found = like_days(course(*parts), START_S, START_S + HOUR_S, [event_on_monday], BERLIN)
    assert not isinstance(found, NoBaseline)
    assert found.power_w == pytest.approx([1e6] * 4)
    assert "on 3 like days (11 Nov, 10 Nov, 09 Nov), not adjusted" in found.words


def test_like_days_follow_the_clock_on_the_wall_over_a_change_of_time() -> None:
    start = datetime(2026, 10, 27, 16, tzinfo=BERLIN)
    parts = []
    for ago in (7, 6, 5, 4, 1):
        at = (start.replace(hour=14) - timedelta(days=ago)).timestamp()
        parts += [steady(at, at + 2 * HOUR_S, 5e5, 30.0), steady(at + 2 * HOUR_S, at + 4 * HOUR_S, 1e6, 30.0)]
    found = like_days(course(*parts), start.timestamp(), start.timestamp() + HOUR_S, [], BERLIN)
    assert not isinstance(found, NoBaseline)
    assert found.power_w == pytest.approx([1e6] * 4)


def test_a_method_that_the_record_does_not_carry_says_so() -> None:
    few = like_days(course(day(2, 1e6), day(1, 1e6)), START_S, START_S + HOUR_S, [], BERLIN)
    assert isinstance(few, NoBaseline)
    assert "2 like days" in few.text
    late = hour_before(course(steady(START_S - 600, START_S + HOUR_S, 1e6)), START_S)
    assert isinstance(late, NoBaseline)
    assert "only 10 min" in late.text
    partly = hour_before(course(steady(START_S - 1800, START_S + HOUR_S, 1e6)), START_S)
    assert not isinstance(partly, NoBaseline)
    assert "of which 30 min are recorded" in partly.words


@given(st.floats(60, 1e5), st.sampled_from([60.0, 900.0]))
def test_minutes_are_whole_and_within_their_span(long_s: float, width_s: float) -> None:
    bounds_s = minutes(START_S, START_S + long_s, width_s)
    assert bounds_s[0] == START_S
    assert bounds_s[-1] <= START_S + long_s + 1e-6
    assert START_S + long_s - bounds_s[-1] < width_s
