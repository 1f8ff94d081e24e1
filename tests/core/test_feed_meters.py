"""Only a meter of the feed says what a scope draws; one of IT or of cooling says nothing about overhead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wattlease.core.api import PowerBudget
from wattlease.core.estimate import estimate
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import NONE, Reading, Scope, Snapshot
from wattlease.core.sites import site_table
from wattlease.sim import instances
from wattlease.sim.feed import meters_of
from wattlease.sim.instances import Shape

OTHERS = ("It", "Cooling", "Conversion", "Network", "Other")


def site(*measures: str) -> Snapshot:
    """Four nodes whose budget names one meter for each of these."""
    snapshot = instances.snapshot(np.random.default_rng(5), Shape(running=4, sizes=(8,)))
    meters = [{"name": f"m{i}", "kind": "Virtual", "windowSeconds": 2, "measures": m} for i, m in enumerate(measures)]
    budget = PowerBudget.model_validate(
        {"metadata": {"name": "hall"}, "spec": {"limitWatts": 100_000, "meters": meters}}
    )
    return replace(snapshot, site=replace(snapshot.site, scopes=(Scope("hall", NONE, budget),)))


def overhead_w(snapshot: Snapshot, *beyond_w: float) -> float:
    """Overhead after a minute in which each meter said so much more than the cards."""
    it_w = float(snapshot.gpus.power_w.sum())
    readings = tuple(Reading(f"m{i}", 0, it_w + w, 0.5, 2.0) for i, w in enumerate(beyond_w))
    memory: Memory = FRESH
    for k in range(60):
        alive_w = snapshot.gpus.power_w * (1.0 + 1e-5 * k)  # digits that rest are a dead sensor's
        seen = replace(
            snapshot, now_s=snapshot.now_s + k, meters=readings, gpus=replace(snapshot.gpus, power_w=alive_w)
        )
        known, memory = estimate(seen, memory)
        memory = replace(memory, now_s=seen.now_s)
    return float(known.overhead_w[0])


@pytest.mark.parametrize("other", OTHERS)
def test_a_meter_of_something_else_teaches_no_overhead(other: str) -> None:
    alone_w = overhead_w(site("Feed"), 12_000.0)
    assert overhead_w(site("Feed", other), 12_000.0, 40_000.0) == pytest.approx(alone_w)


@pytest.mark.parametrize("other", OTHERS)
def test_a_scope_without_a_meter_of_its_feed_has_its_configured_overhead(other: str) -> None:
    snapshot = site(other)
    assert not site_table(snapshot.site).metered[0]
    assert overhead_w(snapshot, 40_000.0) == pytest.approx(9_600.0, rel=1e-3)
    known, _ = estimate(snapshot, FRESH)
    assert known.meter_fresh[0]
    assert known.rise[0] == 0.0


@pytest.mark.parametrize("other", OTHERS)
def test_the_plants_meters_are_those_of_the_feed(other: str) -> None:
    assert [m.name for _, m in meters_of(site("Feed", other).site)] == ["m0"]
    assert [m.name for _, m in meters_of(site(other).site)] == ["hall-feed"]
