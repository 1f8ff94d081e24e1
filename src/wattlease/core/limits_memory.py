"""What limits must remember between ticks: the energy of the open metering window and the heat of each breaker.

Rule 1: a tick that brings no new time changes nothing.
Rule 2: what was not watched counts at its worst: a breaker of unknown past is warm, a window that was open before we
came was drawn at its target or at today's draw, whichever is more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from wattlease.core.api import Breaker, DemandCharge
from wattlease.core.model import Floats, Snapshot

GAP_S = 30.0
"""Silence between two ticks beyond which the draw in between counts as not watched."""

WARM_FRAC = 0.5
"""Heat from which a breaker is never loaded above its rating, and the heat of one whose past is unknown."""

NO_WINDOW = -1.0
"""Start of a metering window that is none."""


@dataclass(frozen=True, slots=True)
class ScopeMemory:
    """One scope: its open metering window, the highest finished one, and its breaker's heat (1 trips).

    Without a demand charge `window_start_s` is NO_WINDOW.
    """

    scope: str
    last_s: float
    window_start_s: float
    energy_j: float
    peak_w: float
    heat_frac: float


@dataclass(frozen=True, slots=True)
class LimitsMemory:
    """A row for each scope, found again by the scope's id; plain values, so that JSON carries it."""

    scopes: tuple[ScopeMemory, ...] = ()


def advanced(memory: LimitsMemory, snapshot: Snapshot, draw_w: Floats) -> LimitsMemory:
    """The memory at the snapshot's time, if each scope drew `draw_w` since the tick before."""
    before = {row.scope: row for row in memory.scopes}
    rows = []
    for scope, drawn_w in zip(snapshot.site.scopes, draw_w.tolist(), strict=True):
        spec = scope.budget.spec
        # a draw that is not known counts as all that the scope may have
        known_w = drawn_w if math.isfinite(drawn_w) else float(spec.limit_watts)
        row = before.get(scope.id) or ScopeMemory(scope.id, snapshot.now_s, NO_WINDOW, 0.0, 0.0, WARM_FRAC)
        row = _metered(row, snapshot.now_s, known_w, spec.demand_charge)
        row = _heated(row, snapshot.now_s, known_w, spec.breaker)
        rows.append(row if row.last_s >= snapshot.now_s else replace(row, last_s=snapshot.now_s))
    return LimitsMemory(tuple(rows))


def trip_s(breaker: Breaker, draw_w: float) -> float:
    """How long the breaker carries a draw from cold: infinite up to its rating, then the next higher point's time.

    Beyond the last point the time falls with the square of the overload, as a bimetal's does.
    """
    over = 100.0 * (draw_w / breaker.rated_watts - 1.0)
    if over <= 0.0:
        return math.inf
    for point in breaker.trip_curve:
        if over <= point.over_percent + 1e-6:  # a draw at the point is the point, whatever the division left
            return float(point.seconds)
    last = breaker.trip_curve[-1]
    return float(last.seconds) * (last.over_percent / over) ** 2


def _metered(row: ScopeMemory, now_s: float, draw_w: float, charge: DemandCharge | None) -> ScopeMemory:
    """Add the energy since the last tick, finishing the windows that ended in between."""
    if charge is None:
        return row if row.window_start_s == NO_WINDOW else replace(row, window_start_s=NO_WINDOW, energy_j=0.0)
    start_s = now_s - (now_s - charge.offset_seconds) % charge.window_seconds
    if not _on_clock(row.window_start_s, charge):  # it was open before we came
        energy_j = max(draw_w, charge.target_watts) * (now_s - start_s)
        return replace(row, window_start_s=start_s, energy_j=energy_j)
    if now_s <= row.last_s:
        return row
    watched = now_s - row.last_s <= GAP_S
    mean_w = draw_w if watched else max(draw_w, charge.target_watts)
    if start_s == row.window_start_s:
        return replace(row, energy_j=row.energy_j + mean_w * (now_s - row.last_s))
    end_s = row.window_start_s + charge.window_seconds
    finished_w = (row.energy_j + mean_w * max(0.0, end_s - row.last_s)) / charge.window_seconds
    energy_j = mean_w * (now_s - max(start_s, row.last_s))
    return replace(row, window_start_s=start_s, energy_j=energy_j, peak_w=max(row.peak_w, finished_w))


def _on_clock(window_start_s: float, charge: DemandCharge) -> bool:
    """Whether a window begins there by the meter's clock; one of another length or offset does not, nor does none."""
    return window_start_s != NO_WINDOW and (window_start_s - charge.offset_seconds) % charge.window_seconds == 0.0


def _heated(row: ScopeMemory, now_s: float, draw_w: float, breaker: Breaker | None) -> ScopeMemory:
    """Heat above the rating, by the trip curve; cool below it, in the curve's longest time when nothing is drawn."""
    if breaker is None or not breaker.trip_curve or now_s <= row.last_s:
        return row
    passed_s = now_s - row.last_s
    load = draw_w / breaker.rated_watts
    if load > 1.0:
        heat = row.heat_frac + passed_s / trip_s(breaker, draw_w)
    else:
        heat = row.heat_frac - passed_s * (1.0 - load * load) / breaker.trip_curve[0].seconds
    if passed_s > GAP_S:
        heat = max(heat, WARM_FRAC)
    return replace(row, heat_frac=min(1.0, max(0.0, heat)))
