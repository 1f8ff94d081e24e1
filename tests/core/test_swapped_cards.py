"""A smaller model that other and fewer cards serve: what is known of the job is of its own model, whatever serves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.actions import Restore
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import NONE, Floats, Snapshot, Terms, Variant
from wattlease.sim import instances
from wattlease.sim.instances import Shape

CARDS, WANTS_W, SMALL_W, TICK_S = 4, 600.0, 560.0, 10.0
TERMS = Terms(
    "chat",
    "Inference",
    pausable=False,
    stoppable=False,
    variants=(Variant("8b", SMALL_W / (CARDS * WANTS_W), 1.0, 0.8, 30.0),),
)


def served(seed: int) -> tuple[Snapshot, Floats]:
    """Six services on four cards each, with room for all of them, and what their cards want."""
    made = instances.snapshot(np.random.default_rng(seed), Shape(running=6, sizes=(CARDS,), limit_frac=2.0))
    site = replace(made.site, terms=(TERMS,))
    jobs = replace(made.jobs, terms=np.zeros(6, np.int64))
    return replace(made, site=site, jobs=jobs), np.full(len(made.gpus.power_w), WANTS_W)


def swapped(seen: Snapshot, wants_w: Floats) -> tuple[Snapshot, Floats]:
    """Job 0 is served by its smaller model, on one card in place of four."""
    job, wants_w = seen.gpus.job.copy(), wants_w.copy()
    mine = np.flatnonzero(job == 0)
    job[mine[1:]] = NONE
    wants_w[mine[0]] = SMALL_W
    variant = seen.jobs.variant.copy()
    variant[0] = 0
    return replace(seen, gpus=replace(seen.gpus, job=job), jobs=replace(seen.jobs, variant=variant)), wants_w


def run(seen: Snapshot, wants_w: Floats, memory: Memory, ticks: int = 12) -> tuple[Snapshot, Memory]:
    for _ in range(ticks):
        plan, memory = decide(seen, memory)
        seen = instances.obeyed(seen, wants_w, plan.cap_w, TICK_S)
    return seen, memory


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=3, deadline=None)
def test_a_swapped_job_comes_back_at_what_all_of_its_own_cards_will_draw(
    seed: int,
) -> None:
    seen, wants_w = served(seed)
    seen, memory = run(seen, wants_w, FRESH, 6)
    need_w = memory.jobs.need_w[0]
    seen, wants_w = swapped(seen, wants_w)
    seen = instances.obeyed(seen, wants_w, np.full(6, 700.0), TICK_S)
    plan, memory = decide(seen, memory)
    assert memory.jobs.need_w[0] == pytest.approx(need_w, rel=0.1)
    assert Restore(seen.jobs.id[0]) in plan.actions
    assert plan.job_w[0] == pytest.approx(CARDS * WANTS_W, rel=0.1), "of four cards, though it holds one"
    assert plan.cap_w[0] >= SMALL_W, "its one card is not held to a part of what four would draw"


def test_a_model_that_is_taken_from_the_terms_while_it_is_swapped_in_is_no_longer_waited_for() -> None:
    seen, wants_w = served(1)
    seen, memory = run(seen, wants_w, FRESH, 6)
    first = np.arange(6) == 0
    told = replace(
        memory.jobs,
        changed_s=np.where(first, seen.now_s, memory.jobs.changed_s),
        meant_kind=np.where(first, 0.0, memory.jobs.meant_kind),
        meant_size=np.where(first, 1.0, memory.jobs.meant_size),
    )
    bare = replace(seen, site=replace(seen.site, terms=(replace(TERMS, variants=()),)))
    plan, _ = decide(bare, replace(memory, jobs=told))
    assert plan.job_w[0] == pytest.approx(CARDS * WANTS_W, rel=0.1)
