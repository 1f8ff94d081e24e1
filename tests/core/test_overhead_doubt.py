"""What looks low without need is doubted: overhead falls only where nothing else can be the reason."""

from __future__ import annotations

import math
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


def after(snapshot: Snapshot, memory: Memory, feed_w: float, ticks: int) -> tuple[float, Memory]:
    """Overhead after so many seconds in which the meter said this, and cards drew as they do but for their last
    digits."""
    began_s = memory.now_s if math.isfinite(memory.now_s) else snapshot.now_s
    for k in range(1, ticks + 1):
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


def test_what_is_first_seen_counts_at_once(hall: Snapshot) -> None:
    overhead_w, _ = after(hall, FRESH, it_w(hall) + BEYOND_W, 1)
    assert overhead_w == pytest.approx(BEYOND_W, rel=1e-3)


def test_a_meter_that_stands_still_while_cards_draw_more_teaches_no_less_overhead(hall: Snapshot) -> None:
    feed_w = it_w(hall) + BEYOND_W
    settled_w, memory = after(hall, FRESH, feed_w, 30)
    woken = replace(hall, gpus=replace(hall.gpus, power_w=1.15 * hall.gpus.power_w))
    frozen_w, _ = after(woken, memory, feed_w, 30)
    assert frozen_w > 0.97 * settled_w
    moving_w, _ = after(woken, memory, feed_w + 10.0, 30)
    assert moving_w < 0.9 * settled_w, "one that moves is believed"


@pytest.mark.parametrize("knows", [True, False])
def test_a_battery_that_nobody_knows_what_it_gives_teaches_no_less_overhead(hall: Snapshot, knows: bool) -> None:
    feed_w = it_w(hall) + BEYOND_W
    settled_w, memory = after(hall, FRESH, feed_w, 30)
    lost = replace(hall.storages[0], power_w=0.0 if knows else math.nan, available=False)
    lost_w, _ = after(replace(hall, storages=(lost,)), memory, feed_w - GIVES_W, 30)
    assert (lost_w < settled_w - 0.5 * GIVES_W) == knows
    assert knows or lost_w == pytest.approx(settled_w, rel=0.01)


def test_cards_that_are_not_heard_teach_no_less_overhead(hall: Snapshot) -> None:
    feed_w = it_w(hall) + BEYOND_W
    settled_w, memory = after(hall, FRESH, feed_w, 30)
    age_s = np.where(np.arange(len(hall.gpus.age_s)) < 8, 60.0, hall.gpus.age_s)
    silent = replace(hall, gpus=replace(hall.gpus, age_s=age_s))
    counted_w, _ = estimate(replace(silent, now_s=memory.now_s + 1.0), memory)
    assert float(counted_w.it_w[0]) > it_w(hall), "they count at what they may draw"
    _, memory = after(silent, memory, feed_w, 30)
    heard_w, _ = after(hall, memory, feed_w, 1)
    assert heard_w == pytest.approx(settled_w, rel=0.02)
