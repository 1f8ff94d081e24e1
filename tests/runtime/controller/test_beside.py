"""What draws through the feed beside the nodes is kept out of what they are granted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlease.core.kept_overhead import KNOWN_LOOKS, KeptOverhead, resumed
from wattlease.core.memory import FRESH
from wattlease.core.model import Snapshot
from wattlease.runtime.controller.act import NodeWatts, beside_w
from wattlease.runtime.site_words import Group
from wattlease.sim import instances
from wattlease.sim.instances import Shape

FLOOR_W, PER_IT_FRAC = 500, 0.1
ROW = KeptOverhead(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, KNOWN_LOOKS)


@pytest.fixture(scope="module")
def hall() -> Snapshot:
    """Four nodes at work."""
    return instances.snapshot(np.random.default_rng(5), Shape(running=4, sizes=(8,)))


def node_watts() -> NodeWatts:
    overhead = {"floorWatts": FLOOR_W, "perItPercent": 100 * PER_IT_FRAC}
    group = {"name": "gpu", "budget": "hall", "nodes": 4, "gpusPerNode": 8, "gpuModel": "H100", "overhead": overhead}
    return NodeWatts((Group.model_validate({**group, "cluster": "hall", "nodeNameplateWatts": 10_200}),))


def learned(snapshot: Snapshot, beyond_w: float, it_w: float, looks: float = KNOWN_LOOKS) -> float:
    names = [scope.id for scope in snapshot.site.scopes]
    row = replace(ROW, overhead_w=beyond_w, it_at_w=it_w, looks=looks)
    return beside_w(snapshot, resumed(names, dict.fromkeys(names, row)), node_watts())


@given(st.floats(0.0, 5e4), st.floats(0.0, 5e4))
def test_nodes_and_what_stands_beside_them_are_all_that_was_learned(
    hall: Snapshot, cooling_w: float, it_w: float
) -> None:
    own_w = 4 * FLOOR_W + PER_IT_FRAC * it_w
    assert learned(hall, own_w + cooling_w, it_w) == pytest.approx(cooling_w, abs=1e-6)


def test_nothing_is_kept_out_before_a_meter_has_told_of_it_for_long_enough(hall: Snapshot) -> None:
    assert learned(hall, 9000.0, 20_000.0, looks=KNOWN_LOOKS - 1.0) == 0.0
    assert beside_w(hall, FRESH.scopes, node_watts()) == 0.0


def test_nodes_that_draw_less_than_is_written_of_them_lend_nothing(hall: Snapshot) -> None:
    assert learned(hall, 100.0, 20_000.0) == 0.0


def test_of_clusters_which_tell_all_that_they_draw_all_overhead_stands_beside_them(hall: Snapshot) -> None:
    names = [scope.id for scope in hall.site.scopes]
    scopes = resumed(names, dict.fromkeys(names, replace(ROW, overhead_w=700.0, it_at_w=9000.0)))
    assert beside_w(hall, scopes) == 700.0
