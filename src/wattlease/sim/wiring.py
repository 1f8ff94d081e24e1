"""The columns beside the site that the plant alone knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattlease.core.model import NONE, Floats, Ints, Scope, Site
from wattlease.sim.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Wiring:
    """Columns that only the plant knows: true overhead of nodes, cards' idle draw, where GPUs and scopes hang.

    `under` is [nodes, scopes]: 1 where the node's draw passes the scope. `first_gpu` is each node's first GPU.
    """

    floor_w: Floats
    per_it_frac: Floats
    idle_w: Floats
    rated_w: Floats
    first_gpu: Ints
    gpus: Ints
    under: Floats
    root: Ints
    clusters: tuple[str, ...]
    cluster: Ints


def wiring_of(scenario: Scenario, site: Site) -> Wiring:
    """The plant's own columns beside `site`."""
    groups = scenario.groups
    count = [g.nodes for g in groups]
    gpus = np.repeat([g.gpus_per_node for g in groups], count)
    clusters = tuple(dict.fromkeys(g.cluster for g in groups))
    above = _ancestors(site.scopes)
    return Wiring(
        floor_w=np.repeat([g.overhead.floor_watts for g in groups], count),
        per_it_frac=np.repeat([g.overhead.per_it_percent / 100 for g in groups], count),
        idle_w=np.array([m.idle_w for m in site.models])[site.gpus.model],
        rated_w=np.array([m.rated_w for m in site.models])[site.gpus.model],
        first_gpu=np.concatenate([[0], np.cumsum(gpus)[:-1]]).astype(np.int64),
        gpus=gpus.astype(np.int64),
        under=above[site.nodes.scope],
        root=np.flatnonzero([s.parent == NONE for s in site.scopes]),
        clusters=clusters,
        cluster=np.repeat([clusters.index(g.cluster) for g in groups], count).astype(np.int64),
    )


def _ancestors(scopes: tuple[Scope, ...]) -> Floats:
    """[scopes, scopes]: row s is 1 in its own column and in those of all scopes above it."""
    above = np.eye(len(scopes))
    for i, scope in enumerate(scopes):
        if scope.parent != NONE:
            above[i] += above[scope.parent]
    return above
