"""A walk through a course: train on what is past, foresee what is next, train again; nothing looks ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wattlease.core.model import Bools, Floats, Ints
from wattlease.facility.forecast.features import Past
from wattlease.facility.forecast.judging import pinball_w
from wattlease.facility.forecast.model import QUANTILES, Range
from wattlease.facility.forecast.naive import NAIVE, naive_w
from wattlease.facility.forecast.predicting import ready
from wattlease.facility.forecast.series import DAY_S, Series
from wattlease.facility.forecast.training import train

OTHERS = tuple(kind for kind in NAIVE if kind != "queue")
ERROR_DAYS = 28
"""A naive forecast's p90 is its median and what nine in ten of its errors of so many days before stayed under."""


@dataclass(frozen=True, slots=True)
class Walked:
    """Columns of what came and what was foreseen of it, one horizon; quantiles are [2, n]. `high_w` is the 95th
    percentile of what was known at the time."""

    ahead_s: float
    at_s: Floats
    truth_w: Floats
    drawn_w: Floats
    others_w: Mapping[str, Floats]
    high_w: Floats
    learned_frac: float

    def skill(self, *others: str) -> float:
        """Part of the mean absolute error of the best of these that is saved."""
        return 1.0 - _error_w(self.truth_w, self.drawn_w) / min(
            _error_w(self.truth_w, self.others_w[kind]) for kind in others or OTHERS
        )

    def pinball_skill(self, *others: str) -> float:
        """The same by the pinball loss over both quantiles."""
        return 1.0 - _loss_w(self.truth_w, self.drawn_w) / min(
            _loss_w(self.truth_w, self.others_w[kind]) for kind in others or OTHERS
        )

    @property
    def best_other(self) -> str:
        """The naive forecast of the least error."""
        return min(OTHERS, key=lambda kind: _error_w(self.truth_w, self.others_w[kind]))

    def gain(self, other: Walked) -> str:
        """What is saved of another forecast's error and pinball loss at the same moments."""
        error = 1.0 - _error_w(self.truth_w, self.drawn_w) / _error_w(other.truth_w, other.drawn_w)
        return (
            f"{error:+6.1%} {1.0 - _loss_w(self.truth_w, self.drawn_w) / _loss_w(other.truth_w, other.drawn_w):+6.1%}"
        )

    def where(self, these: Bools) -> Walked:
        """Those of its moments."""
        others_w = {kind: drawn_w[:, these] for kind, drawn_w in self.others_w.items()}
        return replace(
            self,
            at_s=self.at_s[these],
            truth_w=self.truth_w[these],
            drawn_w=self.drawn_w[:, these],
            others_w=others_w,
            high_w=self.high_w[these],
        )

    def error_frac(self, drawn_w: Floats) -> float:
        """Mean absolute error as a part of the mean draw."""
        return _error_w(self.truth_w, drawn_w) / float(np.mean(self.truth_w))

    @property
    def covered_frac(self) -> float:
        """How often the draw stayed under the p90."""
        return float(np.mean(self.truth_w <= self.drawn_w[1]))

    def alarms(self, drawn_w: Floats) -> tuple[float, float]:
        """Part of the high moments whose p90 was high too, and part of the high p90s that nothing came of."""
        high, warned = self.truth_w > self.high_w, drawn_w[1] > self.high_w
        return _share(warned[high]), _share(~high[warned])


def walk(
    series: Series, ranged: Range, days: tuple[int, int], every: int, ahead_s: Sequence[float], stride: int = 1
) -> list[Walked]:
    """Foresee the days from the first to the last, with a training every so many; every `stride`-th origin counts."""
    series = series.coarser(ranged.step_s)
    past, day = Past(series), round(DAY_S / series.step_s)
    steps = [max(round(s / series.step_s), 1) for s in ahead_s]
    parts: dict[int, list[Walked]] = {ahead: [] for ahead in steps}
    for since in range(days[0], days[1], every):
        first, last = since * day, min((since + every) * day, len(series))
        model = train(series.part(0, first), ranged)
        if model is None:
            raise RuntimeError("the record before the first day is too short to train on")
        fit, high_w = ready(model), float(np.nanquantile(series.mean_w[:first], 0.95))
        for ahead in steps:
            origin = np.arange(first - 1, last - 1, stride)
            origin = origin[np.isfinite(past.truth_w(origin, np.full(len(origin), ahead)))]
            far = np.full(len(origin), ahead)
            knot = min(model.knots, key=lambda k: abs(k.ahead_s - ahead * series.step_s))
            parts[ahead].append(
                Walked(
                    ahead * series.step_s,
                    series.start_s + (origin + ahead).astype(np.float64) * series.step_s,
                    past.truth_w(origin, far),
                    fit.foresee_w(past, origin, far),
                    {kind: _naive_w(past, kind, origin, ahead, first) for kind in OTHERS},
                    np.full(len(origin), high_w),
                    float(any(mix.learned for mix in knot.mixes)),
                )
            )
    return [_joined(p) for p in parts.values()]


def _naive_w(past: Past, kind: str, origin: Ints, ahead: int, first: int) -> Floats:
    """Both quantiles of a naive forecast, its errors taken from before the first step that is foreseen."""
    back = round(ERROR_DAYS * DAY_S / past.series.step_s)
    before = np.arange(max(first - back, 0), first - ahead, max(1, back // 4000))
    far = np.full(len(before), ahead)
    error_w = past.truth_w(before, far) - naive_w(past.rows(before, far), kind)
    over_w = max(float(np.nanquantile(error_w, QUANTILES[1])), 0.0)
    median_w = naive_w(past.rows(origin, np.full(len(origin), ahead)), kind)
    return np.stack([median_w, median_w + over_w])


def _joined(parts: Sequence[Walked]) -> Walked:
    return Walked(
        parts[0].ahead_s,
        np.concatenate([p.at_s for p in parts]),
        np.concatenate([p.truth_w for p in parts]),
        np.concatenate([p.drawn_w for p in parts], axis=1),
        {kind: np.concatenate([p.others_w[kind] for p in parts], axis=1) for kind in OTHERS},
        np.concatenate([p.high_w for p in parts]),
        float(np.mean([p.learned_frac for p in parts])),
    )


def _error_w(truth_w: Floats, drawn_w: Floats) -> float:
    return float(np.mean(np.abs(truth_w - drawn_w[0])))


def _loss_w(truth_w: Floats, drawn_w: Floats) -> float:
    return float(np.mean([pinball_w(truth_w, drawn_w[q], quantile).mean() for q, quantile in enumerate(QUANTILES)]))


def _share(those: Bools) -> float:
    return float(np.mean(those)) if len(those) else float("nan")
