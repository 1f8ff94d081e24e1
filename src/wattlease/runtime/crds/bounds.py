"""How long lists, maps and texts may be in a cluster, so that what a rule costs an API server is bounded.

The models leave them open: a file is read once, by its owner's own machine.
"""

from __future__ import annotations

from typing import Any

ENTRIES = 64
"""Of any list or map that is not named below."""

NODES = 1024
"""Patterns of nodes, and names of clusters, partitions, jobs and owners: no rule walks them."""

LABEL_CHARACTERS = 63
TEXT_CHARACTERS = 256
"""Of a text whose model sets no length; a pattern or a rule says what it may be."""

TIME_CHARACTERS = 64

ENTRIES_OF = {
    ("ScopeSpec", "nodes"): NODES,
    ("ScopeSpec", "clusters"): NODES,
    ("ScopeSpec", "partitions"): NODES,
    ("JobSelector", "names"): NODES,
    ("JobSelector", "owners"): NODES,
    ("JobSelector", "partitions"): NODES,
    ("Breaker", "tripCurve"): 32,
    ("Redundancy", "feeds"): 16,
    ("PowerBudgetSpec", "storage"): 16,
    ("PowerBudgetSpec", "meters"): 32,
    ("PowerBudgetSpec", "thermalDerate"): 16,
    ("PowerProfileSpec", "batchSteps"): 16,
    ("PowerProfileSpec", "variants"): 16,
    ("ScheduleEntry", "days"): 7,
    ("TariffPeriod", "days"): 7,
    ("TariffPeriod", "months"): 12,
    ("Pcs", "models"): 7,
}


def bounded(node: dict[str, Any], part: str, field: str) -> dict[str, Any]:
    """A node with an upper bound on its length, where its model sets none; `field` of `part` is what it belongs to."""
    match node["type"]:
        case "array":
            return {**node, "maxItems": node.get("maxItems", ENTRIES_OF.get((part, field), ENTRIES))}
        case "object" if "additionalProperties" in node:
            return {**node, "maxProperties": ENTRIES}
        case "string" if "enum" not in node:
            usual = TIME_CHARACTERS if "format" in node else TEXT_CHARACTERS
            return {**node, "maxLength": node.get("maxLength", usual)}
        case _:
            return node
