"""What follows from a site alone: columns and sums made once for each site, and kept while it stays the same object."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattlease.core.model import NONE, Bools, CardModel, Floats, Ints, Scope, Site


@dataclass(frozen=True, slots=True)
class ModelTable:
    """Columns beside `Site.models`, watts a card."""

    rated_w: Floats
    min_cap_w: Floats
    idle_w: Floats


@dataclass(frozen=True, slots=True)
class SiteTable:
    """Columns of a site. Beside its cards: `leaf` is the scope of each one's node, `idle_w` what its model draws idle.

    Beside its scopes: `parent`; `overhead_w` as configured and `rated_w` of the cards, with all below (0 where nodes
    tell all that they draw), `floor_w` what of overhead is left when no card draws, and `overhead_rise` the most that a
    watt of a card brings along; `metered` where a meter of the feed is named; of each band whether it `counts_limits`,
    its `margin_frac`, `transient_frac` and `window_s` (0: as its meter's); `rise_w_per_s` is how fast its ramp lets
    watts come back.
    `most_transient_frac` is the largest of all bands.
    """

    leaf: Ints
    idle_w: Floats
    parent: tuple[int, ...]
    overhead_w: Floats
    floor_w: Floats
    overhead_rise: Floats
    rated_w: Floats
    metered: Bools
    counts_limits: Bools
    margin_frac: Floats
    transient_frac: Floats
    window_s: Floats
    rise_w_per_s: Floats
    most_transient_frac: float


@lru_cache(maxsize=16)
def model_table(models: tuple[CardModel, ...]) -> ModelTable:
    """The columns of these card models."""
    return ModelTable(
        np.array([m.rated_w for m in models]),
        np.array([m.min_cap_w for m in models]),
        np.array([m.idle_w for m in models]),
    )


@lru_cache(maxsize=4)
def site_table(site: Site) -> SiteTable:
    """The columns of this site, which is known again by its identity."""
    nodes, bands = site.nodes, [s.budget.spec.band for s in site.scopes]
    parent, leaf = tuple(s.parent for s in site.scopes), nodes.scope[site.gpus.node]
    rated_w = np.where(site.all_told, 0.0, model_table(site.models).rated_w[site.gpus.model])
    overhead_w = _summed(parent, np.bincount(nodes.scope, nodes.overhead_w, len(parent)))
    rise = nodes.overhead_rise if len(nodes.overhead_rise) else np.zeros(len(nodes.id))
    brought_w = np.bincount(leaf, rise[site.gpus.node] * rated_w, len(parent))
    most_rise = np.zeros(len(parent))
    np.maximum.at(most_rise, nodes.scope, rise)
    return SiteTable(
        leaf=leaf,
        idle_w=model_table(site.models).idle_w[site.gpus.model],
        parent=parent,
        overhead_w=overhead_w,
        floor_w=overhead_w - _summed(parent, brought_w),
        overhead_rise=_joined(parent, most_rise, max),
        rated_w=_summed(parent, np.bincount(leaf, rated_w, len(parent))),
        metered=np.array([any(m.measures == "Feed" for m in s.budget.spec.meters) for s in site.scopes], bool),
        counts_limits=np.array([b.counts == "Limits" for b in bands], bool),
        margin_frac=np.array([b.margin_percent / 100.0 for b in bands]),
        transient_frac=np.array([b.transient_percent / 100.0 for b in bands]),
        window_s=np.array([float(b.window_seconds or 0) for b in bands]),
        rise_w_per_s=np.array([_rise_w_per_s(s) for s in site.scopes]),
        most_transient_frac=max(b.transient_percent for b in bands) / 100.0,
    )


def _rise_w_per_s(scope: Scope) -> float:
    spec = scope.budget.spec
    return spec.ramp.release_percent_per_minute / 100.0 / 60.0 * spec.limit_watts


def roll_up(site: Site, leaf_w: NDArray[Any]) -> Floats:
    """Sums over every scope with all that lies below it, from sums over the scopes alone."""
    return _summed(site_table(site).parent, leaf_w)


def _summed(parent: tuple[int, ...], leaf_w: NDArray[Any]) -> Floats:
    return _joined(parent, leaf_w, operator.add)


def _joined(parent: tuple[int, ...], own: NDArray[Any], join: Callable[[float, float], float]) -> Floats:
    """What each scope has of its own, joined with what all below it have."""
    found = own.astype(float)
    for s in range(len(parent) - 1, -1, -1):  # parents come before children, so walk backwards
        if parent[s] != NONE:
            found[parent[s]] = join(found[parent[s]], found[s])
    return found
