"""What looks low without need is doubted: overhead falls only where nothing else can be the reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from wattlease.core.api import PowerBudget
from wattlease.core.estimate import estimate
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import NONE, Reading, Scope, Snapshot, Storage, StorageUnit
from wattlease.sim import instances
from wattlease.sim.instances import Shape

BEYOND_W, GIVES_W = 12_000.0, 3_000.0
IDLE = 0.55
"""Of what its cards draw at work."""


@pytest.fixture
def hall() -> Snapshot:
    """Four nodes, a meter of the feed, and a battery that idles."""
    snapshot = instances.snapshot(np.random.default_rng(5), Shape(running=4, sizes=(8,)))
    meter = {"name": "feed", "kind": "Virtual"}
    budget = PowerBudget.model_validate(
        {"metadata": {"name": "hall"}, "spec": {"limitWatts": 100_000, "meters": [meter]}}
    )
    unit = StorageUnit("pack", 0, 3.6e7, GIVES_W, GIVES_W, reserve_frac=0.2)
    site = replace(snapshot.site, scopes=(Scope("hall", NONE, budget),), storages=(unit,))
    return replace(snapshot, site=site, storages=(Storage(0.8, 1.0, 0.0, 0.5, True),))


def it_w(snapshot: Snapshot) -> float:
    return float(snapshot.gpus.power_w.sum())


def working(snapshot: Snapshot, frac: float) -> Snapshot:
    return replace(snapshot, gpus=replace(snapshot.gpus, power_w=frac * snapshot.gpus.power_w))


def giving(snapshot: Snapshot, power_w: float, available: bool = True) -> Snapshot:
    """With a battery that tells this."""
    state = replace(snapshot.storages[0], power_w=power_w, available=available)
    return replace(snapshot, storages=(state,))


def after(snapshot: Snapshot, memory: Memory, feeds_w: Sequence[float]) -> tuple[float, Memory]:
    """Overhead after one second for each of these words of the meter; cards draw what they do but for last digits."""
    began_s = memory.now_s if math.isfinite(memory.now_s) else snapshot.now_s
    for k, feed_w in enumerate(feeds_w, start=1):
        alive_w = snapshot.gpus.power_w * (1.0 + 1e-7 * k)
        seen = replace(
            snapshot,
            now_s=began_s + k,
            meters=(Reading("feed", 0, feed_w, 0.5, 1.0),),
            gpus=replace(snapshot.gpus, power_w=alive_w),
        )
        known, memory = estimate(seen, memory)
        memory = replace(memory, now_s=seen.now_s)
    return float(known.overhead_w[0]), memory


def live(feed_w: float, seconds: int) -> list[float]:
    """A meter whose last digit moves."""
    return [feed_w + 10.0 * (k % 2) for k in range(seconds)]


def settled(snapshot: Snapshot, beyond_w: float = BEYOND_W) -> tuple[float, Memory]:
    feed_w = it_w(snapshot) - snapshot.storages[0].power_w + beyond_w
    return after(snapshot, FRESH, live(feed_w, 120))


def test_what_is_seen_for_long_is_learned(hall: Snapshot) -> None:
    overhead_w, _ = settled(hall)
    assert overhead_w == pytest.approx(BEYOND_W, rel=0.01)


@pytest.mark.parametrize("late", [0, 1, 2])
def test_a_meter_that_freezes_as_cards_wake_teaches_no_less_overhead(hall: Snapshot, late: int) -> None:
    """Whether its last word comes before the cards' or with it, or is asked for a little later."""
    idle = working(hall, IDLE)
    settled_w, memory = settled(idle)
    feed_w = it_w(idle) + BEYOND_W
    last_words_w = [feed_w + 50.0 * (k + 1) for k in range(late)]
    frozen_w, _ = after(hall, memory, [*last_words_w, *[feed_w + 50.0 * late] * 30])
    assert frozen_w > 0.99 * settled_w


def test_a_meter_that_lives_is_believed_when_cards_draw_more_and_the_feed_does_not(hall: Snapshot) -> None:
    settled_w, memory = settled(hall)
    moving_w, _ = after(working(hall, 1.15), memory, live(it_w(hall) + BEYOND_W, 40))
    assert moving_w < settled_w - 0.5 * 0.15 * it_w(hall)


@pytest.mark.parametrize("sooner", [1, 2])
def test_a_meter_that_tells_of_a_lull_sooner_than_the_cards_teaches_no_less_overhead(
    hall: Snapshot, sooner: int
) -> None:
    idle = working(hall, IDLE)
    settled_w, memory = settled(hall)
    sooner_w, memory = after(hall, memory, live(it_w(idle) + BEYOND_W, sooner))
    idle_w, _ = after(idle, memory, live(it_w(idle) + BEYOND_W, 5))
    assert sooner_w > 0.99 * settled_w
    assert idle_w > 0.99 * settled_w


@pytest.mark.parametrize("knows", [True, False])
def test_a_battery_that_nobody_knows_what_it_gives_teaches_no_less_overhead(hall: Snapshot, knows: bool) -> None:
    settled_w, memory = settled(hall)
    lost = giving(hall, 0.0 if knows else math.nan, available=False)
    lost_w, _ = after(lost, memory, live(it_w(hall) + BEYOND_W - GIVES_W, 30))
    assert (lost_w < settled_w - 0.5 * GIVES_W) == knows
    assert knows or lost_w == pytest.approx(settled_w, rel=0.01)


def test_an_unknown_battery_teaches_more_overhead_all_the_same(hall: Snapshot) -> None:
    settled_w, memory = settled(hall)
    more_w, _ = after(giving(hall, math.nan, False), memory, live(it_w(hall) + BEYOND_W + 2_000.0, 30))
    assert more_w > settled_w + 1_000.0


def test_cards_that_are_not_heard_teach_no_less_overhead(hall: Snapshot) -> None:
    settled_w, memory = settled(hall)
    age_s = np.where(np.arange(len(hall.gpus.age_s)) < 8, 60.0, hall.gpus.age_s)
    silent = replace(hall, gpus=replace(hall.gpus, age_s=age_s))
    _, memory = after(silent, memory, live(it_w(hall) + BEYOND_W, 30))
    heard_w, _ = after(hall, memory, live(it_w(hall) + BEYOND_W, 1))
    assert heard_w == pytest.approx(settled_w, rel=0.02)


def test_overhead_follows_it_and_not_what_a_battery_carries_of_it(hall: Snapshot) -> None:
    carried_w, memory = settled(giving(hall, GIVES_W))
    alone_w, _ = after(hall, memory, live(it_w(hall) + BEYOND_W, 3))
    assert alone_w == pytest.approx(carried_w, rel=0.01)
