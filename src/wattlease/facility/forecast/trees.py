"""Boosted trees for a quantile, by LightGBM; the one place that knows the library."""

from __future__ import annotations

from typing import Any

import numpy as np

from wattlease.core.errors import WattleaseError
from wattlease.core.model import Floats
from wattlease.facility.forecast.features import Rows

ROUNDS = 120

SETTINGS = {
    "objective": "quantile",
    "learning_rate": 0.04,
    "num_leaves": 12,
    "min_data_in_leaf": 60,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbosity": -1,
}
"""Small trees and few: a site's own record is weeks, not years. One thread, and the same data give the same trees."""


class TreesError(WattleaseError):
    """LightGBM cannot be loaded, or cannot read a model; the text says why and what to do."""


def fit_trees(rows: Rows, truth_w: Floats, scale_w: float, quantile: float) -> str:
    """The model in LightGBM's own text; TreesError where the library is not there."""
    lightgbm = library()
    data = lightgbm.Dataset(rows.table, (truth_w - rows.now_w) / scale_w)
    return str(lightgbm.train({**SETTINGS, "alpha": quantile}, data, ROUNDS).model_to_string())


class Trees:
    """A model that was read from its text; TreesError where that is none."""

    def __init__(self, text: str) -> None:
        lightgbm = library()
        try:
            self._booster = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as error:
            raise TreesError(f"LightGBM cannot read the model: {error}") from error

    def draw_w(self, rows: Rows, scale_w: float) -> Floats:
        """The quantile of the draw that the trees foresee."""
        return rows.now_w + scale_w * np.asarray(self._booster.predict(rows.table, num_threads=1), np.float64)


def library() -> Any:  # untyped where it matters
    """LightGBM; TreesError where it cannot be loaded."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:  # OSError: the wheel is there and libgomp is not
        raise TreesError(f"LightGBM cannot be loaded ({error}); install wattlease[facility] and libgomp1") from error
    return lightgbm
