"""Forecasts from a model that was fitted: each forecast by itself, and mixed as the judge allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wattlease.core.model import Floats, Ints
from wattlease.facility.forecast.features import Past, Rows
from wattlease.facility.forecast.judging import Foreseen
from wattlease.facility.forecast.line import line_w
from wattlease.facility.forecast.model import Knot, RangeModel
from wattlease.facility.forecast.naive import naive_w
from wattlease.facility.forecast.trees import Trees


@dataclass(frozen=True, slots=True)
class Ready:
    """A model with its trees read, ready to foresee."""

    model: RangeModel
    trees: tuple[Trees, ...]

    def foresee_w(self, past: Past, origins: Ints, ahead: Ints) -> Floats:
        """Both quantiles [2, n], `ahead` steps after each origin; between two knots, between what they say."""
        rows = past.rows(origins, ahead)
        trees_w = self.trees_w(rows)
        knots_s = np.array([knot.ahead_s for knot in self.model.knots])
        position = np.interp(ahead * self.model.step_s, knots_s, np.arange(len(knots_s)))
        drawn_w = np.zeros((2, len(origins)))
        for k, knot in enumerate(self.model.knots):
            share = np.maximum(1.0 - np.abs(position - k), 0.0)
            near = np.flatnonzero(share)
            if len(near):
                drawn_w[:, near] += share[near] * self._at(knot, taken(rows, near), trees_w, near)
        return drawn_w

    def trees_w(self, rows: Rows) -> Floats | None:
        """Both quantiles by the trees; None where there are none."""
        return np.stack([t.draw_w(rows, self.model.scale_w) for t in self.trees]) if self.trees else None

    def _at(self, knot: Knot, rows: Rows, trees_w: Floats | None, near: Ints) -> Floats:
        of_trees_w = trees_w[:, near] if trees_w is not None else None
        return foreseen(knot, rows, self.model.scale_w, of_trees_w).mixed_w(knot.mixes)


def ready(model: RangeModel) -> Ready:
    """Read the trees of a model; TreesError where they cannot be read."""
    return Ready(model, tuple(Trees(text) for text in model.trees))


def foreseen(knot: Knot, rows: Rows, scale_w: float, trees_w: Floats | None) -> Foreseen:
    """What each forecast says for rows near one knot."""
    naive = naive_w(rows, knot.naive)
    line = line_w(rows, knot.line, scale_w) if knot.line else None
    return Foreseen(
        np.stack([naive, naive + knot.naive_over_w]),
        None if line is None else np.stack([line, line + knot.line_over_w]),
        trees_w,
    )


def taken(rows: Rows, index: Ints) -> Rows:
    """These of the rows."""
    return Rows(rows.now_w[index], rows.levels_w[index], rows.signs[index])


def joined(parts: Sequence[Rows]) -> Rows:
    """Rows of several horizons below each other."""
    return Rows(
        np.concatenate([p.now_w for p in parts]),
        np.concatenate([p.levels_w for p in parts]),
        np.concatenate([p.signs for p in parts]),
    )
