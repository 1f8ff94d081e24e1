"""In a release the draw itself comes back no faster than the ramp: who wakes is let up at its pace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wattlease.core.actions import Plan
from wattlease.core.decide import decide
from wattlease.core.drawn import noted, steady, within_w
from wattlease.core.estimate import estimate
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import Floats, Snapshot, Terms, Window
from wattlease.core.release import released
from wattlease.core.sites import site_table
from wattlease.core.tick import assess
from wattlease.core.wire import build, plain
from wattlease.sim import instances
from wattlease.sim.instances import Shape

MINUTE_S, BEGINS_S, LOWERED_S = 60.0, 60.0, 180.0
JOBS, WANTS_W = 8, 600.0
LOW_FRAC, USUAL_FRAC = 0.75, 0.05
NOISE_FRAC = 0.01
"""Of the limit: by how much a minute's mean strays from what was aimed at."""

STRICT = Terms("strict", max_slowdown_frac=0.1, pausable=False)
LOOSE = Terms("loose", max_slowdown_frac=0.5, value_per_gpu_h=0.2)


def site(percent: float = 100 * USUAL_FRAC, terms: Terms = LOOSE, counts: str = "Draw") -> Snapshot:
    """Eight jobs of eight cards that want 600 W each; the limit leaves them alone, but for a cut of 2 minutes."""
    seen = instances.snapshot(np.random.default_rng(3), Shape(running=JOBS, sizes=(8,), limit_frac=1.2))
    limit_w = int(1.05 * (JOBS * 8 * WANTS_W + JOBS * 2400.0))
    root = instances.budget("hall", limit_w, counts)
    ramp = root.spec.ramp.model_copy(update={"release_percent_per_minute": percent})
    root = root.model_copy(update={"spec": root.spec.model_copy(update={"ramp": ramp})})
    scopes = (replace(seen.site.scopes[0], budget=root),)
    event = Window(0, "event", "peak", seen.now_s + BEGINS_S, seen.now_s + LOWERED_S, LOW_FRAC * limit_w)
    power_w = np.full(len(seen.gpus.job), WANTS_W)
    jobs = replace(seen.jobs, terms=np.zeros(JOBS, np.int64), owner=("one",) * JOBS)
    gpus = replace(seen.gpus, power_w=power_w)
    return replace(seen, site=replace(seen.site, scopes=scopes, terms=(terms,)), jobs=jobs, gpus=gpus, windows=(event,))


def ride(
    snapshot: Snapshot, wants_w: Callable[[float], Floats], tick_s: float, until_s: float
) -> Iterator[tuple[float, float, Plan, Memory]]:
    """Seconds since the limit came back, what is drawn then, what was planned for it, and the memory."""
    memory, ends_s = FRESH, snapshot.now_s + LOWERED_S
    while snapshot.now_s < ends_s + until_s:
        plan, memory = decide(snapshot, memory)
        after_s = snapshot.now_s - ends_s
        snapshot = instances.obeyed(snapshot, wants_w(after_s)[snapshot.gpus.job], plan.cap_w, tick_s)
        yield after_s, float(snapshot.gpus.power_w.sum()) + JOBS * 2400.0, plan, memory


def stalled(who: int, at_s: float, lasts_s: float) -> Callable[[float], Floats]:
    """What each job's cards want, where one of them rests for a while."""

    def wants_w(after_s: float) -> Floats:
        rests = (np.arange(JOBS) == who) & (at_s <= after_s < at_s + lasts_s)
        return np.where(rests, 0.3 * WANTS_W, WANTS_W)

    return wants_w


def nominal_s(snapshot: Snapshot) -> float:
    spec = snapshot.site.scopes[0].budget.spec
    return (1.0 - LOW_FRAC) / (spec.ramp.release_percent_per_minute / 100.0) * MINUTE_S


@given(st.integers(0, JOBS - 1), st.floats(-60.0, 200.0), st.floats(8.0, 150.0), st.sampled_from([1.0, 2.0]))
@example(0, 100.0, 20.0, 1.0)
@example(3, 60.0, 120.0, 2.0)
@settings(max_examples=6, deadline=None)
def test_in_a_release_no_minute_draws_more_than_the_ramp_above_the_minute_before(
    who: int, at_s: float, lasts_s: float, tick_s: float
) -> None:
    snapshot = site()
    limit_w = float(snapshot.site.scopes[0].budget.spec.limit_watts)
    rows = [(t, w) for t, w, _, _ in ride(snapshot, stalled(who, at_s, lasts_s), tick_s, nominal_s(snapshot))]
    drawn_w = np.array([w for _, w in rows])
    span = int(MINUTE_S / tick_s)
    means_w = np.convolve(drawn_w, np.ones(span) / span, "valid")
    rises = (means_w[span:] - means_w[:-span])[np.array([t for t, _ in rows])[2 * span - 1 :] >= 0.0]
    assert rises.max() <= (USUAL_FRAC + NOISE_FRAC) * limit_w


@given(st.floats(0.0, 1.2), st.sampled_from([1.0, 10.0]))
@settings(max_examples=20, deadline=None)
def test_a_release_ends_whatever_is_drawn(draws_frac: float, tick_s: float) -> None:
    snapshot = site()
    limit_w = float(snapshot.site.scopes[0].budget.spec.limit_watts)
    known, memory = estimate(snapshot, FRESH)
    known = replace(known, draw_w=np.array([draws_frac * limit_w]))
    low_w, full_w, table = np.array([LOW_FRAC * limit_w]), np.array([limit_w]), site_table(snapshot.site)
    nothing = np.zeros(1)
    scopes = released(low_w, nothing, nothing, known, table, memory.scopes, tick_s)
    for _ in range(int((2 * nominal_s(snapshot) + MINUTE_S) / tick_s) + 2):
        scopes = released(full_w, nothing, nothing, known, table, scopes, tick_s)
        assert scopes.allowed_w[0] >= low_w[0] - USUAL_FRAC * limit_w - 1e-6
    assert scopes.allowed_w[0] == limit_w
    assert np.isnan(scopes.began_w[0])


@given(st.lists(st.floats(0.0, 1.5), min_size=2, max_size=40))
@settings(max_examples=40, deadline=None)
def test_outside_a_release_what_is_drawn_changes_nothing(draws: list[float]) -> None:
    snapshot = site()
    limit_w = float(snapshot.site.scopes[0].budget.spec.limit_watts)
    known, memory = estimate(snapshot, FRESH)
    scopes, nothing = memory.scopes, np.zeros(1)
    for draws_frac in draws:
        seen = replace(known, draw_w=np.array([draws_frac * limit_w]))
        scopes = released(np.array([limit_w]), nothing, nothing, seen, site_table(snapshot.site), scopes, 5.0)
        assert scopes.allowed_w[0] == limit_w


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.sampled_from([1.0, 2.0, 10.0]))
@settings(max_examples=30, deadline=None)
def test_a_site_that_asks_for_its_whole_limit_a_minute_is_held_by_its_ramp_alone(
    draws_frac: float, low_frac: float, tick_s: float
) -> None:
    snapshot = site(percent=100.0)
    limit_w = float(snapshot.site.scopes[0].budget.spec.limit_watts)
    known, memory = estimate(snapshot, FRESH)
    known = replace(known, draw_w=np.array([draws_frac * low_frac * limit_w]))
    nothing, table = np.zeros(1), site_table(snapshot.site)
    start = replace(memory.scopes, drawn=steady(known.draw_w))
    scopes = released(np.array([low_frac * limit_w]), nothing, nothing, known, table, start, tick_s)
    for _ in range(int(MINUTE_S / tick_s) + 1):
        scopes = released(np.array([limit_w]), nothing, nothing, known, table, scopes, tick_s)
        assert scopes.allowed_w[0] == pytest.approx(scopes.ramp_w[0])


@given(st.integers(0, JOBS - 1), st.floats(-60.0, 200.0), st.floats(8.0, 150.0))
@settings(max_examples=6, deadline=None)
def test_where_limits_are_counted_they_come_back_along_the_ramp_whatever_is_drawn_under_them(
    who: int, at_s: float, lasts_s: float
) -> None:
    snapshot = site(counts="Limits")
    for after_s, _, _, memory in ride(snapshot, stalled(who, at_s, lasts_s), 2.0, 1.2 * nominal_s(snapshot)):
        if after_s > 0.0:
            assert memory.scopes.allowed_w[0] == memory.scopes.ramp_w[0]


@given(st.integers(0, JOBS - 1), st.floats(0.0, 120.0), st.floats(20.0, 120.0))
@settings(max_examples=4, deadline=None)
def test_no_contract_is_broken_and_nobody_paused_for_the_pace_of_a_release(
    who: int, at_s: float, lasts_s: float
) -> None:
    """The cut leaves every contract room, so the way back has to as well."""
    snapshot = site(terms=replace(STRICT, max_slowdown_frac=0.25, pausable=True))
    for after_s, _, plan, _ in ride(snapshot, stalled(who, at_s, lasts_s), 2.0, nominal_s(snapshot)):
        assert not plan.actions
        if after_s >= 0.0:
            assert plan.speed_frac.min() >= 0.75 - 0.02


def test_what_contracts_need_is_allowed_as_far_as_the_ramp_goes() -> None:
    snapshot = site()
    limit_w = float(snapshot.site.scopes[0].budget.spec.limit_watts)
    known, memory = estimate(snapshot, FRESH)
    known, nothing, table = replace(known, draw_w=np.zeros(1)), np.zeros(1), site_table(snapshot.site)
    scopes = released(np.array([0.5 * limit_w]), nothing, nothing, known, table, memory.scopes, 10.0)
    for _ in range(18):
        scopes = released(np.array([limit_w]), nothing, nothing, known, table, scopes, 10.0)
    assert scopes.allowed_w[0] == pytest.approx(0.5 * limit_w)
    promised_w = np.array([0.6 * limit_w])
    after = released(np.array([limit_w]), promised_w, nothing, known, table, scopes, 1.0)
    assert after.allowed_w[0] == pytest.approx(0.6 * limit_w)
    after = released(np.array([limit_w]), np.array([limit_w]), nothing, known, table, scopes, 1.0)
    assert after.allowed_w[0] == after.ramp_w[0] < limit_w


@given(st.floats(250.0, 500.0), st.floats(1.0, 240.0), st.floats(30.0, 200.0))
@settings(max_examples=60, deadline=None)
def test_who_takes_all_that_the_account_leaves_raises_no_minute_by_half_as_much_again(
    lull_w: float, lasts_s: float, rise_w: float
) -> None:
    """Nobody does: the ramp holds as well, and then it is the rise itself."""
    drawn = noted(steady(np.array([500.0])), np.array([lull_w]), lasts_s)
    means_w = []
    for _ in range(240):
        drawn = noted(drawn, within_w(drawn, np.array([rise_w])), 1.0)
        if drawn.open_s < 1.0:
            means_w.append(float(drawn.spans_w[0, -6:].mean()))
    assert (np.array(means_w)[6:] - np.array(means_w)[:-6]).max() <= 1.5 * rise_w


def test_what_was_drawn_survives_json() -> None:
    snapshot = site()
    memory = FRESH
    for k in range(3):
        _, memory = assess(replace(snapshot, now_s=snapshot.now_s + 7.0 * k), replace(memory, now_s=snapshot.now_s))
    again = build(Memory, plain(memory))
    assert (again.scopes.drawn.spans_w == memory.scopes.drawn.spans_w).all()
    assert again.scopes.drawn.open_s == memory.scopes.drawn.open_s
