from __future__ import annotations

from dataclasses import replace

import numpy as np

from wattlease.core.estimate import estimate
from wattlease.core.foresight import UNSURE_FRAC, Spell, foresee, spells
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import JobState, Snapshot
from wattlease.sim import instances
from wattlease.sim.instances import H100, NOON_S, Shape

BASE_W = 10_000.0


def busy(queue: list[int], left_s: list[float], cards: int = 16) -> tuple[Snapshot, Memory]:
    """Two jobs of eight cards that run, and a queue of these sizes; `left_s` of all, the running ones first."""
    shape = Shape(running=2, waiting=len(queue), sizes=(8,))
    snapshot = instances.snapshot(np.random.default_rng(2), shape)
    jobs = replace(
        snapshot.jobs,
        gpus=np.array([8, 8, *queue]),
        rank=np.arange(2 + len(queue)),
        left_s=np.array(left_s),
    )
    site = replace(
        snapshot.site,
        gpus=replace(snapshot.site.gpus, **{c: getattr(snapshot.site.gpus, c)[:cards] for c in
                                            ("node", "model", "min_cap_w", "max_cap_w")}),
    )  # fmt: skip
    read = {c: getattr(snapshot.gpus, c)[:cards] for c in ("power_w", "age_s", "cap_w", "job")}
    snapshot = replace(snapshot, jobs=jobs, site=site, gpus=replace(snapshot.gpus, **read))
    return snapshot, estimate(snapshot, FRESH)[1]


def beyond_idle_w(memory: Memory, j: int, gpus: int) -> float:
    return float((memory.jobs.full_w[j] - H100.idle_w) * gpus)


def test_running_jobs_draw_until_they_end() -> None:
    snapshot, memory = busy([], [600.0, np.nan])
    draw_w, high_w = foresee(snapshot, memory, BASE_W, NOON_S + np.array([0.0, 599.0, 600.0, 86_400.0]))
    one_w, two_w = (beyond_idle_w(memory, j, 8) for j in (0, 1))
    np.testing.assert_allclose(draw_w, BASE_W + np.array([one_w + two_w, one_w + two_w, two_w, two_w]))
    np.testing.assert_allclose(high_w - BASE_W, (draw_w - BASE_W) * (1 + UNSURE_FRAC))


def test_a_huge_waiting_job_is_seen_when_the_cards_come_free() -> None:
    snapshot, memory = busy([16], [600.0, 1200.0, 3000.0])
    huge = spells(snapshot, memory)[-1]
    assert huge == Spell(NOON_S + 1200.0, NOON_S + 4200.0, beyond_idle_w(memory, 2, 16))
    draw_w, _ = foresee(snapshot, memory, BASE_W, NOON_S + np.array([0.0, 900.0, 1200.0, 4300.0]))
    assert draw_w[2] > draw_w[0] > draw_w[1] > draw_w[3] == BASE_W


def test_a_job_starts_now_where_cards_are_free() -> None:
    snapshot, memory = busy([8], [600.0, 600.0, 100.0], cards=24)
    assert spells(snapshot, memory)[-1].start_s == NOON_S


def test_the_queue_is_foreseen_in_its_order_and_nobody_overtakes() -> None:
    snapshot, memory = busy([16, 8], [600.0, 1200.0, 3000.0, 100.0])
    assert [s.start_s - NOON_S for s in spells(snapshot, memory)] == [0.0, 0.0, 1200.0, 4200.0]


def test_what_waits_for_jobs_of_unknown_length_is_not_foreseen() -> None:
    snapshot, memory = busy([16], [600.0, np.nan, 3000.0])
    assert len(spells(snapshot, memory)) == 2


def test_a_released_job_is_foreseen_as_one_that_waits() -> None:
    snapshot, memory = busy([8], [600.0, 900.0, 3000.0])
    state = np.array([JobState.RUNNING, JobState.RUNNING, JobState.RELEASED])
    released = replace(snapshot, jobs=replace(snapshot.jobs, state=state))
    assert spells(released, memory) == spells(snapshot, memory)
