"""What of a scope's overhead outlasts a restart, by the scope's name: how much it was, at which IT draw, and how it
followed that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from wattlease.core.memory import ScopesMemory
from wattlease.core.model import Bools

KNOWN_LOOKS = 20.0
"""From so many looks without doubt on overhead is known: it outlasts a restart, and is kept out of nodes' grants."""


@dataclass(frozen=True, slots=True)
class KeptOverhead:
    """One scope's part of the columns of `ScopesMemory` that have these names; watts, and watts squared."""

    overhead_w: float
    it_at_w: float
    it_mean_w: float
    it_var: float
    overhead_mean_w: float
    overhead_cov: float
    looks: float


COLUMNS = tuple(field.name for field in fields(KeptOverhead))


def known(scopes: ScopesMemory) -> Bools:
    """Which scopes' overhead is known from their meters."""
    return scopes.looks >= KNOWN_LOOKS


def kept(names: Sequence[str], scopes: ScopesMemory) -> dict[str, KeptOverhead]:
    """What is known of these scopes, which stand in the memory's order."""
    if len(scopes.looks) != len(names):
        return {}
    found = {c: getattr(scopes, c).tolist() for c in COLUMNS}
    return {names[s]: KeptOverhead(**{c: found[c][s] for c in COLUMNS}) for s in np.flatnonzero(known(scopes)).tolist()}


def resumed(names: Sequence[str], of: Mapping[str, KeptOverhead]) -> ScopesMemory:
    """The memory of these scopes before their first tick: what was kept of each, NaN where nothing was."""
    columns: dict[str, Any] = {
        c: np.array([getattr(of[name], c) if name in of else np.nan for name in names]) for c in COLUMNS
    }
    return ScopesMemory(**columns)


def with_kept(begun: ScopesMemory, resumed: ScopesMemory, where: Bools) -> ScopesMemory:
    """What begins anew, with what was kept in its place `where` there is any."""
    if len(resumed.looks) != len(where):
        return begun
    has = where & np.isfinite(resumed.looks)
    columns: dict[str, Any] = {c: np.where(has, getattr(resumed, c), getattr(begun, c)) for c in COLUMNS}
    return replace(begun, **columns)
