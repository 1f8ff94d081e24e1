from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wattlease.core.api import PowerBudget
from wattlease.core.estimate import estimate
from wattlease.core.limits import bounds
from wattlease.core.memory import FRESH, Memory, ScopesMemory
from wattlease.core.model import NONE, Reading, Scope, Snapshot, Window
from wattlease.core.tick import Tick
from wattlease.core.tick import assess as half_a_tick
from wattlease.core.tracking import LEAD_S, aims
from wattlease.sim import instances
from wattlease.sim.instances import Shape

LIMIT_W, LOW_W = 100_000, 70_000


def assess(snapshot: Snapshot, memory: Memory) -> tuple[Tick, Memory]:
    """The first half of a tick, and the memory with the time that a whole one would leave in it."""
    tick, memory = half_a_tick(snapshot, memory)
    return tick, replace(memory, now_s=snapshot.now_s)


def site(meter: bool = False, counts: str = "Draw", margin: float = 0.0) -> Snapshot:
    """Four nodes under a limit of 100 kW, with a feed meter or without any."""
    snapshot = instances.snapshot(np.random.default_rng(5), Shape(running=4, sizes=(8,)))
    spec = {
        "limitWatts": LIMIT_W,
        "band": {"counts": counts, "marginPercent": margin},
        "meters": [{"name": "feed", "kind": "Virtual", "windowSeconds": 2}] if meter else [],
    }
    budget = PowerBudget.model_validate({"metadata": {"name": "hall"}, "spec": spec})
    return replace(snapshot, site=replace(snapshot.site, scopes=(Scope("hall", NONE, budget),)))


def event(snapshot: Snapshot, in_s: float, for_s: float = 600.0) -> Snapshot:
    window = Window(0, "event", "peak", snapshot.now_s + in_s, snapshot.now_s + in_s + for_s, LOW_W)
    return replace(snapshot, windows=(window,))


def after(snapshot: Snapshot, memory: Memory, seconds: float) -> tuple[Tick, Memory]:
    return assess(replace(snapshot, now_s=snapshot.now_s + seconds), memory)


@pytest.mark.parametrize(("in_s", "aim_w"), [(LEAD_S - 1, LOW_W), (LEAD_S + 6, LIMIT_W)])
def test_a_falling_limit_is_obeyed_a_few_seconds_before_it_holds(in_s: float, aim_w: float) -> None:
    tick, _ = assess(event(site(), in_s), FRESH)
    assert tick.bounds[0].limit_w == LIMIT_W
    assert tick.aim.allowed_w[0] == tick.aim.target_w[0] == aim_w


def test_a_limit_that_ends_soon_still_holds() -> None:
    snapshot = event(site(), -599.0)
    tick, _ = assess(snapshot, FRESH)
    assert tick.aim.target_w[0] == LOW_W


def test_the_limit_comes_back_along_the_ramp_and_falls_at_once() -> None:
    snapshot = event(site(), 0.0, 30.0)
    _, memory = assess(snapshot, FRESH)
    ramp_w = [float(LOW_W)]
    for k in range(1, 400):
        tick, memory = after(snapshot, memory, 30.0 + k)
        ramp_w.append(float(tick.aim.ramp_w[0]))
        assert LOW_W - 0.05 * LIMIT_W <= tick.aim.allowed_w[0] <= tick.aim.ramp_w[0]
    rises = np.diff(ramp_w) / LIMIT_W
    assert rises[1:].max() <= 0.05 / 60 + 1e-12
    assert ramp_w[1] - LOW_W <= 0.05 * 31 / 60 * LIMIT_W + 1e-6  # the first tick comes after a pause of 31 s
    assert ramp_w[10] > LOW_W
    assert ramp_w[-1] > 0.95 * LIMIT_W
    again = event(replace(snapshot, now_s=snapshot.now_s + 500), 0.0)
    tick, _ = assess(again, memory)
    assert tick.aim.allowed_w[0] == LOW_W


def test_without_a_fresh_meter_nothing_rises() -> None:
    snapshot = event(site(meter=True), 0.0, 30.0)
    _, memory = assess(snapshot, FRESH)
    blind, _ = after(snapshot, memory, 60.0)
    assert blind.aim.allowed_w[0] <= blind.aim.ramp_w[0] == LOW_W
    reading = Reading("feed", 0, float(snapshot.gpus.power_w.sum()) + 9600.0, 0.5, 2.0)
    seeing, _ = after(replace(snapshot, meters=(reading,)), memory, 60.0)
    assert seeing.aim.ramp_w[0] > LOW_W


def test_without_a_fresh_meter_a_lower_limit_is_obeyed_all_the_same() -> None:
    snapshot = site(meter=True)
    _, memory = assess(snapshot, FRESH)
    tick, _ = after(event(snapshot, 0.0), memory, 1.0)
    assert tick.aim.allowed_w[0] == LOW_W


def aim_after(
    mean_w: float, aim_w: float, late_aim_w: float, ticks: int = 30, short_w: float = 0.0
) -> tuple[float, ScopesMemory]:
    """The aim after a while in which the draw's mean stood where it stands, and caps lacked so much."""
    snapshot = site()
    known, memory = estimate(snapshot, FRESH)
    bound, _ = bounds(snapshot, known.draw_w, memory.limits)
    scopes = replace(memory.scopes, allowed_w=np.array([float(LIMIT_W)]), late_aim_w=np.array([late_aim_w]))
    for _ in range(ticks):
        scopes = replace(scopes, aim_w=np.array([aim_w]), mean_w=np.array([mean_w]), short_w=np.array([short_w]))
        aim, scopes = aims(snapshot, known, bound, np.zeros(1), scopes, 1.0)
    return float(aim.aim_w[0]), scopes


def test_noise_above_the_aim_widens_the_margin_up_to_a_bound() -> None:
    quiet_w, _ = aim_after(95_000.0, 95_000.0, 95_000.0)
    noisy_w, _ = aim_after(97_000.0, 95_000.0, 95_000.0)
    wild_w, _ = aim_after(140_000.0, 95_000.0, 95_000.0)
    assert wild_w < noisy_w < quiet_w == LIMIT_W
    assert wild_w >= 0.97 * LIMIT_W - 1e-6


def test_a_falling_aim_is_no_noise() -> None:
    _, fell = aim_after(92_000.0, 70_000.0, 95_000.0, ticks=1)
    _, noisy = aim_after(92_000.0, 70_000.0, 70_000.0, ticks=1)
    assert fell.over_var[0] == 0.0 < noisy.over_var[0]


def test_what_no_cap_could_have_taken_away_is_no_noise() -> None:
    aim_w, short = aim_after(97_000.0, 95_000.0, 95_000.0, short_w=2_500.0)
    assert short.over_var[0] == 0.0
    assert aim_w == LIMIT_W
    _, beyond = aim_after(99_000.0, 95_000.0, 95_000.0, short_w=2_500.0)
    assert beyond.over_var[0] > 0.0


def test_the_margin_is_kept_free() -> None:
    tick, _ = assess(site(margin=2.0), FRESH)
    assert tick.aim.aim_w[0] == pytest.approx(0.98 * LIMIT_W)


@pytest.mark.parametrize("counts", ["Draw", "Limits"])
def test_what_was_not_met_is_corrected_and_with_limits_only_downwards(counts: str) -> None:
    snapshot = site(counts=counts)
    _, memory = assess(snapshot, FRESH)
    draw_w = float(snapshot.gpus.power_w.sum()) + 9600.0

    def trim_w(aim_w: float) -> float:
        held = replace(memory, scopes=replace(memory.scopes, aim_w=np.array([aim_w])))
        return float(after(snapshot, held, 1.0)[1].scopes.trim_w[0])

    assert trim_w(draw_w - 3000.0) < 0.0
    assert (trim_w(draw_w + 3000.0) > 0.0) == (counts == "Draw")
    assert trim_w(draw_w + 3000.0) < -trim_w(draw_w - 3000.0)


def trimmed_w(trim_w: float, over_frac: float) -> float:
    """The trim a second after the draw was found so far over its aim."""
    snapshot = site()
    known, memory = estimate(snapshot, FRESH)
    bound, _ = bounds(snapshot, known.draw_w, memory.limits)
    aim_w = known.draw_w - over_frac * LIMIT_W
    scopes = replace(memory.scopes, allowed_w=np.array([float(LIMIT_W)]), aim_w=aim_w, trim_w=np.array([trim_w]))
    return float(aims(snapshot, known, bound, np.zeros(1), scopes, 1.0)[1].trim_w[0])


def test_small_errors_are_corrected_alike_to_both_sides() -> None:
    assert trimmed_w(0.0, 0.005) == pytest.approx(-trimmed_w(0.0, -0.005))
    assert trimmed_w(0.0, 0.05) < -trimmed_w(0.0, -0.05)


def test_what_a_lull_gave_away_is_taken_back_at_once_when_the_job_wakes() -> None:
    assert trimmed_w(0.0, 0.02) < 0.0
    assert trimmed_w(2000.0, 0.02) == pytest.approx(trimmed_w(0.0, 0.02))
    assert trimmed_w(2000.0, 0.005) > 1900.0
