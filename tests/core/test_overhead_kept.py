"""What is known of overhead before a scope's first tick: what was kept of it, what was configured, or a guess."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from wattlease.core.api import PowerBudget
from wattlease.core.estimate import estimate
from wattlease.core.kept_overhead import KNOWN_LOOKS, kept, resumed
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import NONE, Reading, Scope, Snapshot
from wattlease.core.overhead import START_RISE
from wattlease.sim import instances
from wattlease.sim.instances import Shape

BEYOND_W = 4_000.0


def hall(configured_w: float = 0.0, metered: bool = True, name: str = "hall") -> Snapshot:
    """Four nodes with so much overhead configured each."""
    snapshot = instances.snapshot(np.random.default_rng(5), Shape(running=4, sizes=(8,)))
    meters = [{"name": "feed", "kind": "Virtual"}] if metered else []
    spec = {"limitWatts": 100_000, "meters": meters}
    budget = PowerBudget.model_validate({"metadata": {"name": name}, "spec": spec})
    nodes = replace(snapshot.site.nodes, overhead_w=np.full(4, configured_w))
    return replace(snapshot, site=replace(snapshot.site, scopes=(Scope(name, NONE, budget),), nodes=nodes))


def it_w(snapshot: Snapshot) -> float:
    return float(snapshot.gpus.power_w.sum())


def after(snapshot: Snapshot, seconds: int, memory: Memory = FRESH, beyond_w: float = BEYOND_W) -> tuple[float, Memory]:
    """Overhead after so many ticks with a meter that lives."""
    began_s = memory.now_s if math.isfinite(memory.now_s) else snapshot.now_s
    for k in range(1, seconds + 1):
        power_w = snapshot.gpus.power_w * (1.0 + 1e-7 * k)
        reading = Reading("feed", 0, it_w(snapshot) + beyond_w + k % 2, 0.5, 1.0)
        gpus = replace(snapshot.gpus, power_w=power_w)
        seen = replace(snapshot, now_s=began_s + k, meters=(reading,), gpus=gpus)
        known, memory = estimate(seen, memory)
        memory = replace(memory, now_s=seen.now_s)
    return float(known.overhead_w[0]), memory


def test_a_metered_scope_of_which_nothing_is_known_begins_at_what_cards_may_well_bring() -> None:
    snapshot = hall()
    overhead_w, _ = after(snapshot, 1)
    assert overhead_w == pytest.approx(START_RISE * it_w(snapshot), rel=1e-3)


@pytest.mark.parametrize("configured_w", [0.0, 300.0, 2_400.0], ids=["guessed", "too little", "too much"])
def test_what_a_scope_began_with_is_gone_within_seconds(configured_w: float) -> None:
    snapshot = hall(configured_w)
    begun_w, memory = after(snapshot, 1)
    overhead_w, _ = after(snapshot, 12, memory)
    assert abs(overhead_w - BEYOND_W) < 0.12 * abs(begun_w - BEYOND_W)


def test_one_odd_look_never_decides() -> None:
    snapshot = hall()
    begun_w, memory = after(snapshot, 1)
    for beyond_w in (BEYOND_W, 40_000.0, BEYOND_W):
        _, memory = after(snapshot, 1, memory, beyond_w)
    overhead_w, _ = after(snapshot, 1, memory)
    assert overhead_w < 0.6 * 40_000.0
    calm_w, _ = after(snapshot, 40, memory)
    assert calm_w < begun_w


@pytest.mark.parametrize("configured_w", [300.0, 2_400.0])
def test_a_scope_that_was_never_seen_begins_at_what_is_configured(configured_w: float) -> None:
    assert after(hall(configured_w), 1)[0] == pytest.approx(4 * configured_w, rel=1e-3)


def test_clusters_that_tell_all_they_draw_begin_with_nothing_beside_them() -> None:
    snapshot = hall()
    clusters = replace(snapshot, site=replace(snapshot.site, all_told=True))
    assert after(clusters, 1)[0] == pytest.approx(0.0, abs=1.0)


def test_what_was_learned_counts_from_the_first_tick_after_a_restart() -> None:
    snapshot = hall()
    learned_w, memory = after(snapshot, 60)
    rows = kept(["hall"], memory.scopes)
    again = replace(FRESH, scopes=resumed(["hall"], rows))
    unseen_w, _ = estimate(snapshot, again)
    assert float(unseen_w.overhead_w[0]) == pytest.approx(learned_w, rel=1e-3)


def test_what_was_learned_goes_with_its_scope_by_name() -> None:
    _, memory = after(hall(), 60)
    rows = kept(["hall"], memory.scopes)
    other = resumed(["other", "hall"], rows)
    assert np.isnan(other.overhead_w[0])
    assert other.overhead_w[1] == memory.scopes.overhead_w[0]
    assert kept(["two", "names"], memory.scopes) == {}


def test_what_was_hardly_seen_is_not_kept() -> None:
    _, memory = after(hall(), int(KNOWN_LOOKS) - 5)
    assert kept(["hall"], memory.scopes) == {}


def test_without_a_meter_what_is_configured_counts_and_not_what_was_learned() -> None:
    _, memory = after(hall(), 60)
    rows = kept(["hall"], memory.scopes)
    known, _ = estimate(hall(2_400.0, metered=False), replace(FRESH, scopes=resumed(["hall"], rows)))
    assert float(known.overhead_w[0]) == pytest.approx(9_600.0)
