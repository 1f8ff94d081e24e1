"""Racks as Slurm's hierarchical resources: what slurmctld takes, and what no job may ask for more than."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from wattlease.core.errors import BudgetError
from wattlease_slurm.racks import NO_LIMIT, Layer, most_w, racks, resources_yaml
from wattlease_slurm.settings import SlurmSettings


def settings(groups: dict[str, str], budgets: dict[str, tuple[str | None, int]]) -> SlurmSettings:
    """Groups of two nodes by their budget, budgets by parent and limit."""
    node = {"cluster": "c", "nodes": 2, "gpuModel": "H100", "nodeNameplateWatts": 10_000}
    overhead = {"floorWatts": 1000, "perItPercent": 25}
    written: dict[str, Any] = {
        "name": "site",
        "groups": [
            {"name": name, "nodeNames": [f"{name}1", f"{name}2"], "budget": budget, "overhead": overhead, **node}
            for name, budget in groups.items()
        ],
        "budgets": [
            {"metadata": {"name": name}, "spec": {"limitWatts": watts} | ({"parent": parent} if parent else {})}
            for name, (parent, watts) in budgets.items()
        ],
        "listen": {"secretFile": "unused"},
        "stateFolder": "unused",
    }
    return SlurmSettings.model_validate(written)


RACKS = {"hall": (None, 20_000), "r1": ("hall", 12_000), "r2": ("hall", 14_500)}


def test_a_layer_has_what_its_limit_leaves_for_gpus_and_the_root_has_no_count() -> None:
    tree = racks(settings({"a": "r1", "b": "r2"}, RACKS))
    assert tree is not None
    (resource,) = yaml.safe_load(resources_yaml("rackpower", tree))
    assert (resource["resource"], resource["mode"]) == ("rackpower", "MODE_3")
    assert resource["layers"] == [
        {"nodes": ["a1", "a2", "b1", "b2"], "count": -1},
        {"nodes": ["a1", "a2"], "count": 8000},
        {"nodes": ["b1", "b2"], "count": 10_000},
    ]


def test_nodes_that_no_rack_has_are_a_layer_without_a_count() -> None:
    tree = racks(settings({"a": "r1", "b": "hall"}, {"hall": (None, 20_000), "r1": ("hall", 12_000)}))
    assert tree is not None
    assert [(layer.nodes, layer.count_w) for layer in tree.parts] == [(("a1", "a2"), 8000), (("b1", "b2"), NO_LIMIT)]


def test_layers_with_the_same_nodes_are_one_with_the_lower_count() -> None:
    budgets = {**RACKS, "row": ("hall", 12_000), "r1": ("row", 14_500)}
    tree = racks(settings({"a": "r1", "b": "r2"}, budgets))
    assert tree is not None
    assert [(layer.name, layer.count_w) for layer in tree.parts] == [("r2", 10_000), ("row", 8000)]


def test_a_site_of_one_scope_has_no_rack_to_guard() -> None:
    assert racks(settings({"a": "hall"}, {"hall": (None, 20_000)})) is None
    assert racks(settings({"a": "r1"}, {"hall": (None, 20_000), "r1": ("hall", 12_000)})) is None


def test_what_slurmctld_would_not_start_with_is_refused_with_the_names() -> None:
    budgets = {**RACKS, "r3": ("r2", 12_000)}
    with pytest.raises(BudgetError, match=r"r1 is 1 below hall; .*r3 is 2 below hall"):
        racks(settings({"a": "r1", "b": "r2", "c": "r3"}, budgets))
    with pytest.raises(BudgetError, match="budget r1: limitWatts 1500 is less"):
        racks(settings({"a": "r1", "b": "r2"}, {**RACKS, "r1": ("hall", 1500)}))


def test_the_resource_has_a_name_of_its_own() -> None:
    with pytest.raises(ValueError, match="give the resource a name of its own"):
        SlurmSettings.model_validate(
            settings({"a": "hall"}, {"hall": (None, 20_000)}).model_dump(by_alias=True, exclude_none=True)
            | {"slurm": {"rackResource": "power"}}
        )


leaves = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9000) | st.just(NO_LIMIT)), min_size=1, max_size=4)


@given(st.lists(st.tuples(leaves, st.integers(1, 20_000) | st.just(NO_LIMIT)), min_size=2, max_size=3), st.data())
def test_a_job_that_asks_for_the_most_fits_on_the_empty_tree_and_a_larger_one_may_ask_for_no_more(
    rows: list[tuple[list[tuple[int, int]], int]], data: st.DataObject
) -> None:
    parts = tuple(
        Layer(
            f"row{i}", row_w, (),
            tuple(Layer("", w, tuple(f"{i}/{k}/{n}" for n in range(size))) for k, (size, w) in enumerate(racks)),
        )
        for i, (racks, row_w) in enumerate(rows)
    )  # fmt: skip
    tree = Layer("hall", NO_LIMIT, (), parts)
    nodes = [node for layer in tree.walk() if not layer.parts for node in layer.nodes]
    among = set(data.draw(st.lists(st.sampled_from(nodes), min_size=1)))
    for count, watts in most_w(tree, among).items():
        assert watts <= 1 or fits(tree, among, watts) >= min(count, fits(tree, among, 1))
        assert most_w(tree, among).get(2 * count, 0) <= watts


def fits(layer: Layer, among: set[str], each_w: int) -> int:
    """Nodes given one by one to whichever leaf has room, as Slurm fills a tree from below."""
    parts = [fits(part, among, each_w) for part in layer.parts]
    below = sum(parts) if parts else len(among & set(layer.nodes))
    taken = 0
    while taken < below and (layer.count_w == NO_LIMIT or (taken + 1) * each_w <= layer.count_w):
        taken += 1
    return taken
