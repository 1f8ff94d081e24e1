"""The means of whole minutes, made of ticks that come as they come."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from wattlease.facility.forecast.note import NOTHING, Known
from wattlease.facility.forecast.series import LOOKS_S, Series, plain

MINUTE_S = 60.0
WATCHED_FRAC = 0.5
"""A minute of which less was seen is not known."""

LONGEST_S = 15.0
"""A reading stands for no longer than this: what came after it was not seen."""


@dataclass(frozen=True, slots=True)
class Minute:
    """A minute that is over, from `start_s`; watts. `known` is as of its end."""

    start_s: float
    mean_w: float
    low_w: float
    high_w: float
    known: Known = NOTHING


@dataclass(frozen=True, slots=True)
class OpenMinute:
    """The minute that is not over yet: energy and seconds watched so far, extremes, and the last reading."""

    start_s: float = math.nan
    energy_j: float = 0.0
    watched_s: float = 0.0
    low_w: float = math.inf
    high_w: float = -math.inf
    last_s: float = math.nan
    known: Known = field(default=NOTHING)

    def noted(self, now_s: float, draw_w: float, known: Known = NOTHING) -> tuple[OpenMinute, Minute | None]:
        """With a reading that stands for the time since the one before; the minute that it closes, if it does.

        What is no number, negative, or not newer than the reading before, counts as not read.
        """
        if not (math.isfinite(draw_w) and draw_w >= 0.0 and math.isfinite(now_s)) or now_s <= self.last_s:
            return self, None
        start_s = now_s // MINUTE_S * MINUTE_S
        if start_s == self.start_s:
            return self._with(now_s, draw_w, now_s - self.last_s, known), None
        late_s = self.start_s + MINUTE_S - self.last_s if math.isfinite(self.start_s) else 0.0
        closed = self._with(now_s, draw_w, late_s, self.known)._closed() if late_s > 0.0 else self._closed()
        since_s = min(now_s - start_s, now_s - self.last_s) if math.isfinite(self.last_s) else now_s - start_s
        return OpenMinute(start_s, last_s=start_s)._with(now_s, draw_w, since_s, known), closed

    def _with(self, now_s: float, draw_w: float, for_s: float, known: Known) -> OpenMinute:
        for_s = min(for_s, LONGEST_S)
        return replace(
            self,
            energy_j=self.energy_j + draw_w * for_s,
            watched_s=self.watched_s + for_s,
            low_w=min(self.low_w, draw_w),
            high_w=max(self.high_w, draw_w),
            last_s=now_s,
            known=self.known if known is NOTHING else known,
        )

    def _closed(self) -> Minute | None:
        if not math.isfinite(self.start_s) or self.watched_s < WATCHED_FRAC * MINUTE_S:
            return None
        return Minute(self.start_s, self.energy_j / self.watched_s, self.low_w, self.high_w, self.known)


def series_of(minutes: list[Minute]) -> Series:
    """Minutes in any order on an even grid from the first to the last; the last word on a minute counts."""
    if not minutes:
        return plain(0.0, MINUTE_S, np.empty(0))
    start_s = min(m.start_s for m in minutes)
    count = round((max(m.start_s for m in minutes) - start_s) / MINUTE_S) + 1
    at = np.array([round((m.start_s - start_s) / MINUTE_S) for m in minutes])
    flat = np.full((4, count), np.nan)
    flat[:, at] = np.transpose([(m.mean_w, m.low_w, m.high_w, m.known.waiting_w) for m in minutes])
    looks = np.full((3, count, len(LOOKS_S)), np.nan)
    for row, name in zip(looks, ("starting_w", "ending_w", "limit_w"), strict=True):
        row[at] = [getattr(m.known, name) for m in minutes]
    return Series(start_s, MINUTE_S, flat[0], flat[1], flat[2], flat[3], looks[0], looks[1], looks[2])
