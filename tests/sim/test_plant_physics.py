from collections.abc import Callable

import numpy as np
import pytest

from wattlease.core.actions import Discharge, Release
from wattlease.sim.cards import OVERSHOOT_FRAC
from wattlease.sim.plant import Plant
from wattlease.sim.scenario import Scenario

QUIET = {"slowPercent": 0, "swingPercent": 0, "fastPercent": 0, "dipPercent": 0}


def test_the_feed_carries_cards_overhead_and_losses_less_what_the_battery_gives(small, order) -> None:
    plant = Plant(small(), 3)
    plant.act(order(plant.observe(), Discharge("pack", 1000.0)))
    for _ in range(20):
        s = plant.advance(1.0)
        nodes_w = 4 * 500.0 + 1.1 * s.it_w.sum(axis=1)
        np.testing.assert_allclose(s.node_w, nodes_w, rtol=1e-12)
        np.testing.assert_allclose(s.feed_w[:, 0], 300.0 + 1.14 * nodes_w - s.storage_w[:, 0], rtol=1e-12)
        assert s.storage_w[0, 0] == 1000.0


def test_energy_of_jobs_and_idle_cards_is_the_energy_of_all_cards(small, run) -> None:
    plant = Plant(small(), 1)
    idle_j = it_j = 0.0
    for _ in range(30):
        s = plant.advance(1.0)
        it_j += s.it_w.sum() * 0.5
        idle_j += s.it_w[:, [kind == "Idle" for _, kind in s.series]].sum() * 0.5
    assert plant.tally().energy_j.sum() + idle_j == pytest.approx(it_j, rel=1e-9)


@pytest.mark.parametrize("cap_w", [100.0, 180.0, 260.0, 400.0])
def test_no_card_draws_above_its_cap_and_the_burst_nor_under_idle(small, order, cap_w: float) -> None:
    plant = Plant(small(stepSeconds=0.1), 5)
    for tick in range(60):
        plant.act(order(plant.observe(), cap_w=cap_w))
        plant.advance(1.0)
        draw_w = plant.cards.draw_w
        assert (draw_w >= plant.wiring.idle_w - 1e-9).all()
        if tick > 5:  # cards follow with a lag of at most a second
            assert (draw_w <= plant.agents.cap_w * (1 + OVERSHOOT_FRAC)).all()


def test_a_lowered_cap_is_overshot_at_first_and_reached_within_seconds(small, run) -> None:
    plant = Plant(small(noise=QUIET), 1)
    before_w = run(plant, 20)[-1]
    feed_w = run(plant, 10, cap_w=200.0)
    assert before_w > feed_w[0] > feed_w[-1] + 50.0
    assert feed_w[8:] == pytest.approx(feed_w[-1], rel=0.01)


@pytest.mark.parametrize("cap_w", [100, 200, 250, 300, 350, 400])
def test_the_sweep_comes_back_at_each_of_its_caps(example: Callable[[str], Scenario], run, cap_w: int) -> None:
    scenario = example("phoenix")
    noise = scenario.noise.model_copy(update={"dip_percent": 0.0, "slow_percent": 0.0})
    plant = Plant(scenario.model_copy(update={"noise": noise}), 2)
    run(plant, 5, cap_w=cap_w)
    before = plant.tally()
    run(plant, 120, cap_w=cap_w)
    after = plant.tally()
    points = [next(p for p in j.sweep if p.cap_watts == cap_w) for j in scenario.jobs]
    card_w = (after.energy_j - before.energy_j) / 120 / after.gpus
    speed = (after.work_gpu_h - before.work_gpu_h) * 3600 / 120 / after.gpus
    np.testing.assert_allclose(speed * 100, [p.speed_percent for p in points], rtol=0.005)
    np.testing.assert_allclose(card_w, [p.draw_watts for p in points], rtol=0.015)


def test_work_at_full_watts_takes_its_duration(small, order) -> None:
    plant = Plant(small(noise=QUIET), 1)
    plant.act(order(plant.observe(), Release("b")))
    for _ in range(400):
        plant.act(order(plant.observe()))
        plant.advance(1.0)
    tally = plant.tally()
    b = tally.id.index("b")
    assert tally.state[b] == 4
    assert tally.finished_s[b] - tally.started_s[b] == pytest.approx(300.0, rel=0.005)
    assert tally.slowdown[b] == pytest.approx(1.0, abs=0.005)
    assert tally.work_gpu_h[b] == pytest.approx(4 * 300 / 3600)


def test_capped_work_is_slower_by_the_curve(small, run) -> None:
    plant = Plant(small(noise=QUIET), 1)
    run(plant, 200, cap_w=250.0)
    tally = plant.tally()
    card_w = tally.energy_j[0] / 200 / 8
    expected = np.interp(card_w / 350, [0.3, 0.7, 1.0], [0.23, 0.88, 1.0])
    assert 1 / tally.slowdown[0] == pytest.approx(expected, rel=0.02)


def test_the_same_seed_is_the_same_run_and_another_is_not(small, run) -> None:
    first, again, other = (run(Plant(small(), seed), 60) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_length_of_a_tick_does_not_change_the_mean_draw(small, run) -> None:
    fast = run(Plant(small(tickSeconds=1), 1), 600).mean()
    slow = run(Plant(small(tickSeconds=10), 1), 600).mean()
    assert slow == pytest.approx(fast, rel=0.02)
