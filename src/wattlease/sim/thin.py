"""Long columns made short enough to draw, without hiding a peak."""

from __future__ import annotations

import numpy as np

from wattlease.core.model import Floats
from wattlease.sim.measures import MINUTE_S, bin_means, edges

MOST_POINTS = 900
"""More than a screen is wide."""


def bin_bounds(t_s: Floats, least_s: float = MINUTE_S) -> Floats:
    """Bounds of at most about `MOST_POINTS` bins of whole multiples of `least_s`, aligned to it."""
    ends = edges(t_s)[[0, -1]]
    width_s = least_s * max(np.ceil((ends[1] - ends[0]) / least_s / MOST_POINTS), 1.0)
    first = np.floor(ends[0] / width_s) + 1
    inner = width_s * np.arange(first, np.ceil(ends[1] / width_s - 1e-9))
    return np.concatenate([ends[:1], inner, ends[1:]])


def means(t_s: Floats, y: Floats, bounds: Floats) -> Floats:
    """The mean of each bin over the time at which the column is known; NaN where it is not at all."""
    known = np.isfinite(y)
    share = bin_means(t_s, known.astype(float), bounds)
    total = bin_means(t_s, np.where(known, y, 0.0), bounds)
    return np.divide(total, share, out=np.full(len(share), np.nan), where=share > 0)


def extremes(t_s: Floats, y: Floats, bounds: Floats) -> tuple[Floats, Floats]:
    """The lowest and the highest sample of each bin, the one that holds at its beginning included."""
    first = np.clip(np.searchsorted(t_s, bounds[:-1], side="right") - 1, 0, len(t_s) - 1)
    return np.minimum.reduceat(y, first), np.maximum.reduceat(y, first)


def corners(t_s: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Only the samples at which a column of steps changes, and the last; thinned if it never stays."""
    changes = np.append(True, np.diff(y) != 0) if len(y) else np.empty(0, np.bool_)
    if np.count_nonzero(changes) > MOST_POINTS:
        bounds = bin_bounds(t_s)
        return bounds[:-1], means(t_s, y, bounds)
    return np.append(t_s[changes], edges(t_s)[-1]), np.append(y[changes], y[-1])
