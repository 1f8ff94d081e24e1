"""A facility as the core sees it: its budgets as scopes, its clusters as nodes of one card each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wattlease.core.api import PowerShare
from wattlease.core.model import NONE, CardModel, GpuReadings, Gpus, Jobs, Nodes, Scope, Site, StorageUnit

_NONE = np.empty(0, np.int64)
_NAN = np.empty(0)

NO_JOBS = Jobs(
    (), (), (), (), _NONE, _NONE, _NONE, _NONE, _NONE, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NONE
)  # fmt: skip
"""A facility knows no jobs: each cluster has its own."""


def site_of_shares(
    name: str, scopes: tuple[Scope, ...], storages: tuple[StorageUnit, ...], shares: Sequence[PowerShare]
) -> Site:
    """The site of these shares; each one's budget is among the scopes, and each has its guaranteed watts written."""
    index = {scope.id: i for i, scope in enumerate(scopes)}
    count = len(shares)
    least_w = np.array([float(share.spec.guaranteed_watts or 0) for share in shares])
    most_w = np.array([float(share.spec.watts) for share in shares])
    kinds = [CardModel("cluster", float(most), float(least), 0.0) for most, least in zip(most_w, least_w, strict=True)]
    models = tuple(dict.fromkeys(kinds))
    return Site(
        name=name,
        scopes=scopes,
        models=models,
        nodes=Nodes(
            id=tuple(share.spec.cluster for share in shares),
            scope=np.array([index[share.spec.budget] for share in shares], np.int64),
            cluster=tuple(share.spec.cluster for share in shares),
            nameplate_w=most_w,
            overhead_w=np.zeros(count),
            fallback_w=least_w,
        ),
        gpus=Gpus(
            node=np.arange(count),
            model=np.array([models.index(kind) for kind in kinds], np.int64),
            min_cap_w=least_w,
            max_cap_w=most_w,
        ),
        terms=(),
        storages=storages,
        all_told=True,
    )


def readings_of_shares(draw_w: Sequence[float], age_s: Sequence[float], granted_w: Sequence[float]) -> GpuReadings:
    """What each cluster draws, how old that is, and the most that it may draw."""
    nobody = np.full(len(draw_w), NONE, np.int64)
    return GpuReadings(np.array(draw_w), np.array(age_s), np.array(granted_w), nobody)
