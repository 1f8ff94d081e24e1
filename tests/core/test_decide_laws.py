"""The laws of a decision, on random sites."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wattlease.core.actions import Action, Charge, Discharge, Hold, Pause, Plan, Release, Resume
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import NONE, JobState, Snapshot
from wattlease.core.wire import build, plain
from wattlease.sim import instances
from wattlease.sim.instances import H100, Shape

SEEDS = st.integers(0, 2**32 - 1)
shapes = st.builds(
    Shape,
    running=st.integers(1, 24),
    waiting=st.integers(0, 8),
    paused=st.integers(0, 4),
    limit_frac=st.floats(0.45, 1.3),
    racks=st.sampled_from([1, 1, 3]),
    counts=st.sampled_from(["Draw", "Limits"]),
)


def seen(seed: int, shape: Shape) -> Snapshot:
    return instances.snapshot(np.random.default_rng(seed), shape)


def states(plan: Plan) -> set[object]:
    return {a for a in plan.actions if not isinstance(a, Charge | Discharge)}


def counted_w(snapshot: Snapshot, plan: Plan) -> float:
    """What the plan lets the site draw, by its own way of counting."""
    return plan.scopes[0].planned_w


def permuted(snapshot: Snapshot, order: np.ndarray) -> Snapshot:
    """The same jobs in another order."""
    jobs = snapshot.jobs
    back = np.append(np.argsort(order), NONE)
    columns = {
        name: (tuple(np.array(value, dtype=object)[order]) if isinstance(value, tuple) else value[order])
        for name in jobs.__slots__
        for value in [getattr(jobs, name)]
    }
    gpus = replace(snapshot.gpus, job=back[snapshot.gpus.job])
    return replace(snapshot, jobs=type(jobs)(**columns), gpus=gpus)


@given(SEEDS, shapes)
@settings(max_examples=60, deadline=None)
def test_sheds_the_excess_whenever_the_offers_can(seed: int, shape: Shape) -> None:
    snapshot = seen(seed, shape)
    plan, _ = decide(snapshot, FRESH)
    for k, scope in enumerate(plan.scopes):
        nodes = snapshot.site.nodes.scope == k if k else np.full(len(snapshot.site.nodes.id), True)
        floor_w = float(nodes.sum()) * (2400.0 + 8 * H100.min_cap_w)
        if scope.limit_w >= floor_w:
            assert scope.planned_w <= scope.limit_w * (1 + 1e-9) + 1e-3


@given(SEEDS, shapes, st.floats(0.1, 0.9))
@settings(max_examples=40, deadline=None)
def test_what_nothing_can_stop_is_never_told_to_stop(seed: int, shape: Shape, limit_frac: float) -> None:
    """Else its cap would stay at the lowest for as long as the pause is waited for."""
    snapshot = seen(seed, replace(shape, limit_frac=limit_frac))
    terms = tuple(replace(t, stoppable=k % 2 == 0) for k, t in enumerate(snapshot.site.terms))
    snapshot = replace(snapshot, site=replace(snapshot.site, terms=terms))
    plan, _ = decide(snapshot, FRESH)
    told = {action.job for action in plan.actions if isinstance(action, Pause)}
    assert not told & {name for name, t in zip(snapshot.jobs.id, snapshot.jobs.terms, strict=True) if t % 2}


@given(SEEDS, shapes)
@settings(max_examples=40, deadline=None)
def test_touches_nothing_without_need(seed: int, shape: Shape) -> None:
    snapshot = instances.limited(seen(seed, replace(shape, racks=1, waiting=0, paused=0)), 1e8)
    plan, _ = decide(snapshot, FRESH)
    assert not states(plan)
    running = snapshot.jobs.state == JobState.RUNNING
    assert np.all(plan.cap_w[running] == H100.rated_w)
    assert np.all(plan.speed_frac[running] == 1.0)


@given(SEEDS, shapes, st.floats(0.5, 1.0), st.floats(0.01, 0.3))
@settings(max_examples=60, deadline=None)
def test_a_larger_excess_never_frees_less(seed: int, shape: Shape, limit_frac: float, more_frac: float) -> None:
    shape = replace(shape, racks=1, limit_frac=1.0)
    snapshot = seen(seed, shape)
    full_w = snapshot.site.scopes[0].budget.spec.limit_watts
    mild, _ = decide(instances.limited(snapshot, full_w * limit_frac), FRESH)
    hard, _ = decide(instances.limited(snapshot, full_w * (limit_frac - more_frac * limit_frac)), FRESH)
    assert counted_w(snapshot, hard) <= counted_w(snapshot, mild) + 1e-3


@given(SEEDS, shapes)
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_input_does_not_matter(seed: int, shape: Shape) -> None:
    snapshot = seen(seed, shape)
    order = np.random.default_rng(seed + 1).permutation(len(snapshot.jobs.id))
    one, _ = decide(snapshot, FRESH)
    other, _ = decide(permuted(snapshot, order), FRESH)
    assert states(one) == states(other)
    assert np.allclose(one.cap_w[order], other.cap_w, atol=1e-3)


@given(SEEDS, shapes)
@settings(max_examples=60, deadline=None)
def test_no_cap_is_outside_the_range_of_its_card(seed: int, shape: Shape) -> None:
    plan, _ = decide(seen(seed, shape), FRESH)
    assert np.all((plan.cap_w >= H100.min_cap_w - 1e-9) & (plan.cap_w <= H100.rated_w + 1e-9))


@given(SEEDS, shapes, st.floats(1.05, 2.0))
@settings(max_examples=40, deadline=None)
def test_stale_readings_never_raise_a_cap(seed: int, shape: Shape, rise: float) -> None:
    snapshot = seen(seed, replace(shape, racks=1, waiting=0, paused=0))
    plan, memory = decide(snapshot, FRESH)
    later = instances.obeyed(snapshot, snapshot.gpus.power_w, plan.cap_w, 1.0)
    roomy = instances.limited(later, later.site.scopes[0].budget.spec.limit_watts * rise)
    stale = replace(roomy, gpus=replace(roomy.gpus, age_s=np.full(len(roomy.gpus.job), 60.0)))
    after, _ = decide(stale, memory)
    assert np.all(after.cap_w <= plan.cap_w + 1e-6)
    assert not any(isinstance(a, Resume | Release) for a in after.actions)


@given(SEEDS, shapes)
@example(429, Shape(running=6, waiting=6, paused=4, limit_frac=1.0, racks=3, counts="Draw"))
@settings(max_examples=40, deadline=None)
def test_the_same_snapshot_twice_adds_nothing(seed: int, shape: Shape) -> None:
    snapshot = seen(seed, shape)
    plan, memory = decide(snapshot, FRESH)
    again, _ = decide(snapshot, memory)
    assert states(again) <= states(plan)
    assert np.allclose(again.cap_w, plan.cap_w, atol=1e-3)


@given(SEEDS, shapes, st.lists(st.floats(0.5, 1.2), min_size=12, max_size=12))
@settings(max_examples=25, deadline=None)
def test_nobody_changes_state_twice_within_its_dwell(seed: int, shape: Shape, fracs: list[float]) -> None:
    snapshot = seen(seed, replace(shape, racks=1))
    base_w = snapshot.site.scopes[0].budget.spec.limit_watts
    dwell = snapshot.site.scopes[0].budget.spec.dwell
    shortest_s = min(dwell.pause_seconds, dwell.hold_seconds)
    memory, wants_w = FRESH, snapshot.gpus.power_w
    changed: dict[str, tuple[float, type[Action]]] = {}
    for frac in fracs:
        plan, memory = decide(instances.limited(snapshot, base_w * frac), memory)
        for action in plan.actions:
            job = getattr(action, "job", None)
            if job is not None:
                at_s, what = changed.get(job, (-np.inf, Hold))
                not_begun = what is Release and isinstance(action, Hold)  # it has no work to lose
                assert snapshot.now_s - at_s >= shortest_s or not_begun
                changed[job] = snapshot.now_s, type(action)
        snapshot = instances.obeyed(_acted(snapshot, plan), wants_w, plan.cap_w, 10.0)


def _acted(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """The snapshot after its jobs did as they were told."""
    state = snapshot.jobs.state.copy()
    at = {name: j for j, name in enumerate(snapshot.jobs.id)}
    to = {Pause: JobState.PAUSED, Resume: JobState.RUNNING, Release: JobState.RELEASED, Hold: JobState.HELD}
    for action in plan.actions:
        if type(action) in to:
            state[at[action.job]] = to[type(action)]  # type: ignore[union-attr]
    return replace(snapshot, jobs=replace(snapshot.jobs, state=state))


@given(SEEDS, shapes, st.floats(0.6, 1.1), st.floats(0.5, 0.99))
@settings(max_examples=40, deadline=None)
def test_a_lower_limit_never_admits_more(seed: int, shape: Shape, limit_frac: float, lower: float) -> None:
    snapshot = seen(seed, replace(shape, racks=1, limit_frac=1.0))
    full_w = snapshot.site.scopes[0].budget.spec.limit_watts

    def admitted_w(limit_w: float) -> float:
        plan, _ = decide(instances.limited(snapshot, limit_w), FRESH)
        return plan.scopes[0].planned_w

    assert admitted_w(full_w * limit_frac * lower) <= admitted_w(full_w * limit_frac) + 1e-3


@given(SEEDS, shapes)
@settings(max_examples=25, deadline=None)
def test_plan_and_memory_survive_json(seed: int, shape: Shape) -> None:
    import orjson

    snapshot = seen(seed, shape)
    plan, memory = decide(snapshot, FRESH)
    for value in (plan, memory):
        text = orjson.dumps(plain(value), option=orjson.OPT_SERIALIZE_NUMPY)
        assert orjson.dumps(plain(build(type(value), orjson.loads(text))), option=orjson.OPT_SERIALIZE_NUMPY) == text
    revived = build(Memory, orjson.loads(orjson.dumps(plain(memory), option=orjson.OPT_SERIALIZE_NUMPY)))
    later = instances.obeyed(snapshot, snapshot.gpus.power_w, plan.cap_w, 1.0)
    one, _ = decide(later, memory)
    other, _ = decide(later, revived)
    assert np.array_equal(one.cap_w, other.cap_w)
    assert one.actions == other.actions


@given(SEEDS, shapes)
@example(514, Shape(running=1, counts="Draw"))  # promised so much that its contract stands where it is uncapped
@settings(max_examples=25, deadline=None)
def test_a_restore_never_makes_the_next_tick_shed(seed: int, shape: Shape) -> None:
    snapshot = seen(seed, replace(shape, racks=1, limit_frac=0.7, waiting=0, paused=0))
    plan, memory = decide(snapshot, FRESH)
    wants_w = snapshot.gpus.power_w
    roomy_w = snapshot.site.scopes[0].budget.spec.limit_watts * 1.6
    for k in range(40):
        snapshot = instances.limited(instances.obeyed(_acted(snapshot, plan), wants_w, plan.cap_w, 10.0), roomy_w)
        before = plan
        plan, memory = decide(snapshot, memory)
        assert not any(isinstance(a, Pause | Hold) for a in plan.actions)
        if k:  # until the first tick's pauses are done, they count at their lowest caps
            assert plan.scopes[0].planned_w >= before.scopes[0].planned_w * 0.95


@given(SEEDS, st.floats(0.35, 0.9))
@settings(max_examples=40, deadline=None)
def test_a_protected_job_is_never_touched_while_an_unprotected_watt_is_left(seed: int, limit_frac: float) -> None:
    snapshot = seen(seed, Shape(running=16, limit_frac=limit_frac))
    terms = [snapshot.site.terms[int(t)] for t in snapshot.jobs.terms]
    plan, _ = decide(snapshot, FRESH)
    touched = plan.speed_frac < 1.0 - 1e-9
    protected = np.array([t.protected for t in terms])
    if (touched & protected).any():
        paused = {a.job for a in plan.actions if isinstance(a, Pause)}
        spared = [
            name
            for j, name in enumerate(snapshot.jobs.id)
            if not protected[j] and name not in paused and plan.cap_w[j] > H100.min_cap_w + 1.0
        ]
        assert not spared


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.HELD])
def test_an_empty_site_is_decided_too(state: JobState) -> None:
    snapshot = seen(1, Shape(running=1 if state == JobState.RUNNING else 0, waiting=1))
    plan, memory = decide(snapshot, FRESH)
    assert len(plan.cap_w) == len(snapshot.jobs.id) == len(memory.jobs.id)
