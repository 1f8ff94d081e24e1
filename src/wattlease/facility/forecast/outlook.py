"""The filter, the hour and the days joined to one forecast of a scope."""

from __future__ import annotations

import numpy as np

from wattlease.core.model import Floats, Forecast
from wattlease.facility.forecast import fast
from wattlease.facility.forecast.features import Past
from wattlease.facility.forecast.model import Mix, RangeModel
from wattlease.facility.forecast.predicting import Ready

HOUR_STEPS_S: Floats = np.arange(300.0, 3601.0, 300.0)
DAYS_STEPS_S: Floats = np.arange(3600.0, 172_801.0, 900.0)

Ahead = tuple[Floats, Floats]
"""Unix seconds, and both quantiles at them [2, n]."""


def ahead(model: Ready, past: Past, ahead_s: Floats) -> Ahead:
    """What a range foresees from the end of the record; each mean stands at the middle of its step."""
    step_s = past.series.step_s
    steps = np.unique(np.maximum(np.round(ahead_s / step_s), 1).astype(np.int64))
    origins = np.full(len(steps), len(past.series) - 1)
    at_s = past.series.end_s + (steps.astype(np.float64) - 0.5) * step_s
    return at_s, model.foresee_w(past, origins, steps)


def joined(scope: int, now_s: float, seconds_w: Floats, longer: list[Ahead]) -> Forecast:
    """One forecast of ascending times; where two overlap, the one that looks less far ahead counts."""
    at_s, drawn_w = now_s + fast.AHEAD_S, seconds_w
    keep = fast.AHEAD_S <= 60.0 if longer else np.ones(len(at_s), bool)
    at_s, drawn_w = at_s[keep], drawn_w[:, keep]
    for later_s, later_w in longer:
        beyond = (later_s > at_s[-1]) & np.isfinite(later_w).all(axis=0)
        at_s = np.concatenate([at_s, later_s[beyond]])
        drawn_w = np.concatenate([drawn_w, later_w[:, beyond]], axis=1)
    median_w = np.round(np.maximum(drawn_w[0], 0.0), 1)  # every record of a tick holds these digits
    return Forecast(scope, at_s, median_w, np.maximum(np.round(drawn_w[1], 1), median_w))


def fallback_alone(model: RangeModel) -> RangeModel:
    """The model with nothing learned in force."""
    knots = tuple(k.model_copy(update={"mixes": (Mix(), Mix())}) for k in model.knots)
    return model.model_copy(update={"knots": knots, "trees": ()})
