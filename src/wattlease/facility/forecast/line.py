"""A weighted mean of levels (the last hour, the day before, what is usual, ...): least absolute error, few parameters.

Where the record is short, or a course swings about its own mean, this is hard to beat, and it cannot overfit much.
"""

from __future__ import annotations

import numpy as np

from wattlease.core.model import Floats
from wattlease.facility.forecast.features import Rows

ROUNDS = 10
RIDGE = 1e-4
NEAR = 1e-2
"""Errors below this part of the scale weigh alike: the weights of least absolute error are 1 / error."""


def fit_line(rows: Rows, truth_w: Floats, scale_w: float) -> tuple[float, ...]:
    """A weight for each level and a constant, for the rows of one horizon; `scale_w` is the course's usual draw."""
    table, rise = _table(rows, scale_w), (truth_w - rows.now_w) / scale_w
    ridge = RIDGE * len(table) * np.eye(table.shape[1])
    weight, found = np.ones(len(table)), np.zeros(table.shape[1])
    for _ in range(ROUNDS):
        weighted = table * weight[:, None]
        found = np.asarray(np.linalg.solve(weighted.T @ table + ridge, weighted.T @ rise), np.float64)
        weight = 1.0 / np.maximum(np.abs(rise - table @ found), NEAR)
        weight /= weight.mean()
    return tuple(found.tolist())


def line_w(rows: Rows, weights: tuple[float, ...], scale_w: float) -> Floats:
    """The draw that the line foresees."""
    return rows.now_w + scale_w * (_table(rows, scale_w) @ np.array(weights))


def _table(rows: Rows, scale_w: float) -> Floats:
    """Levels as parts of the scale; one that is not known counts as the last value."""
    return np.column_stack([np.nan_to_num(rows.levels_w) / scale_w, np.ones(len(rows.now_w))])
