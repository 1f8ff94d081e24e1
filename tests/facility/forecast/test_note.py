"""What a tick says of a scope: its draw if nothing were held back, and what is known of its queue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wattlease.core.actions import Plan
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import JobState, Snapshot, Window
from wattlease.facility.forecast.note import known, wanted_w
from wattlease.facility.forecast.series import LOOKS_S
from wattlease.sim import instances
from wattlease.sim.instances import H100, NOON_S, Shape


def decided(limit_frac: float, waiting: int = 0, racks: int = 1) -> tuple[Snapshot, Plan, Memory]:
    shape = Shape(running=20, waiting=waiting, limit_frac=limit_frac, racks=racks)
    snapshot = instances.snapshot(np.random.default_rng(3), shape)
    plan, memory = decide(snapshot, FRESH)
    return snapshot, plan, memory


def test_the_wanted_draw_does_not_fall_with_the_limit() -> None:
    free, before, memory = decided(2.0)
    gpus = replace(free.gpus, cap_w=np.full_like(free.gpus.cap_w, 350.0), power_w=np.minimum(free.gpus.power_w, 350.0))
    capped = replace(free, now_s=free.now_s + 1.0, gpus=gpus)
    plan, after = decide(capped, memory)
    assert plan.scopes[0].draw_w < 0.95 * before.scopes[0].draw_w
    np.testing.assert_allclose(wanted_w(capped, plan, after, 0), wanted_w(free, before, memory, 0), rtol=0.02)


def test_what_is_wanted_is_never_less_than_what_is_drawn() -> None:
    for limit_frac in (0.5, 0.8, 1.5):
        snapshot, plan, memory = decided(limit_frac, racks=3)
        for scope in range(len(snapshot.site.scopes)):
            assert wanted_w(snapshot, plan, memory, scope) >= plan.scopes[scope].draw_w - 1e-6


def test_a_waiting_job_whose_cards_are_free_is_about_to_start() -> None:
    snapshot, plan, memory = decided(2.0, waiting=1)
    jobs = replace(snapshot.jobs, left_s=np.full(len(snapshot.jobs.id), 1800.0))
    found = known(replace(snapshot, jobs=jobs), plan, memory, 0)
    [j] = np.flatnonzero(snapshot.jobs.state == JobState.HELD)
    power_w = (memory.jobs.full_w[j] - H100.idle_w) * snapshot.jobs.gpus[j]
    np.testing.assert_allclose(found.starting_w, power_w)
    np.testing.assert_allclose(found.waiting_w, memory.jobs.full_w[j] * snapshot.jobs.gpus[j])
    assert found.ending_w[0] == found.ending_w[1] == 0.0
    assert found.ending_w[2] > 10 * power_w / 20


def test_the_lowest_limit_to_come_is_known_for_each_look() -> None:
    snapshot, plan, memory = decided(2.0)
    window = Window(0, "event", "evening", NOON_S + 1000.0, NOON_S + 9000.0, 1234.0)
    found = known(replace(snapshot, windows=(window,)), plan, memory, 0)
    np.testing.assert_array_equal(np.array(found.limit_w) == 1234.0, LOOKS_S > 1000.0)


def test_the_queue_of_a_lower_scope_is_not_known() -> None:
    snapshot, plan, memory = decided(2.0, waiting=3, racks=2)
    assert np.isnan(known(snapshot, plan, memory, 1).starting_w).all()
    assert np.isfinite(known(snapshot, plan, memory, 0).starting_w).all()
