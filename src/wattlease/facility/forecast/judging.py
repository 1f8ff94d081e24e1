"""What a forecast was worth on days that it had not seen, and how much of it may therefore be used.

Rule 1: what does not beat the better of persistence and the seasonal ones is not used, at that horizon and quantile.
Better by MARGIN_FRAC, and by more than its own standard error over spans as long as the horizon: one lucky day is not a
skill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wattlease.core.model import Floats, Ints
from wattlease.facility.forecast.model import QUANTILES, Mix, Scores

MARGIN_FRAC = 0.01
LEAST_BLOCK_S, MOST_BLOCK_S = 21_600.0, 86_400.0
"""Errors within a few hours of each other, or within the horizon, are one piece of luck and not many."""

LEAST_BLOCKS = 2

MIXES = (
    Mix(),
    *(
        Mix(naive=naive, line=(1.0 - naive) * line, trees=(1.0 - naive) * (1.0 - line))
        for naive in (0.0, 0.5)
        for line in (0.0, 0.5, 1.0)
    ),
)
"""The fallback alone; line, trees or both alone; and the same hedged with half of the fallback."""


def block_s(ahead_s: float) -> float:
    """How long a span counts as one piece of luck, for a horizon."""
    return min(max(ahead_s, LEAST_BLOCK_S), MOST_BLOCK_S)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Columns of one horizon: each forecast's two quantiles [2, n], watts; None for what was not learned."""

    naive_w: Floats
    line_w: Floats | None = None
    trees_w: Floats | None = None

    def mixed_w(self, mixes: tuple[Mix, Mix]) -> Floats:
        """Both quantiles by these mixes: never negative, the p90 never below the median."""
        rows = [self.quantile_w(q, mix) for q, mix in enumerate(mixes)]
        median_w = np.maximum(rows[0], 0.0)
        return np.stack([median_w, np.maximum(rows[1], median_w)])

    def quantile_w(self, q: int, mix: Mix) -> Floats:
        """One quantile by a mix, watts; `q` counts through QUANTILES."""
        drawn_w = mix.naive * self.naive_w[q]
        for share, column_w in ((mix.line, self.line_w), (mix.trees, self.trees_w)):
            if share and column_w is not None:
                drawn_w = drawn_w + share * column_w[q]
        return drawn_w

    def open_to(self, mix: Mix) -> bool:
        """Whether all that the mix takes from is there."""
        return not ((mix.line and self.line_w is None) or (mix.trees and self.trees_w is None))


def side_by_side(parts: Sequence[Foreseen]) -> Foreseen:
    """Rows of several fits in one; what one of them has not learned counts as not learned by any."""
    return Foreseen(
        np.concatenate([p.naive_w for p in parts], axis=1),
        _all_or_none([p.line_w for p in parts]),
        _all_or_none([p.trees_w for p in parts]),
    )


def _all_or_none(parts: Sequence[Floats | None]) -> Floats | None:
    there = [p for p in parts if p is not None]
    return np.concatenate(there, axis=1) if len(there) == len(parts) else None


def pinball_w(truth_w: Floats, quantile_w: Floats, quantile: float) -> Floats:
    """The price of watts drawn above a quantile and of those left unused below it, for each row."""
    above_w = truth_w - quantile_w
    return np.maximum(quantile * above_w, (quantile - 1.0) * above_w)


def chosen(truth_w: Floats, foreseen: Foreseen, bars_w: Floats, blocks: Ints) -> tuple[Mix, Mix]:
    """The best mix of each quantile among those that surely gain, hedged only if none does unhedged; else the fallback.

    `bars_w` [naive forecasts, 2, n] are those that must be beaten beside the fallback; `blocks` numbers, from nought
    and in order of time, the span that each row belongs to.
    """
    best = []
    for q, quantile in enumerate(QUANTILES):
        bar_w = min(float(np.mean(pinball_w(truth_w, bar[q], quantile))) for bar in bars_w)
        fallback_w = pinball_w(truth_w, foreseen.quantile_w(q, MIXES[0]), quantile)
        losses_w = {
            mix: pinball_w(truth_w, foreseen.quantile_w(q, mix), quantile) for mix in MIXES if foreseen.open_to(mix)
        }
        able = [
            mix
            for mix, loss_w in losses_w.items()
            if np.mean(loss_w) < (1.0 - MARGIN_FRAC) * bar_w and _surely_gains(fallback_w - loss_w, blocks)
        ]
        best.append(min(able, key=lambda mix: (mix.naive, float(np.mean(losses_w[mix]))), default=MIXES[0]))
    return _no_worse(truth_w, foreseen, (best[0], best[1]))


def _surely_gains(gain_w: Floats, blocks: Ints) -> bool:
    """Whether the mean gain of the blocks exceeds its standard error."""
    count = np.bincount(blocks)
    mean_w = (np.bincount(blocks, gain_w) / np.maximum(count, 1))[count > 0]
    if len(mean_w) < LEAST_BLOCKS:
        return False
    error_w = mean_w.std(ddof=1) / np.sqrt(len(mean_w))
    return bool(mean_w.mean() > error_w)


def judged(truth_w: Floats, foreseen: Foreseen, mixes: tuple[Mix, Mix]) -> Scores:
    """How these mixes did beside the fallback alone."""
    if not len(truth_w):
        return Scores()
    drawn_w, naive_w = foreseen.mixed_w(mixes), foreseen.mixed_w((Mix(), Mix()))
    return Scores(
        origins=len(truth_w),
        naive_pinball_w=_both_w(truth_w, naive_w),
        pinball_w=_both_w(truth_w, drawn_w),
        naive_mae_w=float(np.mean(np.abs(truth_w - naive_w[0]))),
        mae_w=float(np.mean(np.abs(truth_w - drawn_w[0]))),
        under_p90_frac=float(np.mean(truth_w <= drawn_w[1])),
    )


def _no_worse(truth_w: Floats, foreseen: Foreseen, mixes: tuple[Mix, Mix]) -> tuple[Mix, Mix]:
    """The mixes, or the fallback alone where keeping the quantiles apart has cost them their gain."""
    scores = judged(truth_w, foreseen, mixes)
    worse = scores.pinball_w > scores.naive_pinball_w or scores.mae_w > scores.naive_mae_w
    return (Mix(), Mix()) if worse else mixes


def _both_w(truth_w: Floats, drawn_w: Floats) -> float:
    return float(np.mean([np.mean(pinball_w(truth_w, drawn_w[q], quantile)) for q, quantile in enumerate(QUANTILES)]))
