from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from wattlease.core.actions import Release
from wattlease.core.decide import decide
from wattlease.core.estimate import estimate
from wattlease.core.guards import never_raised, unheard
from wattlease.core.memory import FRESH
from wattlease.core.model import NONE, Bools, JobState, Snapshot, Window
from wattlease.core.pools import PATIENCE_S, candidates
from wattlease.core.tick import assess
from wattlease.sim import instances
from wattlease.sim.instances import H100, Shape


def queue(sizes: list[int], cards: int, running: int = 8, counts: str = "Draw") -> Snapshot:
    """One job of eight cards that runs, a queue of these sizes in this order, and so many idle cards."""
    rng = np.random.default_rng(3)
    snapshot = instances.snapshot(
        rng, Shape(running=1, waiting=len(sizes), sizes=(running,), limit_frac=10.0, counts=counts)
    )
    jobs = snapshot.jobs
    waits = np.flatnonzero(jobs.state == JobState.HELD)
    gpus, rank = jobs.gpus.copy(), jobs.rank.copy()
    gpus[waits], rank[waits] = sizes, np.arange(len(sizes))
    jobs = replace(jobs, submitted_s=np.full(len(gpus), snapshot.now_s - 60.0))
    keep = -(-(running + cards) // 8)
    nodes, all_cards = snapshot.site.nodes, snapshot.site.gpus
    many = replace(
        nodes,
        id=tuple(f"n{k}" for k in range(keep)),
        cluster=("hall",) * keep,
        **{c: np.resize(getattr(nodes, c), keep) for c in ("scope", "nameplate_w", "overhead_w", "fallback_w")},
    )
    of_cards = {c: np.resize(getattr(all_cards, c), 8 * keep) for c in ("model", "min_cap_w", "max_cap_w")}
    site = replace(snapshot.site, nodes=many, gpus=replace(all_cards, node=np.repeat(np.arange(keep), 8), **of_cards))
    job = np.full(8 * keep, NONE)
    job[:running] = 0
    power_w = np.where(job == 0, 500.0, H100.idle_w)
    seen = replace(
        snapshot.gpus, job=job, power_w=power_w, age_s=np.full(8 * keep, 0.5), cap_w=np.full(8 * keep, H100.rated_w)
    )
    return replace(snapshot, site=site, gpus=seen, jobs=replace(jobs, gpus=gpus, rank=rank))


def starts(snapshot: Snapshot) -> Bools:
    """Which of the queue may start, in the queue's order."""
    known, _ = estimate(snapshot, FRESH)
    return candidates(snapshot, known)[1:]


def test_a_job_behind_a_huge_one_that_does_not_fit_may_start() -> None:
    assert starts(queue([64, 8, 4], cards=16)).tolist() == [False, True, True]


def test_the_first_in_the_queue_takes_the_cards() -> None:
    assert starts(queue([12, 8, 4], cards=16)).tolist() == [True, False, True]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_candidates_never_need_more_cards_than_are_free(sizes: list[int], nodes: int) -> None:
    may = starts(queue(sizes, cards=8 * nodes))
    assert np.array(sizes)[may].sum() <= 8 * nodes
    left = 8 * nodes - np.array(sizes)[may].sum()
    assert np.all(np.array(sizes)[~may] > left)


def test_cards_that_a_released_job_will_take_are_not_free() -> None:
    snapshot = queue([8, 8], cards=8)
    state = snapshot.jobs.state.copy()
    state[1] = JobState.RELEASED
    assert not starts(replace(snapshot, jobs=replace(snapshot.jobs, state=state))).any()


def test_cards_that_are_not_heard_are_not_free() -> None:
    snapshot = queue([8, 4], cards=8)
    age_s = snapshot.gpus.age_s.copy()
    age_s[-4:] = 60.0
    assert starts(replace(snapshot, gpus=replace(snapshot.gpus, age_s=age_s))).tolist() == [False, True]


@given(st.sampled_from([1, 4, 8, 16]), st.floats(0.3, 1.2), st.sampled_from(["Draw", "Limits"]))
@example(16, 0.9, "Draw")
@settings(max_examples=30, deadline=None)
def test_nobody_starts_on_the_watts_of_work_that_is_not_heard_for_a_while(
    silent: int, limit_frac: float, counts: str
) -> None:
    snapshot = queue([8], cards=8, running=16, counts=counts)
    full_w = float(snapshot.site.gpus.max_cap_w.sum() + snapshot.site.nodes.overhead_w.sum())
    snapshot = instances.limited(snapshot, limit_frac * full_w)
    wants_w, (plan, memory) = snapshot.gpus.power_w, decide(snapshot, FRESH)
    for _ in range(30):
        snapshot = instances.obeyed(snapshot, wants_w, plan.cap_w, 1.0)
        plan, memory = decide(snapshot, memory)
        assume(not any(isinstance(a, Release) for a in plan.actions))
    age_s, cap_w = snapshot.gpus.age_s.copy(), snapshot.gpus.cap_w.copy()
    age_s[:silent], cap_w[:silent] = 60.0, H100.min_cap_w  # its grant has run out
    quiet = replace(snapshot, now_s=snapshot.now_s + 1.0, gpus=replace(snapshot.gpus, age_s=age_s, cap_w=cap_w))
    most_w = plan.scopes[0].free_w + 0.02 * plan.scopes[0].limit_w
    for later_s in range(30):
        plan, memory = decide(replace(quiet, now_s=quiet.now_s + later_s), memory)
        assert not any(isinstance(a, Release) for a in plan.actions)
        assert plan.scopes[0].free_w <= most_w


def waited(snapshot: Snapshot, *seconds: float) -> Snapshot:
    """The queue's jobs have waited for so long."""
    submitted_s = snapshot.now_s - np.array([0.0, *seconds])
    return replace(snapshot, jobs=replace(snapshot.jobs, submitted_s=submitted_s))


def test_a_job_that_has_waited_for_long_is_let_go_and_nobody_overtakes_it() -> None:
    snapshot = waited(queue([64, 8, 4], cards=16), PATIENCE_S, PATIENCE_S, PATIENCE_S)
    assert starts(snapshot).tolist() == [True, False, False]
    state = np.array([JobState.RUNNING, JobState.RELEASED, JobState.HELD, JobState.HELD])
    assert not starts(replace(snapshot, jobs=replace(snapshot.jobs, state=state))).any()


def into_a_cut(in_s: float, left_s: float) -> bool:
    """Whether a job that still works for `left_s` is started when the limit falls `in_s` from now."""
    snapshot = queue([8], cards=8)
    low_w = int(snapshot.gpus.power_w.sum() + snapshot.site.nodes.overhead_w.sum())
    jobs = replace(snapshot.jobs, left_s=np.array([np.nan, left_s]))
    window = Window(0, "event", "peak", snapshot.now_s + in_s, snapshot.now_s + in_s + 3600.0, low_w)
    plan, _ = decide(replace(snapshot, jobs=jobs, windows=(window,)), FRESH)
    return any(isinstance(a, Release) for a in plan.actions)


@pytest.mark.parametrize(
    ("in_s", "left_s", "started"),
    [(300.0, np.nan, False), (300.0, 7200.0, False), (300.0, 200.0, True), (7200.0, 7200.0, True)],
    ids=["of unknown length", "long", "short", "the cut is far"],
)
def test_a_job_is_not_started_into_a_cut_unless_it_is_done_before(in_s: float, left_s: float, started: bool) -> None:
    assert into_a_cut(in_s, left_s) == started


def test_a_job_with_one_card_that_is_not_heard_is_unheard_and_keeps_its_cap() -> None:
    snapshot = instances.snapshot(np.random.default_rng(4), Shape(running=2, sizes=(8,)))
    _, memory = decide(snapshot, FRESH)
    age_s = snapshot.gpus.age_s.copy()
    age_s[0] = 60.0
    tick, _ = assess(replace(snapshot, gpus=replace(snapshot.gpus, age_s=age_s)), memory)
    quiet = unheard(tick.known, tick.view)
    assert quiet.tolist() == [True, False]
    memory = replace(memory, jobs=replace(memory.jobs, cap_w=np.array([400.0, 400.0])))
    assert never_raised(np.array([650.0, 650.0]), memory, quiet).tolist() == [400.0, 650.0]
    assert never_raised(np.array([300.0, 300.0]), memory, quiet).tolist() == [300.0, 300.0]
