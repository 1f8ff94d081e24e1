"""What must be remembered through a billing month: its highest metering window, and the carbon it has caused.

Rule 1: a value is plain and frozen, and JSON carries it; whoever calls keeps it on disk.
Rule 2: a window that was not watched for nine tenths of its length sets no peak: the plan may lean on a peak that is
billed already, and must not lean on a guess.
Rule 3: carbon that was not watched counts: what came before the first look as the cap's even share, a gap at the draw
after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import tzinfo

from wattlease.core.api import CarbonCap, DemandCharge
from wattlease.core.model import Window
from wattlease.facility.prices.calendar_spans import CalendarSpan, span_at

GAP_S = 30.0
"""Silence between two looks beyond which the draw in between counts as not watched."""

WATCHED_FRAC = 0.9
J_PER_KWH = 3.6e6
G_PER_TONNE = 1e6


@dataclass(frozen=True, slots=True)
class MeterClock:
    """How the utility's meter cuts time: windows of `window_s` that begin `offset_s` after multiples of it."""

    window_s: float
    offset_s: float
    zone: tzinfo
    billing_day: int = 1

    @classmethod
    def of(cls, charge: DemandCharge, zone: tzinfo, billing_day: int) -> MeterClock:
        """The clock of a budget's demand charge."""
        return cls(float(charge.window_seconds), float(charge.offset_seconds), zone, billing_day)

    def window_at(self, now_s: float) -> float:
        """When the window that is open at this time began."""
        return now_s - (now_s - self.offset_s) % self.window_s

    def month_of(self, window_start_s: float) -> str:
        """The billing month that a window counts for: the one it begins in."""
        return span_at(window_start_s, "Month", self.zone, self.billing_day).name


@dataclass(frozen=True, slots=True)
class MonthPeak:
    """The highest finished window of a billing month so far, and the open one. `peak_start_s` is when it began,
    `before_w` the highest of the month that was counted before."""

    month: str = ""
    peak_w: float = 0.0
    peak_start_s: float = 0.0
    window_start_s: float = -1.0
    energy_j: float = 0.0
    watched_s: float = 0.0
    last_s: float = -1.0
    before_w: float = 0.0

    def updated(self, now_s: float, power_w: float | None, clock: MeterClock) -> MonthPeak:
        """As it stands now, if the draw was `power_w` since the look before; None or NaN where nobody knows."""
        if self.last_s < 0.0 or now_s - self.last_s > GAP_S or power_w is None or not math.isfinite(power_w):
            return self._moved(max(now_s, self.last_s), clock)
        state = self
        while state.last_s < now_s:
            end_s = min(now_s, clock.window_at(state.last_s) + clock.window_s)
            passed_s = end_s - state.last_s
            state = replace(state, energy_j=state.energy_j + power_w * passed_s, watched_s=state.watched_s + passed_s)
            state = state._moved(end_s, clock)
        return state

    def peaks_w(self, now_s: float, clock: MeterClock) -> tuple[float, float]:
        """The highest window of the month that this time belongs to, 0 if none of it was counted, and that of the
        month before."""
        is_this = self.month == clock.month_of(clock.window_at(now_s))
        return (self.peak_w, self.before_w) if is_this else (0.0, self.peak_w)

    @property
    def drawn_w(self) -> float:
        """Mean draw of the open window, as far as it was watched."""
        return self.energy_j / self.watched_s if self.watched_s > 0.0 else 0.0

    def _moved(self, now_s: float, clock: MeterClock) -> MonthPeak:
        """Time has come to `now_s`: finish the window if it is over, turn the month if its first window begins."""
        start_s = clock.window_at(now_s)
        if start_s == self.window_start_s:
            return replace(self, last_s=now_s)
        state, month = self._finished(clock), clock.month_of(start_s)
        if month != state.month:
            state = replace(state, month=month, peak_w=0.0, peak_start_s=0.0, before_w=state.peak_w)
        return replace(state, window_start_s=start_s, energy_j=0.0, watched_s=0.0, last_s=now_s)

    def _finished(self, clock: MeterClock) -> MonthPeak:
        if self.watched_s < WATCHED_FRAC * clock.window_s:
            return self
        mean_w = self.energy_j / self.watched_s
        return replace(self, peak_w=mean_w, peak_start_s=self.window_start_s) if mean_w > self.peak_w else self


@dataclass(frozen=True, slots=True)
class CarbonSoFar:
    """What the supply has caused in a span of the calendar."""

    span: str = ""
    grams: float = 0.0
    last_s: float = -1.0

    def updated(
        self, now_s: float, power_w: float | None, g_per_kwh: float, cap: CarbonCap, zone: tzinfo, billing_day: int = 1
    ) -> CarbonSoFar:
        """As it stands now; a draw that nobody knows is left for the next look. What is fed back counts as nothing."""
        if now_s <= self.last_s:
            return self
        span = span_at(now_s, cap.per, zone, billing_day)
        state = self if self.last_s >= 0.0 else _first_look(now_s, cap, span)
        if state.span != span.name:
            state = CarbonSoFar(span.name, 0.0, span.start_s)
        if power_w is None or not math.isfinite(power_w):
            return state
        kwh = max(0.0, power_w) * (now_s - state.last_s) / J_PER_KWH
        return replace(state, grams=state.grams + kwh * g_per_kwh, last_s=now_s)


def _first_look(now_s: float, cap: CarbonCap, span: CalendarSpan) -> CarbonSoFar:
    share = (now_s - span.start_s) / (span.end_s - span.start_s)
    return CarbonSoFar(span.name, cap.tonnes * G_PER_TONNE * share, now_s)


def carbon_window(
    so_far: CarbonSoFar, cap: CarbonCap, span: CalendarSpan, grams_per_kwh: float, least_w: float, scope: int
) -> Window:
    """The limit that keeps the cap: what is left of it, spread evenly in watts over what is left of the span.

    `grams_per_kwh` is the mean expected for the rest of the span. Never below `least_w`: a cap that can no longer be
    kept costs the site its promise on carbon, not its work.
    """
    left_s = max(span.end_s - so_far.last_s, 1.0)
    left_kwh = max(0.0, cap.tonnes * G_PER_TONNE - so_far.grams) / max(grams_per_kwh, 1e-3)
    limit_w = max(least_w, left_kwh * J_PER_KWH / left_s)
    return Window(scope, "event", "carbon-cap", so_far.last_s, span.end_s, limit_w)
