"""A job that can run on fewer of its cards: what they draw, and what those given up go on drawing, is one sum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from wattlease.core.actions import Action, Downsize, Pause, Restore
from wattlease.core.api import PowerBudget
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH
from wattlease.core.model import NONE, Floats, GpuReadings, Jobs, JobState, NodeReadings, Site, Snapshot, Terms, Variant
from wattlease.runtime.site import site_of
from wattlease.runtime.site_words import Group

CARDS, BUSY_W, IDLE_W = 8, 650.0, 75.0
HIGH_W, LOW_W = 7000, 3700
CUT_S, BACK_S, END_S = 60, 160, 260
HALF = Variant("half", 0.5, 0.5, 1.0, 15.0, 0.5)


def site(limit_w: int, *variants: Variant) -> Site:
    dwell = {"pauseSeconds": 20, "holdSeconds": 5, "downsizeSeconds": 20}
    spec = {"limitWatts": limit_w, "dwell": dwell, "band": {"counts": "Draw"}}
    spec |= {"ramp": {"releasePercentPerMinute": 100}}
    budget = PowerBudget.model_validate({"metadata": {"name": "hall"}, "spec": spec})
    group = {"name": "a", "cluster": "c", "budget": "hall", "nodes": 1, "gpusPerNode": CARDS, "gpuModel": "H100"}
    group |= {"nodeNameplateWatts": HIGH_W, "overhead": {"floorWatts": 800, "perItPercent": 10}}
    made = site_of("hall", (Group.model_validate(group),), (budget,), ())
    return replace(made, terms=(Terms("t", restart_s=10.0, variants=variants),))


def jobs(size: int, state: JobState) -> Jobs:
    def ints(value: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([value], np.int64)

    def floats(value: float) -> Floats:
        return np.array([value])

    return Jobs(
        id=("job",), name=("job",), owner=("o",), cluster=("c",), terms=ints(0), state=ints(state), gpus=ints(CARDS),
        model=ints(0), rank=ints(0), submitted_s=floats(0.0), since_s=floats(0.0), left_s=floats(np.nan),
        checkpoint_age_s=floats(0.0), speed_frac=floats(np.nan), batch_frac=floats(1.0), variant=ints(size),
    )  # fmt: skip


def lived(drawn_w: list[float], *variants: Variant) -> Iterator[tuple[int, Action]]:
    """Each change of the one job through a shortage, and when it came; `drawn_w` gets what the site drew."""
    usual, short = site(HIGH_W, *variants), site(LOW_W, *variants)
    size, state, memory, caps_w = NONE, JobState.RUNNING, FRESH, np.full(CARDS, 700.0)
    chance = np.random.default_rng(1)
    for now_s in range(END_S):
        at = short if CUT_S <= now_s < BACK_S else usual
        mine = CARDS if size == NONE else CARDS // 2
        job = np.where((np.arange(CARDS) < mine) & (state == JobState.RUNNING), 0, NONE)
        wants_w = np.where(job == 0, BUSY_W, IDLE_W) + chance.uniform(-2.0, 2.0, CARDS)
        power_w = np.minimum(wants_w, caps_w)
        drawn_w.append(800.0 + 1.1 * float(power_w.sum()))
        cards = GpuReadings(power_w, np.zeros(CARDS), caps_w, job)
        nodes = NodeReadings(np.array([np.nan]), np.zeros(1), at.nodes.nameplate_w)
        plan, memory = decide(Snapshot(float(now_s), at, cards, nodes, jobs(size, state)), memory)
        caps_w = np.where(job == 0, plan.cap_w[0], at.gpus.min_cap_w)
        for action in plan.actions:
            match action:
                case Downsize() | Restore():
                    size = 0 if isinstance(action, Downsize) else NONE
                case Pause():
                    state = JobState.PAUSED
            yield now_s, action


def test_a_job_gives_half_of_its_cards_up_once_and_takes_them_back_once() -> None:
    drawn_w: list[float] = []
    (cut_s, down), (back_s, up) = lived(drawn_w, HALF)
    assert (cut_s, down) == (CUT_S, Downsize("job", 1.0, "half"))
    assert up == Restore("job")
    assert back_s >= BACK_S
    assert max(drawn_w[CUT_S + 5 : BACK_S]) <= LOW_W


@pytest.mark.parametrize("cards_frac", [None, 1.0])
def test_where_cards_are_not_known_to_be_fewer_each_counts_at_its_part_of_the_watts(cards_frac: float | None) -> None:
    """A part that is under half of what they are rated for is a breach, and a pause is none."""
    _, first = next(lived([], replace(HALF, cards_frac=cards_frac)))
    assert first == Pause("job")
