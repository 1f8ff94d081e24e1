"""Everything that can limit a scope: one small function for each source, all of one shape.

A source looks at a `Place` and answers with the limit that it sets now, or None. Adding a source is adding a function
and a line in `SOURCES`; since the lowest wins, none of them can raise what another one set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from wattlease.core.limits_memory import WARM_FRAC, ScopeMemory
from wattlease.core.model import Scope, Window

REACTION_S = 30.0
"""A cut of 30 % is in force this long after the order."""

SAFETY = 5.0
"""An overload is used only if the breaker would carry it this many reaction times more."""

BURST_FRAC = 1.25
DIP_FRAC = 0.5
"""What a metering window may ask for at its end, against its target: no absurd burst, no impossible dip."""

EASE_S = 60.0
"""What a window has to spare is spread over at least this long."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What one source allows a scope, and for how long: `None` is "always held" or "no end known"."""

    scope: int
    source: str
    limit_w: float
    text: str
    from_s: float | None = None
    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A window with the height from which its ramp falls."""

    window: Window
    held_w: float

    def at(self, t_s: float) -> float:
        """Its limit at a time within the window."""
        w = self.window
        passed = 1.0 if w.ramp_s <= 0.0 else min(1.0, max(0.0, (t_s - w.start_s) / w.ramp_s))
        return self.held_w + (w.limit_w - self.held_w) * passed


@dataclass(frozen=True, slots=True)
class Place:
    """All that a source may look at: a scope, its windows, what is remembered of it, and the time."""

    index: int
    scope: Scope
    now_s: float
    lines: tuple[Line, ...]
    memory: ScopeMemory


Source = Callable[[Place], Limit | None]


def static(place: Place) -> Limit:
    """The budget's own limit."""
    limit_w = float(place.scope.budget.spec.limit_watts)
    return Limit(place.index, "static", limit_w, f"{place.scope.id}'s limit of {power(limit_w)}")


def breaker(place: Place) -> Limit | None:
    """The breaker's rating, or as much above it as its trip curve and its heat leave safe; a ceiling, not an aim.

    An overload counts only if a breaker that is warm already carries it for SAFETY reaction times. It shrinks to
    nothing as the heat nears WARM_FRAC, so whoever obeys it never comes near the trip.
    """
    spec = place.scope.budget.spec.breaker
    if spec is None:
        return None
    safe = [p.over_percent for p in spec.trip_curve if (1.0 - WARM_FRAC) * p.seconds >= SAFETY * REACTION_S]
    cool = max(0.0, 1.0 - place.memory.heat_frac / WARM_FRAC)
    limit_w = spec.rated_watts * (1.0 + max(safe, default=0.0) / 100.0 * cool)
    text = f"{place.scope.id}'s breaker of {power(spec.rated_watts)}"
    if limit_w > spec.rated_watts:
        text += f", for a while up to {power(limit_w)}"
    return Limit(place.index, "breaker", limit_w, text)


def redundancy(place: Place) -> Limit | None:
    """What the remaining feeds carry after the loss of the largest that may fail."""
    spec = place.scope.budget.spec.redundancy
    if spec is None:
        return None
    text = (
        f"{power(spec.safe_watts)} that {place.scope.id} keeps when it loses {spec.tolerate} of {len(spec.feeds)} feeds"
    )
    return Limit(place.index, "redundancy", float(spec.safe_watts), text)


def schedule(place: Place) -> Limit | None:
    """The lowest weekly limit that holds now."""
    return _lowest_line(place, "schedule")


def event(place: Place) -> Limit | None:
    """The lowest grid event that holds now, on its ramp."""
    return _lowest_line(place, "event")


def thermal(place: Place) -> Limit | None:
    """What heat leaves of the limit now; the shell turns temperatures into windows."""
    return _lowest_line(place, "thermal")


def demand_charge(place: Place) -> Limit | None:
    """What may be drawn on average in the rest of the open metering window so that its mean keeps the target.

    What the window has to spare is given out over EASE_S at least; what it owes is asked back exactly, down to
    DIP_FRAC of the target.
    """
    charge = place.scope.budget.spec.demand_charge
    if charge is None:
        return None
    target_w = float(charge.target_watts)
    start_s = place.memory.window_start_s
    end_s = start_s + charge.window_seconds
    spare_j = target_w * (place.now_s - start_s) - place.memory.energy_j
    left_s = end_s - place.now_s
    even_w = target_w + spare_j / (max(left_s, EASE_S) if spare_j > 0.0 else left_s)
    limit_w = min(BURST_FRAC * target_w, max(DIP_FRAC * target_w, even_w))
    text = f"the {charge.window_seconds // 60} min mean of {power(target_w)} ({left_s:.0f} s left)"
    price = place.scope.budget.spec.demand_price_per_kilowatt
    if price:
        peak = f"{power(place.memory.peak_w)}" if place.memory.peak_w else "none yet"
        text += f" at {price:g} a kW, highest so far {peak}"
    return Limit(place.index, "demandCharge", limit_w, text, start_s, end_s)


def share(place: Place) -> Limit | None:
    """What a facility leases to a cluster now; it is renewed or falls at any time, so no end of it is known."""
    found = _lowest_line(place, "share")
    if found is None:
        return None
    name = next(x.window.name for x in place.lines if x.window.source == "share")
    return replace(found, text=f"{place.scope.id}'s share of {power(found.limit_w)}, {name}", until_s=None)


SOURCES: tuple[Source, ...] = (static, share, redundancy, breaker, event, thermal, schedule, demand_charge)
"""Of two sources that set the same limit the earlier binds."""


def lines_of(windows: list[Window], steady_w: float) -> tuple[Line, ...]:
    """The windows of one scope, each with what held when it began: the lowest of `steady_w` and the windows before.

    A window never rises: where less held before, it begins at its own limit and the older one binds until it ends.
    """
    lines: list[Line] = []
    for window in sorted(windows, key=lambda w: (w.start_s, w.end_s, w.limit_w, w.ramp_s, w.source, w.name)):
        t_s = window.start_s
        before = (line.at(t_s) for line in lines if line.window.start_s < t_s <= line.window.end_s)
        lines.append(Line(window, max(window.limit_w, min((steady_w, *before)))))
    return tuple(lines)


def power(watts: float) -> str:
    """Watts as a person says them: `512 W`, `2.1 kW`, `1.25 MW`."""
    for unit, size in (("MW", 1e6), ("kW", 1e3)):
        if abs(watts) >= size:
            return f"{watts / size:.4g} {unit}"
    return f"{watts:.4g} W"


def _lowest_line(place: Place, source: str) -> Limit | None:
    limits = [
        _as_limit(line, place)
        for line in place.lines
        if line.window.source == source and line.window.start_s <= place.now_s < line.window.end_s
    ]
    # the one that lasts longest of the lowest, and the name, make the choice free of order
    return min(limits, key=lambda x: (x.limit_w, -(x.until_s or 0.0), x.text), default=None)


def _as_limit(line: Line, place: Place) -> Limit:
    w = line.window
    limit_w = line.at(place.now_s)
    text = f"{w.source} '{w.name}' of {power(w.limit_w)}"
    if limit_w > w.limit_w:
        text += f", on its ramp at {power(limit_w)}"
    return Limit(place.index, w.source, limit_w, text, w.start_s, w.end_s)
