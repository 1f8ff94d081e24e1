"""Forecasts that anyone could make: the last value, yesterday's, last week's, and what the known jobs will draw."""

from __future__ import annotations

import numpy as np

from wattlease.core.model import Floats
from wattlease.facility.forecast.features import Rows

NAIVE = {"persistence": "", "day": "day_ago", "week": "week_ago", "queue": "queue"}
"""Each one's level among the features; where that is not known, the last value stands in."""


def naive_w(rows: Rows, kind: str) -> Floats:
    """The draw that this naive forecast foresees, never negative."""
    level = NAIVE[kind]
    return np.maximum(rows.level_w(level), 0.0) if level else rows.now_w
