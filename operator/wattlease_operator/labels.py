"""What each node may draw, as an annotation that people and schedulers' plugins can read; nothing of ours reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from wattlease_operator.words import OURS, KubeNode
from wattlease_operator.writes import Write, owning

GRANTED = f"{OURS}granted-watts"

ROUND_W = 100
"""Grants move every second; people do not read so fast, and each write is one to etcd."""

MOST = 20
"""Nodes that are written in one round."""


def told(nodes: Mapping[str, KubeNode], grant_w: Mapping[str, float]) -> dict[str, Write]:
    """By node, the writes for those whose annotation is off by more than the rounding, at most `MOST` of them."""
    return dict(islice(_off(nodes, grant_w), MOST))


def untold(nodes: Mapping[str, KubeNode]) -> dict[str, Write]:
    """By node, the writes that take the annotation off, for at most `MOST` of those that have it."""
    shown = (node for node in nodes.values() if GRANTED in node.annotations)
    return {node.ref.name: owning(node.ref, {}) for node in islice(shown, MOST)}


def _off(nodes: Mapping[str, KubeNode], grant_w: Mapping[str, float]) -> Iterator[tuple[str, Write]]:
    for name, watts in grant_w.items():
        node = nodes.get(name)
        word = node.annotations.get(GRANTED, "") if node else ""
        if node and (not word.isdecimal() or abs(int(word) - watts) > ROUND_W):
            yield name, owning(node.ref, {GRANTED: str(round(watts / ROUND_W) * ROUND_W)})
