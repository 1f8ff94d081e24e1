"""Which nodes of a cluster stand under which budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from wattlease.core.api import PowerBudget, ScopeSpec
from wattlease_operator.cache import Body
from wattlease_operator.nodes import labels_of


def budget_of_nodes(tree: Sequence[PowerBudget], nodes: Sequence[Body], cluster: str) -> Mapping[str, str]:
    """The deepest budget that names each node; a node that none names stands under none.

    A root that says nothing of its nodes has all that no other budget names.
    """
    parent = {b.name: b.spec.parent for b in tree}
    deepest_first = sorted(tree, key=lambda b: (-_depth(b.name, parent), b.name))
    found: dict[str, str] = {}
    for node in nodes:
        name = node["metadata"]["name"]
        budget = next((b.name for b in deepest_first if selects(b, node, cluster)), None)
        if budget is not None:
            found[name] = budget
    return found


def selects(budget: PowerBudget, node: Body, cluster: str) -> bool:
    """Whether a budget names a node: by its name, by all of the labels, or by its whole cluster."""
    scope = budget.spec.scope
    if scope == ScopeSpec():
        return budget.spec.parent is None
    labels, name = labels_of(node), node["metadata"]["name"]
    by_name = any(fnmatchcase(name, pattern) for pattern in scope.nodes)
    by_label = bool(scope.node_selector) and all(labels.get(k) == v for k, v in scope.node_selector.items())
    return by_name or by_label or cluster in scope.clusters


def _depth(name: str, parent: Mapping[str, str | None]) -> int:
    above = parent.get(name)
    return 0 if above is None else 1 + _depth(above, parent)
