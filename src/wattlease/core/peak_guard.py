"""The fast half of a demand charge: what batteries do in this tick so that the month's peak is not passed by surprise.

A plan knows means that it expects, and is renewed every few minutes. A draw that jumps in between would make a peak
that is paid for a month long, so each tick holds the level that the plan aims at: batteries first stop to charge, then
give.

Law 1: no order is lower than the plan's, and none is above what its battery can sustain.
Law 2: while the draw with the plan's orders keeps the open window at its level, orders are the plan's.
Law 3: where batteries suffice, the rest of the open window is drawn at what keeps its mean at the level.
"""

from __future__ import annotations

import numpy as np

from wattlease.core.limits_sources import BURST_FRAC, DIP_FRAC, EASE_S
from wattlease.core.memory import Memory
from wattlease.core.model import Floats, Peak, Snapshot
from wattlease.core.sites import roll_up

SURE_FRAC = 0.8
"""Of the peak of the month before: what the next is taken to come to. Tried on a serving load, where 0.8 to 1 were all
the same and nothing or more than 1 cost a tenth of what could be saved."""


def guarded_w(snapshot: Snapshot, load_w: Floats, planned_w: Floats, most_w: Floats, memory: Memory) -> Floats:
    """The planned set points (positive to discharge), raised to hold each scope's level; `load_w` is what scopes draw
    without their batteries and those below."""
    power_w = planned_w.copy()
    scopes = np.array([unit.scope for unit in snapshot.site.storages], np.int64)
    for s in sorted(set(scopes.tolist())):
        if snapshot.site.scopes[s].budget.spec.demand_price_per_kilowatt <= 0.0:
            continue
        mine = np.flatnonzero(scopes == s).tolist()
        allowed_w = _allowed_w(snapshot, s, level_w(snapshot, s, mine, memory))
        for u in mine:
            given_w = roll_up(snapshot.site, np.bincount(scopes, power_w, len(snapshot.site.scopes)))
            missing_w = float(load_w[s] - given_w[s]) - allowed_w
            if missing_w > 0.0:  # also not where the level or the draw is unknown
                power_w[u] = max(power_w[u], min(power_w[u] + missing_w, float(most_w[u])))
    return power_w


def level_w(snapshot: Snapshot, scope: int, storages: list[int], memory: Memory) -> float:
    """What the plans of these batteries let the month's peak come to; NaN where one could not be made."""
    return float(np.max([sure_w(snapshot, scope, memory), *(memory.storage_plans[u].peak_w for u in storages)]))


def sure_w(snapshot: Snapshot, scope: int, memory: Memory) -> float:
    """What the month's peak is taken to come to in any case: its peak so far, and most of the month before's, or of the
    target while no month before is known.

    It is not shaved below: a store that is spent on the first days' small peaks is empty for the month's large one.
    """
    peak = _of(snapshot, scope)
    before_w = peak.before_w if peak else 0.0
    return max(peak_w(snapshot, scope, memory), SURE_FRAC * (before_w or _target_w(snapshot, scope)))


def _target_w(snapshot: Snapshot, scope: int) -> float:
    """The mean that the owner wants each window to keep; 0 where he names none, or none below the limit: that tells
    nothing of what is to come."""
    spec = snapshot.site.scopes[scope].budget.spec
    charge = spec.demand_charge
    return float(charge.target_watts) if charge and charge.target_watts < spec.limit_watts else 0.0


def peak_w(snapshot: Snapshot, scope: int, memory: Memory) -> float:
    """The highest metering window of the month: by the site's books, else as far as this process has seen it."""
    peak = _of(snapshot, scope)
    return memory.limits.scopes[scope].peak_w if peak is None else peak.peak_w


def _of(snapshot: Snapshot, scope: int) -> Peak | None:
    return next((peak for peak in snapshot.peaks if peak.scope == scope), None)


def _allowed_w(snapshot: Snapshot, scope: int, mean_w: float) -> float:
    """What may be drawn now for an open window of that mean, if what was not watched of it was drawn at the mean too.

    Where no window is known it is the mean itself: what is unknown asks nothing of the store.
    """
    charge, peak = snapshot.site.scopes[scope].budget.spec.demand_charge, _of(snapshot, scope)
    if charge is None or peak is None:
        return mean_w
    left_s = peak.window_start_s + charge.window_seconds - snapshot.now_s
    if not 0.0 < left_s <= charge.window_seconds:
        return mean_w
    even_w = mean_w + (mean_w - peak.drawn_w) * peak.watched_s / max(left_s, EASE_S)
    return min(BURST_FRAC * mean_w, max(DIP_FRAC * mean_w, even_w))
