"""Fit a range on a site's own course, judge it on days held back, and keep of it what has earned its place.

The days that judge come after all that the judged fit has seen, targets too; FOLDS such spans at the end of the record
judge one fit each. What goes into force is fitted once more in the same way on the whole record, those days included,
with the shares that they allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo

import numpy as np

from wattlease.core.model import Bools, Floats, Ints
from wattlease.facility.forecast.features import Past, Rows
from wattlease.facility.forecast.judging import Foreseen, block_s, chosen, judged, side_by_side
from wattlease.facility.forecast.line import fit_line, line_w
from wattlease.facility.forecast.model import QUANTILES, Knot, Range, RangeModel
from wattlease.facility.forecast.naive import NAIVE, naive_w
from wattlease.facility.forecast.predicting import Ready, foreseen, joined, ready, taken
from wattlease.facility.forecast.series import DAY_S, Series
from wattlease.facility.forecast.trees import TreesError, fit_trees

FOLDS = 3
FOLD_FRAC, LEAST_FOLD_S, MOST_FOLD_S = 1 / 6, DAY_S, 14 * DAY_S
LEAST_KNOWN_S = 3 * DAY_S
"""With less than this nothing is learned: a day to judge and two to learn from."""

LEAST_LEARNT_S = 1.5 * DAY_S
"""A fold that leaves less than this to learn from is not judged."""

MOST_ROWS = 16_000
"""Rows of all horizons together that one fit sees, spread evenly: more cost time and hardly any error."""

LEAST_ROWS, LEAST_JUDGED = 40, 12
LEAST_TREE_ROWS = 400


@dataclass(frozen=True, slots=True)
class Lesson:
    """Rows of one horizon with what was drawn in the end; `origin` is the step from which each looks ahead."""

    ahead: int
    origin: Ints
    rows: Rows
    truth_w: Floats

    def where(self, these: Bools) -> Lesson:
        """Those rows for which it holds."""
        index = np.flatnonzero(these)
        return Lesson(self.ahead, self.origin[index], taken(self.rows, index), self.truth_w[index])


@dataclass(frozen=True, slots=True)
class Trial:
    """A fit with what it was fitted on and, for each horizon, what judges it."""

    fit: Ready
    before: list[Lesson]
    after: list[Lesson]


def train(series: Series, ranged: Range, zone: tzinfo = UTC) -> RangeModel | None:
    """The range's model, fitted and judged; None where the record is too short for any horizon of the range."""
    series = series.coarser(ranged.step_s)
    series = series.part(len(series) - round(ranged.days * DAY_S / series.step_s), len(series))
    lessons = _lessons(Past(series, zone), ranged)
    if not lessons:
        return None
    scale_w = max(float(np.nanmean(np.abs(series.mean_w))), 1.0)
    note = "" if series.known_s >= LEAST_KNOWN_S else f"{series.known_s / DAY_S:.1f} days are known, learning needs 3"
    step_s, trees, trials = series.step_s, not note, []
    for since, until in _folds(series) if not note else ():
        before = [x.where(x.origin + x.ahead < since) for x in lessons]
        after = [x.where((x.origin >= since) & (x.origin + x.ahead < until)) for x in lessons]
        try:
            fit = _fitted(before, step_s, scale_w, trees=trees)
        except TreesError as missing:
            note, trees = str(missing), False
            fit = _fitted(before, step_s, scale_w, trees=False)
        trials.append(Trial(ready(fit), before, after))
    model = _fitted(lessons, step_s, scale_w, trees=trees)
    knots = tuple(_allowed(knot, k, trials) for k, knot in enumerate(model.knots))
    return model.model_copy(update={"range": ranged.name, "until_s": series.end_s, "note": note, "knots": knots})


def _folds(series: Series) -> list[tuple[int, int]]:
    """First step of each span that judges, and the step that ends it; the latest last."""
    span_s = float(np.clip(FOLD_FRAC * len(series) * series.step_s, LEAST_FOLD_S, MOST_FOLD_S))
    span, least = round(span_s / series.step_s), round(LEAST_LEARNT_S / series.step_s)
    ends = [len(series) - k * span for k in range(FOLDS - 1, -1, -1)]
    return [(end - span, end) for end in ends if end - span >= least]


def _lessons(past: Past, ranged: Range) -> list[Lesson]:
    """Every horizon's rows of which both ends are known, thinned evenly."""
    series = past.series
    steps = sorted({round(s / series.step_s) for s in ranged.knots_s if s >= series.step_s})
    every = max(1, -(-len(series) * len(steps) // MOST_ROWS))
    origin = np.arange(len(series) - 1, -1, -every)[::-1]
    origin = origin[np.isfinite(series.mean_w[origin])]
    found = []
    for ahead in steps:
        truth_w = past.truth_w(origin, np.full(len(origin), ahead))
        known = origin[np.isfinite(truth_w)]
        if len(known):
            rows = past.rows(known, np.full(len(known), ahead))
            found.append(Lesson(ahead, known, rows, truth_w[np.isfinite(truth_w)]))
    return found


def _fitted(lessons: list[Lesson], step_s: float, scale_w: float, *, trees: bool) -> RangeModel:
    """All that can be fitted on these lessons, nothing of it allowed yet; TreesError without the library."""
    knots = [_knot(lesson, step_s, scale_w) for lesson in lessons]
    texts: tuple[str, ...] = ()
    if trees and sum(len(x.truth_w) for x in lessons) >= LEAST_TREE_ROWS:
        rows, truth_w = joined([x.rows for x in lessons]), np.concatenate([x.truth_w for x in lessons])
        texts = tuple(fit_trees(rows, truth_w, scale_w, quantile) for quantile in QUANTILES)
    return RangeModel(range="", step_s=step_s, scale_w=scale_w, until_s=0.0, knots=tuple(knots), trees=texts)


def _knot(lesson: Lesson, step_s: float, scale_w: float) -> Knot:
    """One horizon: the naive forecast of the least error, and the line where there is enough for one."""
    truth_w, ahead_s = lesson.truth_w, lesson.ahead * step_s
    if not len(truth_w):
        return Knot(ahead_s=ahead_s, naive="persistence", naive_over_w=0.0)
    days = (lesson.origin * step_s // DAY_S).astype(np.int64)
    errors_w = {kind: _usual_error_w(truth_w - naive_w(lesson.rows, kind), days) for kind in NAIVE}
    kind = min(errors_w, key=lambda k: errors_w[k])
    knot = Knot(ahead_s=ahead_s, naive=kind, naive_over_w=_over_w(truth_w - naive_w(lesson.rows, kind)))
    if len(truth_w) < LEAST_ROWS:
        return knot
    line = fit_line(lesson.rows, truth_w, scale_w)
    over_w = _over_w(truth_w - line_w(lesson.rows, line, scale_w))
    return knot.model_copy(update={"line": line, "line_over_w": over_w})


def _usual_error_w(error_w: Floats, days: Ints) -> float:
    """Median over the days of each day's mean absolute error: a day without power says nothing of the others."""
    count = np.bincount(days)
    return float(np.median((np.bincount(days, np.abs(error_w)) / np.maximum(count, 1))[count > 0]))


def _over_w(error_w: Floats) -> float:
    """What to add to a median to make its p90; never less than nothing."""
    return max(float(np.quantile(error_w, QUANTILES[1])), 0.0)


def _allowed(knot: Knot, k: int, trials: list[Trial]) -> Knot:
    """The knot with the shares that its trials have earned on days that they had not seen."""
    able = [t for t in trials if len(t.after[k].truth_w) and len(t.before[k].truth_w)]
    if sum(len(t.after[k].truth_w) for t in able) < LEAST_JUDGED:
        return knot
    truth_w = np.concatenate([t.after[k].truth_w for t in able])
    said = side_by_side([_said(t, k) for t in able])
    bars_w = np.concatenate([_bars_w(t.before[k], t.after[k]) for t in able], axis=2)
    origin = np.concatenate([t.after[k].origin for t in able])
    blocks = (origin - origin[0]) // max(round(block_s(knot.ahead_s) / able[0].fit.model.step_s), 1)
    mixes = chosen(truth_w, said, bars_w, blocks)
    return knot.model_copy(update={"mixes": mixes, "scores": judged(truth_w, said, mixes)})


def _said(trial: Trial, k: int) -> Foreseen:
    rows, model = trial.after[k].rows, trial.fit.model
    return foreseen(model.knots[k], rows, model.scale_w, trial.fit.trees_w(rows))


def _bars_w(learned: Lesson, judge: Lesson) -> Floats:
    """Both quantiles of every naive forecast on the days that judge, its p90 by its errors before them."""
    bars = []
    for kind in NAIVE:
        median_w = naive_w(judge.rows, kind)
        bars.append(np.stack([median_w, median_w + _over_w(learned.truth_w - naive_w(learned.rows, kind))]))
    return np.stack(bars)
