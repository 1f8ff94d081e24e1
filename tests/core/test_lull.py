"""A job that rests for a moment will wake: what its contract needs then must not have been given away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wattlease.core import curves
from wattlease.core.columns import prior_speed
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH
from wattlease.core.model import Terms
from wattlease.sim import instances
from wattlease.sim.instances import Shape

LOSS_FRAC = 0.1
LEARNING_FRAC = 0.02
"""By so much a cap may fall short while the job's uncapped draw is still being learned: a job that is given away in its
lull loses half of its watts."""

TERMS = Terms("contract", max_slowdown_frac=LOSS_FRAC, pausable=False)


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.7), st.sampled_from([2.0, 30.0]))
@example(seed=7331846, lull_frac=0.3125, tick_s=2.0)
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("counts", ["Limits", "Draw"])
def test_a_job_in_a_lull_keeps_the_cap_that_its_contract_needs(
    counts: str, seed: int, lull_frac: float, tick_s: float
) -> None:
    rng = np.random.default_rng(seed)
    snapshot = instances.snapshot(rng, Shape(running=12, limit_frac=0.97, counts=counts))
    snapshot = replace(snapshot, site=replace(snapshot.site, terms=(TERMS,) * len(snapshot.site.terms)))
    wants_w, memory = snapshot.gpus.power_w, FRESH
    for _ in range(4):
        plan, memory = decide(snapshot, memory)
        snapshot = instances.obeyed(snapshot, wants_w, plan.cap_w, tick_s)
    rests = np.append(rng.random(12) < 0.2, False)[snapshot.gpus.job]
    for _ in range(3):
        snapshot = instances.obeyed(snapshot, np.where(rests, lull_frac * wants_w, wants_w), plan.cap_w, tick_s)
        plan, memory = decide(snapshot, memory)
    speed = prior_speed(snapshot.jobs, snapshot.site)
    floor_w = curves.draw_for(speed, np.full(12, 1.0 - LOSS_FRAC)) * memory.jobs.full_w
    assert np.all(plan.cap_w >= np.minimum(floor_w, 700.0) * (1.0 - LEARNING_FRAC) - 1.0)
