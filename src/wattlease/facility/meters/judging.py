"""Whether a meter can be believed, as far as its own past tells.

Whether a reading fits the cards behind it is the core's to judge. Here is what needs memory: a value that stands still
while the load moves, a sign that turned, a fall to nothing, a spike. What looks low without reason is believed late,
for it makes room that may not be there; what looks high is believed at the second look.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from wattlease.core.api_meters import Meter

State = Literal["Good", "Unread", "Stale", "Implausible", "Flipped", "Jumped", "Frozen", "Outvoted"]

KEEP_S = 120.0
"""How far back a meter's readings are kept."""

FROZEN_S = 30.0
"""A live meter's last digit moves sooner than this while the load does."""

MOVED_FRAC = 0.05
"""By how much of a meter's own reading others must have moved before its standing still is strange."""

SMALL_FRAC = 0.05
"""Of the highest plausible reading: less than this says nothing about sign or jumps."""

FLIPPED_FRAC = 0.2
"""How near a reading is to the last believed one with the sign turned."""

GONE_FRAC, GONE_S = 0.05, 60.0
"""Below this part of the last believed one a reading is nothing; so long it must stay there to be believed. Idle nodes,
fans and conversion keep a living feed well above."""

SPIKE = 3.0
"""So many times the last believed one a reading must be seen twice."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a meter stands, and why, for people."""

    state: State
    why: str = ""


@dataclass(slots=True)
class Past:
    """What a meter said of late, what was believed last, and since when it says the same or something odd."""

    every: deque[tuple[float, float]] = field(default_factory=deque)
    believed_w: float = 0.0
    same_since_s: float = math.nan
    odd: Verdict | None = None
    odd_since_s: float = math.nan
    odd_seen: int = 0

    def hear(self, at_s: float, power_w: float, meter: Meter, top_w: float) -> None:
        """Take a new reading in, made at `at_s` on a steady clock."""
        if self.every and at_s <= self.every[-1][0]:
            return  # the same one again
        self.note(at_s, power_w)
        self._weigh(at_s, power_w, meter, top_w)

    def note(self, at_s: float, power_w: float) -> None:
        """Keep it among the readings of late, without weighing it."""
        if not self.every or self.every[-1][1] != power_w:
            self.same_since_s = at_s
        self.every.append((at_s, power_w))
        while self.every[0][0] < at_s - KEEP_S:
            self.every.popleft()

    def spread_w(self, since_s: float) -> float:
        """By how much its readings moved since then."""
        lately = [w for at_s, w in self.every if at_s >= since_s]
        return max(lately) - min(lately) if lately else 0.0

    def _weigh(self, at_s: float, power_w: float, meter: Meter, top_w: float) -> None:
        odd = self._oddness(power_w, meter, top_w)
        if odd is None or self.odd is None or odd.state != self.odd.state:
            self.odd_since_s, self.odd_seen = at_s, 0
        self.odd, self.odd_seen = odd, self.odd_seen + 1
        if odd is not None and odd.state == "Jumped" and self._has_settled(at_s, power_w):
            self.odd = None
        if self.odd is None:
            self.believed_w = power_w

    def _has_settled(self, at_s: float, power_w: float) -> bool:
        """A spike that is there at the second look, and a fall to nothing that lasts, are true."""
        if abs(power_w) > abs(self.believed_w):
            return self.odd_seen >= 2
        return at_s - self.odd_since_s >= GONE_S

    def _oddness(self, power_w: float, meter: Meter, top_w: float) -> Verdict | None:
        before_w, after = self.believed_w, f"after {_kw(self.believed_w)}"
        small_w = SMALL_FRAC * top_w
        if min(abs(before_w), abs(power_w)) >= small_w and self._is_turned(power_w):
            fix = "its sign has turned; look at its wiring, or write positive"
            return Verdict("Flipped", f"reads {_kw(power_w)} {after}; {fix}")
        if not meter.min_watts <= power_w <= top_w:
            bounds = f"{meter.min_watts / 1000:g} to {top_w / 1000:g} kW"
            return Verdict("Implausible", f"reads {_kw(power_w)}, outside {bounds}; {_range_fix(power_w, meter)}")
        if abs(before_w) < small_w:
            return None
        if abs(power_w) < GONE_FRAC * abs(before_w):
            return Verdict("Jumped", f"reads {_kw(power_w)} right {after}; believed if it lasts {GONE_S:g} s")
        if abs(power_w) > SPIKE * abs(before_w):
            return Verdict("Jumped", f"reads {_kw(power_w)} right {after}; believed at the second look")
        return None

    def _is_turned(self, power_w: float) -> bool:
        if power_w * self.believed_w >= 0:
            return False
        still = self.odd is not None and self.odd.state == "Flipped"
        return still or abs(power_w + self.believed_w) <= FLIPPED_FRAC * abs(self.believed_w)


def _range_fix(power_w: float, meter: Meter) -> str:
    if power_w < meter.min_watts <= 0:
        other = "Drawn" if meter.positive == "Delivered" else "Delivered"
        return f"write positive: {other} if its wires are so, or a lower minWatts if the site exports"
    return "check its scale, or write maxWatts and minWatts"


def top_w(meter: Meter, limit_w: float) -> float:
    """The highest plausible reading, as the core counts it."""
    return float(meter.max_watts) if meter.max_watts else 2.0 * limit_w


def judged(past: Past, age_s: float, now_s: float, meter: Meter, others: Iterable[Past]) -> Verdict:
    """Where a meter stands now; `others` show whether the load behind it moves."""
    if not past.every:
        return Verdict("Unread", "no reading yet")
    if age_s > meter.stale_seconds + meter.delay_seconds:
        return Verdict("Stale", f"last reading {age_s:.0f} s ago")
    if past.odd is not None:
        return past.odd
    same_s, power_w = now_s - past.same_since_s, past.every[-1][1]
    if same_s >= FROZEN_S:
        moved_w = max((other.spread_w(past.same_since_s) for other in others), default=0.0)
        if moved_w >= max(MOVED_FRAC * abs(power_w), 1.0):
            text = f"reads {_kw(power_w)} for {same_s:.0f} s while others moved by {_kw(moved_w)}; restart the device"
            return Verdict("Frozen", text)
    return Verdict("Good")


def _kw(power_w: float) -> str:
    return f"{power_w / 1000:.2f} kW"
