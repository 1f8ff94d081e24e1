"""Which limit holds for each scope, now and through the horizon, and which source binds: the lowest wins.

The losers stay visible. A child has its own sources and, as one more, what its parent leaves it. What a battery may
add is told beside the limit and never inside it: the limit is held at the meter, where the battery is not seen.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from wattlease.core.limits_ahead import AHEAD_S, own_ahead_w, steady_w
from wattlease.core.limits_memory import LimitsMemory, ScopeMemory, advanced
from wattlease.core.limits_sources import SOURCES, Limit, Place, lines_of, power
from wattlease.core.model import NONE, Floats, Snapshot, Storage, StorageUnit, Window

__all__ = ["AHEAD_S", "SOURCES", "Bound", "Limit", "LimitsMemory", "ScopeMemory", "bounds", "help_w"]

SUSTAIN_S = 900.0
"""What a battery adds, it must be able to add for this long."""

STORAGE_STALE_S = 15.0
"""A battery that was not heard for longer adds nothing."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a scope must stay under.

    `binding` may be the parent's (its `scope` says so). `ahead_w` is the lowest limit since the step before, at the
    unix times `ahead_t_s`. `storage_w` is what the scope's batteries may add now; `shortage_s` the time until the
    limit rises again, infinite where no end is known.
    """

    scope: int
    limit_w: float
    binding: Limit
    losers: tuple[Limit, ...]
    ahead_t_s: Floats
    ahead_w: Floats
    storage_w: float
    shortage_s: float


def bounds(snapshot: Snapshot, draw_w: Floats, memory: LimitsMemory) -> tuple[tuple[Bound, ...], LimitsMemory]:
    """The bound of every scope; `draw_w` is what each drew at its meter since the tick before."""
    memory = advanced(memory, snapshot, draw_w)
    storage_w = _storage_by_scope(snapshot)
    t_s = snapshot.now_s + AHEAD_S
    places = _places(snapshot, memory)
    limits = [[limit for source in SOURCES if (limit := source(place)) is not None] for place in places]
    ahead_w = own_ahead_w(places, limits, t_s)
    found: list[Bound] = []
    for place, own, row_w in zip(places, limits, ahead_w, strict=True):
        parent = None if place.scope.parent == NONE else found[place.scope.parent]
        found.append(_bound(place, own, t_s, row_w, storage_w[place.index], parent))
    return tuple(found), memory


def help_w(unit: StorageUnit, state: Storage) -> float:
    """What a battery can add for SUSTAIN_S, fading to nothing across `fade_frac` above its reserve."""
    if not state.available or not state.age_s <= STORAGE_STALE_S:
        return 0.0
    above_frac = state.soc_frac - unit.reserve_frac
    if not above_frac > 0.0:  # also where the state of charge is not known
        return 0.0
    fade = 1.0 if unit.fade_frac <= 0.0 else min(1.0, above_frac / unit.fade_frac)
    health = min(1.0, state.soh_frac) if state.soh_frac > 0.0 else 0.0
    energy_j = above_frac * unit.capacity_j * health * math.sqrt(unit.round_trip_frac)
    return fade * min(unit.max_discharge_w, max(state.max_discharge_w, 0.0), energy_j / SUSTAIN_S)


def _places(snapshot: Snapshot, memory: LimitsMemory) -> list[Place]:
    windows: defaultdict[int, list[Window]] = defaultdict(list)
    for window in snapshot.windows:
        windows[window.scope].append(window)
    return [
        Place(i, scope, snapshot.now_s, lines_of(windows[i], steady_w(scope)), row)
        for i, (scope, row) in enumerate(zip(snapshot.site.scopes, memory.scopes, strict=True))
    ]


def _bound(
    place: Place, own: list[Limit], t_s: Floats, ahead_w: Floats, storage_w: float, parent: Bound | None
) -> Bound:
    limits = own if parent is None else [*own, _of_parent(parent)]
    if parent is not None:
        ahead_w = np.minimum(ahead_w, parent.ahead_w + parent.storage_w)
    binding = min(limits, key=lambda x: x.limit_w)
    losers = tuple(x for x in limits if x is not binding)
    shortage_s = parent.shortage_s if parent and binding is limits[-1] else _shortage_s(binding, place)
    return Bound(place.index, binding.limit_w, binding, losers, t_s, ahead_w, storage_w, shortage_s)


def _of_parent(parent: Bound) -> Limit:
    """What a parent leaves a child: its limit, and the watts that its own batteries bring behind its meter."""
    if parent.storage_w <= 0.0:
        return parent.binding
    text = f"{parent.binding.text}, with {power(parent.storage_w)} of storage"
    return replace(parent.binding, limit_w=parent.limit_w + parent.storage_w, text=text)


def _shortage_s(binding: Limit, place: Place) -> float:
    """Until the binding limit ends and no other window keeps the scope as low."""
    if binding.until_s is None:
        return math.inf
    end_s = binding.until_s
    for line in sorted(place.lines, key=lambda x: x.window.start_s):
        as_low = line.at(end_s) <= binding.limit_w
        if as_low and line.window.start_s <= end_s < line.window.end_s:
            end_s = line.window.end_s
    return end_s - place.now_s


def _storage_by_scope(snapshot: Snapshot) -> defaultdict[int, float]:
    found: defaultdict[int, float] = defaultdict(float)
    for unit, state in zip(snapshot.site.storages, snapshot.storages, strict=True):
        found[unit.scope] += help_w(unit, state)
    return found
