"""Without a meter overhead is what was configured, at what cards draw: a floor, and a part of each of their watts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.decide import decide
from wattlease.core.estimate import Estimate, estimate
from wattlease.core.memory import FRESH
from wattlease.core.model import NONE, Snapshot
from wattlease.core.outcome import gpu_caps
from wattlease.core.sites import site_table
from wattlease.sim import instances
from wattlease.sim.instances import Shape

laws = settings(max_examples=60, deadline=None)
rises = st.lists(st.floats(0.0, 0.4), min_size=4, max_size=4)
loads = st.lists(st.floats(0.05, 1.0), min_size=32, max_size=32)
FLOOR_W = 800.0


def hall(rise: list[float], counts: str = "Draw", racks: int = 1) -> Snapshot:
    """Four nodes at work without a meter; each one's overhead follows its cards by another part."""
    snapshot = instances.snapshot(
        np.random.default_rng(5), Shape(running=4, sizes=(8,), racks=racks, counts=counts, limit_frac=0.8)
    )
    site, frac = snapshot.site, np.array(rise)
    rated_w = np.bincount(site.gpus.node, site.gpus.max_cap_w)
    nodes = replace(site.nodes, overhead_w=FLOOR_W + frac * rated_w, overhead_rise=frac)
    return replace(snapshot, site=replace(site, nodes=nodes))


def nodes_w(snapshot: Snapshot, cards_w: np.ndarray) -> float:
    """What all nodes draw, as their agents count it, while their cards draw this."""
    nodes = snapshot.site.nodes
    of_node_w = np.bincount(snapshot.site.gpus.node, cards_w)
    return float((FLOOR_W + (1.0 + nodes.overhead_rise) * of_node_w).sum())


def drawing(snapshot: Snapshot, loads: list[float]) -> tuple[Estimate, float]:
    """What is believed while each card draws this part of its rating, and what its nodes count."""
    drawn_w = np.array(loads) * snapshot.site.gpus.max_cap_w
    cards = replace(snapshot.gpus, power_w=drawn_w, job=np.full(32, NONE))
    return estimate(replace(snapshot, gpus=cards), FRESH)[0], nodes_w(snapshot, drawn_w)


@laws
@given(st.floats(0.0, 0.4), loads, st.booleans())
def test_what_a_scope_draws_is_what_its_nodes_count(rise: float, loads: list[float], racks: bool) -> None:
    known, counted_w = drawing(hall([rise] * 4, racks=4 if racks else 1), loads)
    assert known.draw_w[0] == pytest.approx(counted_w)
    assert known.draw_w[1:].sum() == pytest.approx(counted_w if racks else 0.0)


@laws
@given(rises, loads)
def test_nodes_of_several_kinds_are_never_counted_too_low_nor_above_their_worst(
    rise: list[float], loads: list[float]
) -> None:
    snapshot = hall(rise)
    known, counted_w = drawing(snapshot, loads)
    like_the_worst_w = 4 * FLOOR_W + (1.0 + max(rise)) * known.it_w[0]
    assert counted_w - 1e-6 <= known.draw_w[0] <= like_the_worst_w + 1e-6


@laws
@given(st.floats(0.0, 0.4))
def test_a_card_that_is_not_heard_brings_its_overhead_along(rise: float) -> None:
    snapshot = hall([rise] * 4)
    silent = replace(snapshot, gpus=replace(snapshot.gpus, power_w=np.full(32, np.nan)))
    known, _ = estimate(silent, FRESH)
    assert known.draw_w[0] == pytest.approx(nodes_w(silent, known.gpu_cap_w))


@laws
@given(rises)
def test_limits_fit_with_the_overhead_that_they_bring_along(rise: list[float]) -> None:
    snapshot, memory = hall(rise, counts="Limits"), FRESH
    limit_w = float(snapshot.site.scopes[0].budget.spec.limit_watts)
    for k in range(4):
        plan, memory = decide(replace(snapshot, now_s=snapshot.now_s + k), memory)
    caps_w = gpu_caps(snapshot, plan.cap_w, plan.spare_frac)
    assert nodes_w(snapshot, caps_w) <= limit_w * (1 + 1e-9)


def test_nodes_of_which_no_rise_is_known_keep_their_overhead_whatever_is_drawn() -> None:
    snapshot = hall([0.1] * 4)
    bare = replace(snapshot, site=replace(snapshot.site, nodes=replace(snapshot.site.nodes, overhead_rise=np.empty(0))))
    known, _ = estimate(bare, FRESH)
    assert known.overhead_w[0] == pytest.approx(float(bare.site.nodes.overhead_w.sum()))
    assert known.rise[0] == site_table(bare.site).overhead_rise[0] == 0.0
