"""The limits of all scopes through the horizon, in columns: scopes down, steps across.

Rule: a step shows the lowest limit since the step before it, so that no window is too short to be seen; the first
step is now. What helps only for a moment, a breaker's overload, is not counted on for later.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wattlease.core.limits_sources import Limit, Line, Place
from wattlease.core.model import Floats, Scope

AHEAD_S: Floats = np.concatenate(
    (np.arange(0.0, 60.0, 5.0), np.arange(60.0, 3600.0, 60.0), np.arange(3600.0, 86_401.0, 900.0))
)
"""Offsets of the steps: 5 s to the minute, minutes to the hour, quarters of an hour to the day."""


def steady_w(scope: Scope) -> float:
    """The limit that holds where nothing comes and goes."""
    spec = scope.budget.spec
    rated = [spec.breaker.rated_watts] if spec.breaker else []
    safe = [spec.redundancy.safe_watts] if spec.redundancy else []
    return float(min([spec.limit_watts, *rated, *safe]))


def own_ahead_w(places: Sequence[Place], limits: Sequence[Sequence[Limit]], t_s: Floats) -> Floats:
    """Every scope's own limit at the steps, parents not looked at: [scopes, steps]; `limits` are each scope's now."""
    since_s = np.concatenate((t_s[:1], t_s[:-1]))
    ahead_w = np.repeat([[steady_w(p.scope)] for p in places], t_s.size, axis=1)
    _lower_by_lines(ahead_w, places, since_s, t_s)
    for row_w, place, now in zip(ahead_w, places, limits, strict=True):
        _lower_by_demand(row_w, place, now, since_s, t_s)
        row_w[0] = min(limit.limit_w for limit in now)
    return ahead_w


def _lower_by_lines(ahead_w: Floats, places: Sequence[Place], since_s: Floats, t_s: Floats) -> None:
    with_lines = [p for p in places if p.lines]
    if not with_lines:
        return
    values_w = _lines_w([line for p in with_lines for line in p.lines], since_s, t_s)
    first = np.cumsum([0, *(len(p.lines) for p in with_lines[:-1])])
    rows = [p.index for p in with_lines]
    ahead_w[rows] = np.minimum(ahead_w[rows], np.minimum.reduceat(values_w, first, axis=0))


def _lines_w(lines: Sequence[Line], since_s: Floats, t_s: Floats) -> Floats:
    """Each window's lowest limit between two steps, infinite where it does not hold; as lines fall, it is the last."""
    columns = [(x.window.start_s, x.window.end_s, x.window.ramp_s, x.held_w, x.window.limit_w) for x in lines]
    start_s, end_s, ramp_s, held_w, limit_w = np.array(columns).T[:, :, None]
    late_s = np.minimum(t_s, end_s) - start_s
    passed = np.where(ramp_s > 0.0, np.minimum(late_s / np.maximum(ramp_s, 1e-9), 1.0), 1.0)
    value_w = held_w + (limit_w - held_w) * passed
    return np.where((start_s <= t_s) & (end_s > since_s), value_w, np.inf)


def _lower_by_demand(row_w: Floats, place: Place, now: Sequence[Limit], since_s: Floats, t_s: Floats) -> None:
    """The open metering window's limit to its end, the target from there on."""
    charge = place.scope.budget.spec.demand_charge
    demand = next((x for x in now if x.source == "demandCharge"), None)
    if charge is None or demand is None or demand.until_s is None:
        return
    this_w = np.where(since_s < demand.until_s, demand.limit_w, np.inf)
    next_w = np.where(t_s >= demand.until_s, float(charge.target_watts), np.inf)
    np.minimum(row_w, np.minimum(this_w, next_w), out=row_w)
