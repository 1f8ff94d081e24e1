"""What is allowed comes back by a share of the limit a minute, however deep the cut was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.memory import FRESH
from wattlease.core.model import Window
from wattlease.core.tick import assess
from wattlease.sim import instances
from wattlease.sim.instances import Shape

USUAL_FRAC = 0.05
"""The ramp where a budget names none, a minute."""


@given(st.floats(0.3, 0.9), st.sampled_from([1.0, 2.0, 10.0, 30.0]))
@settings(max_examples=20, deadline=None)
def test_a_release_takes_the_same_time_a_watt_from_any_depth(low_frac: float, tick_s: float) -> None:
    snapshot = instances.snapshot(np.random.default_rng(5), Shape(running=4, sizes=(8,), limit_frac=1.0))
    limit_w = float(snapshot.site.scopes[0].budget.spec.limit_watts)
    now_s = snapshot.now_s
    event = Window(0, "event", "peak", now_s, now_s + 0.5, low_frac * limit_w)
    snapshot = replace(snapshot, windows=(event,))
    tick, memory = assess(snapshot, FRESH)
    assert tick.aim.allowed_w[0] == pytest.approx(low_frac * limit_w)
    for k in range(1, 4):
        tick, memory = assess(
            replace(snapshot, now_s=now_s + k * tick_s), replace(memory, now_s=now_s + (k - 1) * tick_s)
        )
        risen_w = USUAL_FRAC * limit_w * k * tick_s / 60.0
        assert tick.aim.allowed_w[0] == pytest.approx(min(limit_w, low_frac * limit_w + risen_w))
