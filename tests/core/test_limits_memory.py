"""The open metering window by the meter's own clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.api import Metadata, PowerBudget, PowerBudgetSpec
from wattlease.core.limits import bounds
from wattlease.core.limits_memory import LimitsMemory
from wattlease.core.model import NONE, GpuReadings, Gpus, Jobs, NodeReadings, Nodes, Scope, Site, Snapshot

NOW_S = 1_800_000_000.0  # a multiple of 900
F, I = np.empty(0), np.empty(0, np.int64)  # noqa: E741


def at(now_s: float, **charge: Any) -> Snapshot:
    spec = PowerBudgetSpec.model_validate({"limitWatts": 1000, "demandCharge": {"targetWatts": 700, **charge}})
    scope = Scope("hall", NONE, PowerBudget(metadata=Metadata(name="hall"), spec=spec))
    site = Site("site", (scope,), (), Nodes((), I, (), F, F, F), Gpus(I, I, F, F), ())
    return Snapshot(
        now_s=now_s,
        site=site,
        gpus=GpuReadings(F, F, F, I),
        nodes=NodeReadings(F, F, F),
        jobs=Jobs((), (), (), (), I, I, I, I, I, F, F, F, F, F, F, I),
    )


def drawn(start_s: float, watts: list[float], step_s: float = 10.0, **charge: Any) -> LimitsMemory:
    _, memory = bounds(at(start_s, **charge), np.array([0.0]), LimitsMemory())
    for k, draw_w in enumerate(watts, start=1):
        _, memory = bounds(at(start_s + k * step_s, **charge), np.array([draw_w]), memory)
    return memory


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([300, 900]), st.integers(0, 899), st.integers(0, 4000))
def test_a_window_begins_by_the_offset_later_than_the_clock(window_s: int, offset_s: int, passed_s: int) -> None:
    offset_s %= window_s
    row = drawn(NOW_S + passed_s, [500.0] * 3, windowSeconds=window_s, offsetSeconds=offset_s).scopes[0]
    now_s = NOW_S + passed_s + 30.0
    assert row.window_start_s <= now_s < row.window_start_s + window_s
    assert (row.window_start_s - offset_s) % window_s == 0.0


@pytest.mark.parametrize("offset_s", [0, 420, 899])
def test_the_energy_of_a_watched_window_is_all_that_was_drawn_in_it(offset_s: int) -> None:
    row = drawn(NOW_S + offset_s, [600.0] * 45, offsetSeconds=offset_s).scopes[0]
    assert row.window_start_s == NOW_S + offset_s
    assert row.energy_j == pytest.approx(600.0 * 450)


@pytest.mark.parametrize("offset_s", [0, 420, 899])
def test_a_window_that_was_open_before_we_came_counts_at_its_target_at_any_offset(offset_s: int) -> None:
    """Also where the start that means none would be on the meter's clock."""
    row = drawn(NOW_S + offset_s + 450, [], offsetSeconds=offset_s).scopes[0]
    assert row.window_start_s == NOW_S + offset_s
    assert row.energy_j == pytest.approx(700.0 * 450)


def test_a_burst_counts_in_the_window_of_the_meters_own_clock() -> None:
    burst = [0.0] * 42 + [900.0] * 90 + [0.0] * 90
    assert drawn(NOW_S, burst, offsetSeconds=420).scopes[0].peak_w == pytest.approx(900.0)
    assert drawn(NOW_S, burst).scopes[0].peak_w < 500.0
