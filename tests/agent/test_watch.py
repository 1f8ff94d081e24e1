"""What the guard may blame a node for: only draw beyond what was in force when it was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wattlease.agent.enforce import Overhead
from wattlease.agent.guard import Guard, guarded
from wattlease.agent.hands import Hands
from wattlease.agent.originals import Originals
from wattlease.agent.virtual import Virtual
from wattlease.agent.virtual_state import VirtualCard, VirtualState

CARDS = tuple(VirtualCard(f"GPU-{n}", "Virtual H100", 200.0, 700.0, 700.0, 75.0) for n in range(4))
OVERHEAD, STEP_S = Overhead(400.0, 0.1), 0.2
HIGH_W, LOW_W = OVERHEAD.node_w(4 * 600.0), OVERHEAD.node_w(4 * 300.0)


class Bench:
    """Hands on cards that draw all that their limits allow, on a clock of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 0.0
        self.state = VirtualState.create(folder / "gpus", CARDS)
        driver = Virtual(folder / "gpus")
        self.hands = Hands(driver, Originals(folder / "originals.json"), OVERHEAD, clock=lambda: self.now_s)

    def run(self, span_s: float) -> None:
        for _ in range(round(span_s / STEP_S)):
            self.now_s += STEP_S
            self.state.play(self.state.enforced_w(), STEP_S)
            self.hands.watch()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.hands.hold(HIGH_W)
    bench.run(12.0)
    return bench


def test_a_grant_that_falls_is_no_cut(bench: Bench) -> None:
    bench.hands.hold(LOW_W)
    bench.run(12.0)
    assert bench.hands.watch().off_w == 0.0


def test_a_grant_that_runs_out_while_the_agent_is_paused_is_no_cut(bench: Bench) -> None:
    bench.now_s += 9.0
    bench.state.play(bench.state.enforced_w(), 9.0)
    bench.hands.fall(LOW_W)
    bench.run(12.0)
    assert bench.hands.watch().off_w == 0.0


def test_a_counter_that_stands_still_and_catches_up_is_no_cut(bench: Bench) -> None:
    """As a driver does on a node whose cores are all taken: seen with 16 agents and a control plane on two cores."""
    for tick in range(100):
        bench.now_s += STEP_S
        draw_w = bench.state.enforced_w() * (0.98 + 0.01 * (tick % 3))
        late_s = 4 * STEP_S * (tick % 25 == 24) + STEP_S * (tick % 25 < 21)
        bench.state.play(draw_w, late_s)
        bench.hands.watch()
    assert bench.hands.watch().off_w == 0.0


def test_what_is_drawn_while_the_driver_had_forgotten_the_limits_is_no_cut(bench: Bench) -> None:
    bench.state.reload_driver()
    bench.hands.watch()
    bench.state.play(np.full(4, 690.0), 0.4)
    bench.now_s += 0.4
    bench.hands.look()
    bench.run(12.0)
    assert bench.hands.watch().off_w == 0.0


def test_a_mean_a_little_above_takes_nothing_more_off() -> None:
    """Less than its windows tolerate; it only keeps what was taken from coming back."""
    guard = guarded(Guard(off_w=50.0, now_s=99.8), 100.0, (1004.0, 1004.0), 1000.0)
    assert (guard.off_w, guard.cuts) == (50.0, 0)
