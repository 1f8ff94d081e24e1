"""The next seconds and minutes: the draw as it is, and how far it has risen within as long, lately.

No model: a level that is robust against one odd reading, and the rises that this very course has shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wattlease.core.model import Floats

AHEAD_S: Floats = np.array([1.0, 5.0, 15.0, 60.0, 300.0])
KEPT_S = 900.0
LEVEL_S = 5.0
"""The level is the median over this long: longer lags behind a job that starts."""

LEAST_RISES = 10


def _nothing() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, slots=True)
class Fast:
    """The draw of the last KEPT_S at unix seconds, ascending."""

    t_s: Floats = field(default_factory=_nothing)
    draw_w: Floats = field(default_factory=_nothing)

    @property
    def last_s(self) -> float:
        """When the last reading was taken, unix seconds; NaN where there is none."""
        return float(self.t_s[-1]) if len(self.t_s) else float("nan")

    def seen(self, now_s: float, draw_w: float) -> Fast:
        """With one more reading; one that is no number, or not newer than the last, changes nothing."""
        if not np.isfinite(draw_w) or (len(self.t_s) and now_s <= self.t_s[-1]):
            return self
        first = int(np.searchsorted(self.t_s, now_s - KEPT_S))
        return Fast(np.append(self.t_s[first:], now_s), np.append(self.draw_w[first:], max(draw_w, 0.0)))

    def foresee_w(self, starting_w: float, ending_w: float) -> Floats:
        """Both quantiles [2, horizons] at AHEAD_S after the last reading; NaN where nothing was read.

        `starting_w` and `ending_w` are what known jobs are expected to add and take within the last horizon. A start
        counts in full for the p90 at once, as nobody knows the second; the median follows along a straight line.
        """
        if not len(self.t_s):
            return np.full((2, len(AHEAD_S)), np.nan)
        level_w = self._level_w()
        median_w = np.maximum(level_w + (starting_w - ending_w) * AHEAD_S / AHEAD_S[-1], 0.0)
        over_w = np.maximum.accumulate([self._rise_w(ahead_s) for ahead_s in AHEAD_S])
        return np.stack([median_w, np.maximum(level_w + over_w + starting_w, median_w)])

    def _level_w(self) -> float:
        return float(np.median(self.draw_w[self.t_s >= self.t_s[-1] - LEVEL_S]))

    def _rise_w(self, ahead_s: float) -> float:
        """The rise within this long that nine in ten stayed under; 0 where too few were seen."""
        later = np.searchsorted(self.t_s, self.t_s + ahead_s)
        pairs = np.flatnonzero(later < len(self.t_s))
        if len(pairs) < LEAST_RISES:
            return 0.0
        return max(float(np.quantile(self.draw_w[later[pairs]] - self.draw_w[pairs], 0.9)), 0.0)
