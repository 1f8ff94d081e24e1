"""Slurm's hierarchical resources (HRES) as a guard for racks and rows: what stands below the root, as a tree.

A resource of MODE_3 counts, for each node of a job, so many watts in every layer above it, and Slurm starts no job that
one layer has no room for. Its counts are fixed until slurmctld is reconfigured, so the site's own limit, which moves
all day, is no part of it. Rule 1: slurmctld does not start with two layers of the same nodes, or leaves of unlike
depth. Rule 2: it refuses a job that would not fit on the empty tree, so nothing may ask for more than `most_w`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from wattlease.core.api import PowerBudget
from wattlease.core.errors import BudgetError
from wattlease.runtime.controller.settings import ControllerSettings
from wattlease.runtime.site_words import Group

NO_LIMIT = -1
"""Slurm's word for a layer that has always room."""


RESOURCE = "rackpower"
"""What the resource is called where the settings do not say."""

HEAD = """\
# Beside slurm.conf, for Slurm 25.11.7 or 26.05.2 and newer; then restart slurmctld, and name it in Wattlease's file:
# slurm: {{rackResource: {resource}}}. Watts of GPUs, asked for each node; the site's own limit moves and is no part.
"""


@dataclass(frozen=True, slots=True)
class Layer:
    """A part of the feed: watts of GPUs that it has for jobs, `NO_LIMIT` for any, its nodes, and what hangs on it."""

    name: str
    count_w: int
    nodes: tuple[str, ...]
    parts: tuple[Layer, ...] = ()

    def walk(self) -> Iterator[Layer]:
        """It and all below it, the largest first."""
        yield self
        for part in self.parts:
            yield from part.walk()


def racks(settings: ControllerSettings) -> Layer | None:
    """The tree of the budgets; `None` where none below the root has nodes of its own to guard.

    Raises BudgetError where Slurm could not be told it.
    """
    root = next(budget for budget in settings.budgets if budget.spec.parent is None)
    tree = _layer(root, settings.budgets, settings.groups)
    if tree is None or not tree.parts:
        return None
    leaves = list(_leaves(tree))
    if len({depth for _, depth in leaves}) > 1:
        told = "; ".join(f"{leaf.name} is {depth} below {tree.name}" for leaf, depth in leaves)
        raise BudgetError(f"Slurm wants all nodes equally far below the root: {told}; give some a budget between")
    return replace(tree, count_w=NO_LIMIT)


def resources_yaml(resource: str, tree: Layer) -> str:
    """The file for slurmctld, as 25.11 and 26.05 read it."""
    layers = "".join(
        f"    # {layer.name}\n    - nodes: {json.dumps(layer.nodes)}\n      count: {layer.count_w}\n"
        for layer in tree.walk()
    )
    return f"{HEAD.format(resource=resource)}- resource: {resource}\n  mode: MODE_3\n  layers:\n{layers}"


def most_w(tree: Layer, among: Collection[str]) -> dict[int, int]:
    """What a job may ask for on each of its nodes and still fit on the empty tree, by how many nodes it has.

    For 1, 2, 4, ... nodes up to all those `among` which it must find them; a job between two of these counts as the
    larger. Empty where nothing bounds it, or the tree has none of these nodes.
    """
    wanted = frozenset(among)
    size = _fitting(tree, wanted, 1)
    bound_w = sum(layer.count_w for layer in tree.walk() if layer.count_w > 0 and not wanted.isdisjoint(layer.nodes))
    if size == 0 or bound_w == 0:
        return {}
    steps = [1 << i for i in range(math.ceil(math.log2(size)) + 1)]
    return {step: _most_w(tree, wanted, min(step, size), bound_w) for step in steps}


def _most_w(tree: Layer, among: Collection[str], nodes: int, bound_w: int) -> int:
    low_w, high_w = 1, bound_w
    while low_w < high_w:
        middle_w = (low_w + high_w + 1) // 2
        if _fitting(tree, among, middle_w) >= nodes:
            low_w = middle_w
        else:
            high_w = middle_w - 1
    return low_w


def _fitting(layer: Layer, among: Collection[str], each_w: int) -> int:
    """Nodes of these that have `each_w` at once."""
    below = (
        sum(_fitting(part, among, each_w) for part in layer.parts)
        if layer.parts
        else sum(node in among for node in layer.nodes)
    )
    return below if layer.count_w == NO_LIMIT else min(below, layer.count_w // each_w)


def _layer(budget: PowerBudget, budgets: Sequence[PowerBudget], groups: Sequence[Group]) -> Layer | None:
    """A budget with what is below it. One part with all its nodes is one layer with it, and the lower count holds."""
    below = [_layer(part, budgets, groups) for part in budgets if part.spec.parent == budget.name]
    parts = [part for part in below if part is not None]
    own = [group for group in groups if group.budget == budget.name]
    names = tuple(name for group in own for name in group.names)
    if names and parts:
        parts.append(Layer(f"{budget.name}, the rest", NO_LIMIT, names))
    nodes = tuple(name for part in parts for name in part.nodes) if parts else names
    if not nodes:
        return None
    count_w = _count_w(budget, [group for group in groups if not set(nodes).isdisjoint(group.names)])
    if len(parts) == 1:
        lower_w = min((w for w in (count_w, parts[0].count_w) if w != NO_LIMIT), default=NO_LIMIT)
        return replace(parts[0], name=budget.name, count_w=lower_w)
    return Layer(budget.name, count_w, nodes, tuple(parts))


def _count_w(budget: PowerBudget, groups: Sequence[Group]) -> int:
    """Of its limit what is left for GPUs with all nodes on."""
    floor_w = sum(group.nodes * group.overhead.floor_watts for group in groups)
    per_it = max(group.overhead.per_it_percent for group in groups) / 100.0
    left_w = math.floor((budget.spec.limit_watts - floor_w) / (1.0 + per_it))
    if left_w <= 0:
        told = f"limitWatts {budget.spec.limit_watts:g} is less than its nodes draw without their GPUs, {floor_w:g} W"
        raise BudgetError(f"budget {budget.name}: {told}")
    return left_w


def _leaves(layer: Layer, depth: int = 0) -> Iterator[tuple[Layer, int]]:
    if not layer.parts:
        yield layer, depth
    for part in layer.parts:
        yield from _leaves(part, depth + 1)
