"""From Node objects to groups of alike nodes. A node that cannot be understood counts at the most it may draw."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wattlease.core.gpu_models import GPU_MODELS, gpu_model
from wattlease.runtime.site_words import Card, Group, Overhead
from wattlease_operator.cache import Body
from wattlease_operator.settings import OperatorSettings, Product

GPUS_MAX = 16
"""Cards in one machine; more are slices that several pods share."""

HUNGRIEST = max(GPU_MODELS.values(), key=lambda model: model.rated_w)
"""A card that nobody knows draws at most what the hungriest known one does."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What could not be taken up as it was written, and what holds instead."""

    kind: str
    namespace: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class _Like:
    """What all nodes of a group share."""

    budget: str
    product: str
    gpus: int


def groups_of(
    settings: OperatorSettings,
    nodes: Sequence[Body],
    budget_of: Mapping[str, str],
    refusals: list[Refusal],
) -> tuple[Group, ...]:
    """The nodes that have GPUs and stand under a budget, in groups; names of nodes in order."""
    alike: dict[_Like, list[str]] = {}
    for node in nodes:
        name, gpus = node["metadata"]["name"], gpus_of(settings, node, refusals)
        if gpus and name in budget_of:
            like = _Like(budget_of[name], labels_of(node).get(settings.product_label, ""), gpus)
            alike.setdefault(like, []).append(name)
    order = sorted(alike, key=lambda like: (like.budget, like.product, like.gpus))
    return tuple(_group(settings, i, like, sorted(alike[like]), refusals) for i, like in enumerate(order))


def labels_of(node: Body) -> Mapping[str, str]:
    """A node's labels."""
    return node["metadata"].get("labels") or {}


def gpus_of(settings: OperatorSettings, node: Body, refusals: list[Refusal]) -> int:
    """How many cards are in the machine, whoever may use them just now; 0 for a node without."""
    counted = labels_of(node).get(settings.count_label, "")
    if not counted.isdecimal():
        counted = str((node.get("status") or {}).get("capacity", {}).get(settings.gpu_resource, "0"))
    count = int(counted) if counted.isdecimal() else 0
    if count > GPUS_MAX:
        told = f"{count} GPUs in one node are slices that pods share; label it {settings.count_label}=<cards>"
        refusals.append(Refusal("Node", "", node["metadata"]["name"], f"{told}; {GPUS_MAX} count until then"))
    return min(count, GPUS_MAX)


def _group(settings: OperatorSettings, number: int, like: _Like, names: list[str], refusals: list[Refusal]) -> Group:
    known = settings.products.get(like.product)
    product = known or settings.other_products
    model, card = _card(like.product, product)
    if model == UNKNOWN:
        label = f"{settings.product_label}={like.product}" if like.product else f"no label {settings.product_label}"
        told = f"{label}: a card that nobody knows; it counts at {card.rated_watts:g} W; write it under products"
        refusals.extend(Refusal("Node", "", name, told) for name in names)
    overhead = product.overhead or settings.other_products.overhead or Overhead()
    return Group(
        name=f"g{number}-{_slug(like.product)}"[:63].rstrip("-"),
        cluster=settings.cluster,
        budget=like.budget,
        nodes=len(names),
        node_names=tuple(names),
        gpus_per_node=like.gpus,
        gpu_model=model,
        card=card,
        node_nameplate_watts=product.node_nameplate_watts or _nameplate_watts(like.gpus, card, overhead),
        node_fallback_watts=product.node_fallback_watts,
        overhead=overhead,
    )


UNKNOWN = "unknown"


def _card(label: str, product: Product) -> tuple[str, Card]:
    """A card's model and range: as written, else as the library has it, else the worst that may be."""
    found = gpu_model(product.gpu_model or label)
    if product.card is not None:
        return product.gpu_model or (found.name if found else _slug(label)), product.card
    known = found or HUNGRIEST
    card = Card(rated_watts=known.rated_w, min_cap_watts=known.min_cap_w, idle_watts=known.idle_w)
    return (found.name if found else UNKNOWN), card


def _nameplate_watts(gpus: int, card: Card, overhead: Overhead) -> int:
    return max(1, round(overhead.floor_watts + (1 + overhead.per_it_percent / 100) * gpus * card.rated_watts))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "gpu"
