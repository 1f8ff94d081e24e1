from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wattlease.core.api import PowerBudget
from wattlease.core.columns import speed_table
from wattlease.core.estimate import FROZEN_S, Estimate
from wattlease.core.estimate import estimate as believed
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import NONE, JobState, Reading, Scope, Snapshot, Storage, StorageUnit
from wattlease.sim import instances
from wattlease.sim.instances import H100, Shape

FIRST = slice(0, 8)
"""The cards of the first job's node, of two."""


def estimate(snapshot: Snapshot, memory: Memory) -> tuple[Estimate, Memory]:
    """The estimate, and the memory with the time that a whole tick would leave in it."""
    known, memory = believed(snapshot, memory)
    return known, replace(memory, now_s=snapshot.now_s)


def two_jobs(*meters: str, limit_w: int = 20_000) -> Snapshot:
    """Two nodes with a job of eight cards each, under one scope with these meters."""
    snapshot = instances.snapshot(np.random.default_rng(7), Shape(running=2, sizes=(8,), limit_frac=1.0))
    found = [{"name": name, "kind": "Virtual", "windowSeconds": 2} for name in meters]
    spec = {"limitWatts": limit_w, "meters": found}
    budget = PowerBudget.model_validate({"metadata": {"name": "hall"}, "spec": spec})
    return replace(snapshot, site=replace(snapshot.site, scopes=(Scope("hall", NONE, budget),)))


def with_cards(snapshot: Snapshot, **columns: object) -> Snapshot:
    """The snapshot with these values in the columns of the first job's cards."""
    changed = {}
    for name, value in columns.items():
        column = getattr(snapshot.gpus, name).copy()
        column[FIRST] = value
        changed[name] = column
    return replace(snapshot, gpus=replace(snapshot.gpus, **changed))


def watched(snapshot: Snapshot, seconds: int, memory: Memory = FRESH, **read_w: float) -> tuple[Estimate, Memory]:
    """Tick by tick with cards that draw what they draw now; meters read that and so many watts more."""
    wants_w = snapshot.gpus.power_w
    known, memory = estimate(snapshot, memory)
    for _ in range(seconds):
        snapshot = instances.obeyed(snapshot, wants_w, snapshot.gpus.cap_w[[0, 8]], 1.0)
        readings = tuple(Reading(m, 0, snapshot.gpus.power_w.sum() + more_w, 0.5, 2.0) for m, more_w in read_w.items())
        known, memory = estimate(replace(snapshot, meters=readings), memory)
    return known, memory


@pytest.mark.parametrize(
    ("power_w", "age_s"), [(480.0, 6.0), (-100.0, 0.5), (9000.0, 0.5), (0.0, 0.5), (np.nan, 0.5)],
    ids=["stale", "negative", "absurd", "zero", "missing"],
)  # fmt: skip
def test_what_cannot_be_believed_is_no_reading_and_counts_at_the_cap(power_w: float, age_s: float) -> None:
    known, _ = estimate(with_cards(two_jobs(), power_w=power_w, age_s=age_s, cap_w=520.0), FRESH)
    assert not known.gpu_fresh[FIRST].any()
    assert known.gpu_fresh[8:].all()
    assert (known.gpu_w[FIRST] == 520.0).all()
    assert known.job_fresh.tolist() == [False, True]


def test_a_reading_from_before_a_cap_was_raised_says_nothing_of_what_a_job_wants() -> None:
    fallen = with_cards(two_jobs(), power_w=198.0, cap_w=200.0)
    foretold_w = float(estimate(fallen, FRESH)[1].jobs.full_w[0])
    memory, raised, wants_w = FRESH, with_cards(fallen, cap_w=H100.rated_w), with_cards(fallen, power_w=580.0)
    for later_s, seen in enumerate((fallen, raised, raised)):  # the last has the report of before, still
        _, memory = estimate(replace(seen, now_s=seen.now_s + later_s), memory)
        assert memory.jobs.full_w[0] == memory.jobs.need_w[0] == foretold_w
    for later_s in range(3, 10):
        seen = with_cards(wants_w, power_w=580.0 + 0.1 * later_s, cap_w=H100.rated_w)
        _, memory = estimate(replace(seen, now_s=seen.now_s + later_s), memory)
    assert memory.jobs.full_w[0] == pytest.approx(580.0, rel=0.01)


def test_a_card_that_was_not_heard_may_have_fallen_meanwhile_and_says_nothing_of_what_a_job_wants() -> None:
    wants = with_cards(two_jobs(), power_w=580.0, cap_w=H100.rated_w)
    silent, back = with_cards(wants, age_s=10.0), with_cards(wants, power_w=198.0)
    memory = estimate(wants, FRESH)[1]
    for later_s in range(60):
        seen = with_cards(wants, power_w=580.0 + 0.1 * (later_s % 2))
        _, memory = estimate(replace(seen, now_s=seen.now_s + later_s), memory)
    known_w = memory.jobs.full_w[0]
    for later_s, seen in ((70, silent), (71, back), (72, back)):
        _, memory = estimate(replace(seen, now_s=seen.now_s + later_s), memory)
        assert memory.jobs.full_w[0] == memory.jobs.need_w[0] == pytest.approx(known_w)


def test_a_card_whose_cap_is_unknown_too_counts_at_its_highest() -> None:
    known, _ = estimate(with_cards(two_jobs(), age_s=60.0, cap_w=np.nan), FRESH)
    assert (known.gpu_w[FIRST] == H100.rated_w).all()


def test_a_busy_card_whose_digits_rest_has_a_dead_sensor() -> None:
    snapshot = with_cards(two_jobs(), cap_w=560.0)
    _, memory = estimate(snapshot, FRESH)
    just_before, _ = estimate(replace(snapshot, now_s=snapshot.now_s + FROZEN_S - 1), memory)
    frozen, _ = estimate(replace(snapshot, now_s=snapshot.now_s + FROZEN_S), memory)
    assert just_before.gpu_fresh.all()
    assert not frozen.gpu_fresh.any()
    assert (frozen.gpu_w[FIRST] == 560.0).all()


def test_an_idle_card_may_rest() -> None:
    snapshot = two_jobs()
    idle = replace(snapshot, gpus=replace(snapshot.gpus, job=np.full(16, NONE), power_w=np.full(16, 75.0)))
    _, memory = estimate(idle, FRESH)
    known, _ = estimate(replace(idle, now_s=idle.now_s + 600), memory)
    assert known.gpu_fresh.all()


def test_of_two_meters_the_higher_counts() -> None:
    known, memory = watched(two_jobs("a", "b"), 150, a=3000.0, b=6000.0)
    assert known.meter_fresh.all()
    assert memory.scopes.overhead_w[0] == pytest.approx(6000.0, rel=0.02)
    assert known.draw_w[0] == pytest.approx(known.it_w[0] + 6000.0, rel=0.02)


def test_a_meter_that_says_less_than_the_cards_behind_it_is_not_believed() -> None:
    snapshot = two_jobs("feed")
    known, memory = watched(snapshot, 60, feed=-4000.0)
    assert not known.meter_fresh.any()
    assert memory.scopes.overhead_w[0] == pytest.approx(snapshot.site.nodes.overhead_w.sum())


@pytest.mark.parametrize(("age_s", "fresh"), [(9.0, True), (11.0, False)])
def test_a_meter_is_stale_after_its_own_time(age_s: float, fresh: bool) -> None:
    snapshot = two_jobs("feed")
    reading = Reading("feed", 0, snapshot.gpus.power_w.sum() + 4000.0, age_s, 2.0)
    known, _ = estimate(replace(snapshot, meters=(reading,)), FRESH)
    assert known.meter_fresh[0] == fresh


def test_overhead_is_what_feed_and_battery_give_beyond_the_cards() -> None:
    snapshot = two_jobs("feed")
    unit = StorageUnit("pack", 0, 3.6e7, 5000.0, 5000.0, 0.2)
    with_pack = replace(
        snapshot, site=replace(snapshot.site, storages=(unit,)), storages=(Storage(0.6, 1.0, 3000.0, 1.0, True),)
    )
    known, memory = watched(with_pack, 150, feed=5000.0 - 3000.0)
    assert memory.scopes.overhead_w[0] == pytest.approx(5000.0, rel=0.02)
    assert known.draw_w[0] == pytest.approx(known.it_w[0] + 2000.0, rel=0.02)


def renamed(snapshot: Snapshot, name: str, state: JobState) -> Snapshot:
    """The first job has gone and another of the same owner and size waits in its stead."""
    jobs = snapshot.jobs
    ids, names = (f"{name}-2", jobs.id[1]), (name, jobs.name[1])
    job = np.where(snapshot.gpus.job == 0, NONE, snapshot.gpus.job)
    waits = replace(jobs, id=ids, name=names, state=np.array([state, JobState.RUNNING]))
    return replace(snapshot, now_s=snapshot.now_s + 200, jobs=waits, gpus=replace(snapshot.gpus, job=job))


def test_a_job_of_which_nothing_is_known_counts_at_rated_power() -> None:
    snapshot = renamed(two_jobs(), "never-seen", JobState.HELD)
    _, memory = estimate(snapshot, FRESH)
    assert memory.jobs.full_w[0] == H100.rated_w


def test_a_second_run_counts_at_what_the_first_drew_with_some_to_spare() -> None:
    snapshot = two_jobs()
    drew_w = snapshot.gpus.power_w[FIRST].mean()
    _, memory = watched(snapshot, 100)
    _, memory = estimate(renamed(snapshot, snapshot.jobs.name[0], JobState.HELD), memory)
    assert drew_w < memory.jobs.full_w[0] <= min(1.15 * drew_w, H100.rated_w)


def test_caps_that_bite_teach_how_a_job_tracks_and_not_what_it_wants() -> None:
    snapshot = two_jobs()
    _, memory = watched(snapshot, 5)
    full_w = memory.jobs.full_w.copy()
    held = replace(snapshot, now_s=snapshot.now_s + 6, gpus=replace(snapshot.gpus, cap_w=np.full(16, 300.0)))
    held = instances.obeyed(held, snapshot.gpus.power_w, np.array([300.0, 300.0]), 1.0)
    wants_w = snapshot.gpus.power_w
    for _ in range(120):
        _, memory = estimate(held, memory)
        held = instances.obeyed(held, wants_w, np.array([300.0, 300.0]), 1.0)
    np.testing.assert_allclose(memory.jobs.full_w, full_w)
    np.testing.assert_allclose(memory.jobs.need_w, full_w)
    np.testing.assert_allclose(memory.jobs.track_frac, 0.97, atol=0.005)


def lulled(seconds: int) -> tuple[Snapshot, Memory, float]:
    """After so long a lull of the first job, at a fifth of what it drew before: `full_w` is that."""
    snapshot = replace(two_jobs("feed"), gpus=replace(two_jobs().gpus, cap_w=np.full(16, H100.rated_w)))
    _, memory = watched(snapshot, 150, feed=4800.0)
    full_w = float(memory.jobs.full_w[0])
    snapshot = replace(snapshot, now_s=memory.now_s)
    lull = with_cards(snapshot, power_w=0.2 * full_w)
    _, memory = watched(lull, seconds, memory, feed=3900.0)
    return replace(snapshot, now_s=memory.now_s + 1.0), memory, full_w


def test_a_job_that_wakes_counts_at_its_uncapped_draw_before_it_is_there() -> None:
    snapshot, memory, full_w = lulled(90)
    assert memory.jobs.need_w[0] < 0.4 * full_w
    _, memory = estimate(with_cards(snapshot, power_w=0.5 * full_w), memory)
    assert memory.jobs.need_w[0] == pytest.approx(full_w, rel=0.06)


def test_overhead_rises_with_a_job_that_wakes_before_any_meter_has_told_it() -> None:
    snapshot, memory, full_w = lulled(90)
    before, _ = estimate(with_cards(snapshot, power_w=0.2 * full_w), memory)
    woken, _ = estimate(with_cards(snapshot, power_w=full_w), memory)
    assert woken.overhead_w[0] > before.overhead_w[0] + 0.15 * (woken.it_w[0] - before.it_w[0])


def test_overhead_that_may_fall_with_a_lull_counts_until_a_meter_has_told_it() -> None:
    snapshot = two_jobs("feed")
    known, memory = watched(snapshot, 150, feed=5000.0)
    still, _ = estimate(with_cards(replace(snapshot, now_s=memory.now_s + 1.0), power_w=60.0), memory)
    assert still.overhead_w[0] == pytest.approx(known.overhead_w[0], rel=0.02)


def test_a_job_that_tells_its_speed_bends_its_curve() -> None:
    snapshot = two_jobs()
    _, memory = watched(snapshot, 5)
    wants_w, caps_w = snapshot.gpus.power_w, np.array([300.0, 300.0])
    for _ in range(60):
        snapshot = instances.obeyed(snapshot, wants_w, caps_w, 1.0)
        told = replace(snapshot, jobs=replace(snapshot.jobs, speed_frac=np.array([0.95, np.nan])))
        known, memory = estimate(told, memory)
    library = speed_table(snapshot.site.terms, snapshot.site.models)[snapshot.jobs.terms, 0]
    assert memory.jobs.shape[0] > 0.3
    assert memory.jobs.shape[1] == 0.0
    assert known.speed[0, 6] > library[0, 6]
    np.testing.assert_allclose(known.speed[1], library[1])
