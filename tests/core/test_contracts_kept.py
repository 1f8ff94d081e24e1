"""No contract is broken for what is no need: an order that came too late, a limit that fell between two slow ticks, or
a job that began in watts which the others waver by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wattlease.core import levers
from wattlease.core.actions import Hold, Pause, Release
from wattlease.core.choose import HEADROOM_FRAC
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import NONE, Bools, JobState, Snapshot, Terms
from wattlease.core.offers import Kind, Tier
from wattlease.core.run_offers import PROMISE_FRAC
from wattlease.core.tick import assess
from wattlease.sim import instances
from wattlease.sim.instances import H100, Shape

STRICT = Terms("strict", max_slowdown_frac=0.25, pausable=False)
LOOSE = Terms("loose", max_slowdown_frac=1.0, value_per_gpu_h=0.5)
FLOOR = 1.0 - STRICT.max_slowdown_frac
WANTS_W = 600.0
COUNTS = pytest.mark.parametrize("counts", ["Limits", "Draw"])


def site(strict: int, loose: int, limit_frac: float, counts: str, waiting: int = 0) -> Snapshot:
    """Jobs of eight cards each that want 600 W a card: strict ones first, then loose ones, then a strict queue."""
    shape = Shape(running=strict + loose, waiting=waiting, sizes=(8,), limit_frac=limit_frac, counts=counts)
    seen = instances.snapshot(np.random.default_rng(7), shape)
    of = np.where((np.arange(strict + loose + waiting) >= strict) & (seen.jobs.state == JobState.RUNNING), 1, 0)
    jobs = replace(seen.jobs, terms=of, owner=("one",) * len(of))
    power_w = np.where(seen.gpus.job == NONE, H100.idle_w, WANTS_W)
    gpus = replace(seen.gpus, power_w=power_w)
    return replace(seen, site=replace(seen.site, terms=(STRICT, LOOSE)), jobs=jobs, gpus=gpus)


def settled(snapshot: Snapshot, ticks: int = 4) -> tuple[Snapshot, Memory]:
    """The same a few ticks later, each job under its cap."""
    memory = FRESH
    for _ in range(ticks):
        plan, memory = decide(snapshot, memory)
        snapshot = instances.obeyed(snapshot, np.full(len(snapshot.gpus.job), WANTS_W), plan.cap_w, 1.0)
    return snapshot, memory


@COUNTS
def test_a_job_that_was_told_to_wait_and_runs_all_the_same_is_held_back_like_the_others(counts: str) -> None:
    """A scheduler may start a job in the moment in which its release is taken back."""
    snapshot, memory = settled(site(4, 0, 0.85, counts))
    told = np.arange(4) == 0
    jobs = replace(
        memory.jobs,
        changed_s=np.where(told, snapshot.now_s - 1.0, -np.inf),
        meant_kind=np.where(told, float(Kind.WAIT), np.nan),
        meant_size=np.where(told, 0.0, np.nan),
    )
    plan, _ = decide(snapshot, replace(memory, jobs=jobs))
    assert plan.cap_w.max() - plan.cap_w.min() < 0.2 * H100.rated_w
    assert plan.speed_frac.min() > FLOOR - 1e-6


@COUNTS
@pytest.mark.parametrize(("state", "meant"), [(JobState.HELD, Kind.PAUSE), (JobState.RUNNING, Kind.WAIT)])
def test_an_order_that_no_longer_fits_the_state_is_not_under_way(counts: str, state: JobState, meant: Kind) -> None:
    snapshot, memory = settled(site(4, 0, 0.85, counts))
    states = np.where(np.arange(4) == 0, int(state), snapshot.jobs.state)
    snapshot = replace(snapshot, jobs=replace(snapshot.jobs, state=states))
    jobs = replace(memory.jobs, changed_s=np.full(4, snapshot.now_s), meant_kind=np.full(4, float(meant)))
    tick, _ = assess(snapshot, replace(memory, jobs=replace(jobs, meant_size=np.zeros(4))))
    assert not tick.intent.pending[0]


@COUNTS
def test_a_limit_that_falls_between_two_slow_ticks_pauses_at_once_where_caps_would_break_contracts(
    counts: str,
) -> None:
    snapshot, memory = settled(site(4, 4, 1.1, counts))
    assert snapshot.now_s - memory.slow_s < 9.0
    full_w = snapshot.site.scopes[0].budget.spec.limit_watts
    plan, memory = decide(instances.limited(snapshot, full_w / 1.1 * 0.68), memory)  # caps could do it, by a breach
    paused = {a.job for a in plan.actions if isinstance(a, Pause)}
    assert paused
    assert not paused & set(snapshot.jobs.id[:4])


@COUNTS
def test_a_job_that_is_to_pause_is_at_its_least_cap_while_it_is_still_there(counts: str) -> None:
    snapshot, memory = settled(site(4, 4, 1.1, counts))
    full_w = snapshot.site.scopes[0].budget.spec.limit_watts
    low = instances.limited(snapshot, full_w / 1.1 * 0.6)
    plan, memory = decide(low, memory)
    paused = [low.jobs.id.index(a.job) for a in plan.actions if isinstance(a, Pause)]
    assert np.all(plan.cap_w[paused] == H100.min_cap_w)
    later = instances.obeyed(low, np.full(len(low.gpus.job), WANTS_W), plan.cap_w, 1.0)
    plan, _ = decide(later, memory)
    assert np.all(plan.cap_w[paused] == H100.min_cap_w)


@given(st.floats(0.88, 1.04), st.sampled_from(["Limits", "Draw"]))
@example(0.94, "Limits")
@example(0.96, "Draw")
@settings(max_examples=25, deadline=None)
def test_who_begins_leaves_headroom_above_what_contracts_need(limit_frac: float, counts: str) -> None:
    snapshot = site(6, 0, limit_frac, counts, waiting=3)
    plan, _ = decide(snapshot, FRESH)
    begins = [snapshot.jobs.id.index(a.job) for a in plan.actions if isinstance(a, Release)]
    tick, _ = assess(snapshot, FRESH)
    caps = levers.throttle(tick.view)
    within = (caps.tier == int(Tier.CONTRACT)) & np.isfinite(caps.cost)
    least_w = np.where(within, caps.watts_w, np.inf).min(axis=0)
    runs = ~tick.view.off
    runs[begins] = True
    assert not begins or least_w[runs].sum() <= tick.room_w[0] * (1.0 - HEADROOM_FRAC) + 1e-3


@COUNTS
def test_a_released_job_that_has_not_begun_waits_again_before_a_contract_is_broken(counts: str) -> None:
    """Its dwell is there for jobs that would lose work; this one has none to lose."""
    snapshot, memory = settled(site(4, 0, 1.3, counts, waiting=1))
    waits = snapshot.jobs.state == JobState.HELD
    assert waits.sum() == 1
    state = np.where(waits, int(JobState.RELEASED), snapshot.jobs.state)
    released = replace(snapshot, jobs=replace(snapshot.jobs, state=state))
    at_s = replace(memory.jobs, changed_s=np.where(waits, snapshot.now_s - 1.0, -np.inf))
    full_w = released.site.scopes[0].budget.spec.limit_watts / 1.3
    plan, _ = decide(instances.limited(released, full_w), replace(memory, jobs=at_s))
    assert plan.actions == tuple(Hold(released.jobs.id[j]) for j in np.flatnonzero(waits))
    assert plan.speed_frac[~waits].min() > FLOOR - 1e-6


@COUNTS
@pytest.mark.parametrize("step_frac", [0.001, 0.002, 0.004])
def test_no_contract_of_many_is_broken_while_somebody_could_still_be_paused(counts: str, step_frac: float) -> None:
    """However little a contract's watts are beside the room of all, nobody waits for the next look at who runs."""
    snapshot, memory = settled(site(20, 6, 0.85, counts))
    full_w = snapshot.site.scopes[0].budget.spec.limit_watts / 0.85
    for limit_frac in np.arange(0.85, 0.7, -step_frac):
        plan, memory = decide(instances.limited(snapshot, limit_frac * full_w), memory)
        told = {action.job for action in plan.actions if isinstance(action, Pause)}
        goes = np.array([job in told for job in snapshot.jobs.id])
        if (plan.speed_frac[:20] < FLOOR - 0.02).any():
            assert ((snapshot.jobs.state == JobState.PAUSED) | goes)[20:].all(), (limit_frac, plan.speed_frac)
        snapshot = instances.obeyed(snapshot, np.full(len(snapshot.gpus.job), WANTS_W), plan.cap_w, 1.0)
        snapshot = without_cards(snapshot, goes)


def without_cards(snapshot: Snapshot, goes: Bools) -> Snapshot:
    """The same with these jobs paused."""
    state = np.where(goes, int(JobState.PAUSED), snapshot.jobs.state)
    gone = np.append(goes, False)[snapshot.gpus.job]
    job, power_w = np.where(gone, NONE, snapshot.gpus.job), np.where(gone, H100.idle_w, snapshot.gpus.power_w)
    return replace(
        snapshot, jobs=replace(snapshot.jobs, state=state), gpus=replace(snapshot.gpus, job=job, power_w=power_w)
    )


@COUNTS
@pytest.mark.parametrize("limit_frac", [0.8, 0.72, 0.66])
def test_no_contract_is_broken_while_a_job_that_was_promised_nothing_is_above_its_least_cap(
    counts: str, limit_frac: float
) -> None:
    """Under half of rated power work takes more energy; that is dear, but nobody's promise is broken by it."""
    snapshot = site(6, 4, limit_frac, counts)
    free = replace(LOOSE, pausable=False, value_per_gpu_h=50.0)
    snapshot = replace(snapshot, site=replace(snapshot.site, terms=(STRICT, free)))
    plan, _ = decide(snapshot, FRESH)
    if (plan.speed_frac[:6] < FLOOR - 0.01).any():
        assert plan.cap_w[6:] == pytest.approx(H100.min_cap_w)
    else:
        assert (plan.cap_w[6:] < H100.rated_w).all()


@COUNTS
@given(limit_frac=st.floats(0.6, 1.0), first=st.floats(0.03, 0.4), second=st.floats(0.03, 0.4))
@example(limit_frac=0.81, first=0.2, second=0.1)
@settings(max_examples=40, deadline=None)
def test_no_contract_is_broken_while_another_job_is_above_its_own(
    counts: str, limit_frac: float, first: float, second: float
) -> None:
    """However far from the contract a level of the curve's grid lies."""
    snapshot = site(3, 3, limit_frac, counts)
    terms = tuple(replace(STRICT, name=f"{slow}", max_slowdown_frac=slow) for slow in (first, second))
    snapshot = replace(snapshot, site=replace(snapshot.site, terms=terms))
    plan, _ = decide(snapshot, FRESH)
    above = plan.speed_frac - (1.0 - np.array([terms[t].max_slowdown_frac for t in snapshot.jobs.terms]))
    if above.min() < -1e-6:
        held = plan.cap_w > H100.min_cap_w + 1e-6
        assert above[held].max(initial=0.0) < PROMISE_FRAC + 1e-6, above
