"""What a forecast may look at, in columns: one row for each origin and horizon.

Rule 1: a row looks at no step after its origin. A smoothed value counts only once all that it was smoothed over has
passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

import numpy as np

from wattlease.core.model import Floats, Ints
from wattlease.facility.forecast.series import DAY_S, LOOKS_S, WEEK_S, Series

USUAL_DAYS, USUAL_WEEKS = 8, 3
SMOOTH_S = 1800.0

LEVELS = ("lately", "hour", "hours", "day_mean", "day_ago", "week_ago", "usual", "usual_weekday", "usual_rise", "queue")
"""Columns of `Rows.levels_w`, watts above the draw at the origin: where the draw might go to."""

SIGNS = ("hours_ahead", "hour_of_day", "weekday", "step_up", "hour_up", "spread", "swing_up", "swing_down", "starting",
         "ending", "waiting", "headroom", "now")  # fmt: skip
"""Columns of `Rows.signs`: what may tell which of the levels to believe."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of n rows. `now_w` is the last known draw at the origin; a level that is not known is NaN."""

    now_w: Floats
    levels_w: Floats
    signs: Floats

    def level_w(self, name: str) -> Floats:
        """One level in watts; the draw at the origin where it is not known."""
        return self.now_w + np.nan_to_num(self.levels_w[:, LEVELS.index(name)])

    @property
    def table(self) -> Floats:
        """All columns beside each other, for trees."""
        return np.column_stack([self.levels_w, self.signs])


class Past:
    """A series made ready to look back from any of its steps."""

    def __init__(self, series: Series, zone: tzinfo = UTC) -> None:
        self.series, self.zone = series, zone
        step_s = series.step_s
        self.day, self.week = round(DAY_S / step_s), round(WEEK_S / step_s)
        self.half = max(round(SMOOTH_S / step_s), 1)
        self.hour = max(round(3600.0 / step_s), 2)
        self.last_w = _carried(series.mean_w, len(series))
        self.near_w = _carried(series.mean_w, self.hour)
        self.smooth_w = _centred(series.mean_w, self.half)
        self._sums = _sums(series.mean_w)
        self._squares = _sums(series.mean_w**2)

    def rows(self, origins: Ints, ahead: Ints) -> Rows:
        """One row for each pair of an origin (index of a step) and a horizon (steps ahead, at least 1)."""
        now_w = _at(self.last_w, origins)
        back = -(-ahead // self.day) * self.day
        weeks_back = -(-ahead // self.week) * self.week
        usual_w, rise_w = self._usual(origins, ahead, self.day, USUAL_DAYS)
        weekday_w, _ = self._usual(origins, ahead, self.week, USUAL_WEEKS)
        starting_w, ending_w, lowest_w = self._ahead(origins, ahead)
        levels_w = (
            self._mean(origins, max(self.hour // 3, 1)),
            self._mean(origins, self.hour),
            self._mean(origins, 4 * self.hour),
            self._mean(origins, self.day),
            _at(self.near_w, origins + ahead - back),
            _at(self.near_w, origins + ahead - weeks_back),
            usual_w,
            weekday_w,
            now_w + rise_w,
            now_w + starting_w - ending_w,
        )
        hour_of_day, weekday = self._calendar(origins + ahead)
        signs = (
            ahead * self.series.step_s / 3600.0,
            hour_of_day,
            weekday,
            now_w - _at(self.near_w, origins - 1),
            now_w - _at(self.near_w, origins - self.hour),
            self._spread(origins, 2 * self.hour),
            _at(self.series.high_w, origins) - now_w,
            now_w - _at(self.series.low_w, origins),
            starting_w,
            ending_w,
            _at(self.series.waiting_w, origins),
            lowest_w - now_w,
            now_w,
        )
        return Rows(now_w, np.column_stack(levels_w) - now_w[:, None], np.column_stack(signs))

    def truth_w(self, origins: Ints, ahead: Ints) -> Floats:
        """What was drawn in the end; NaN where it is not known, or not yet."""
        return _at(self.series.mean_w, origins + ahead)

    def _mean(self, at: Ints, width: int) -> Floats:
        return _mean_of(self._sums, at, width)

    def _spread(self, at: Ints, width: int) -> Floats:
        variance = _mean_of(self._squares, at, width) - self._mean(at, width) ** 2
        return np.sqrt(np.maximum(variance, 0.0))

    def _usual(self, origins: Ints, ahead: Ints, period: int, count: int) -> tuple[Floats, Floats]:
        """Mean draw of earlier days at the time of the target, and its mean rise since the time of the origin."""
        back = np.arange(1, count + 1)[:, None] * period
        target = origins + ahead - back
        then_w = np.where(target + self.half <= origins, _at(self.smooth_w, target), np.nan)
        return _mean_rows(then_w), _mean_rows(then_w - _at(self.smooth_w, origins - back))

    def _ahead(self, origins: Ints, ahead: Ints) -> tuple[Floats, Floats, Floats]:
        """Watts expected to start and to end by the horizon, and the lowest limit until then."""
        series, ahead_s = self.series, ahead * self.series.step_s
        late = np.minimum(np.searchsorted(LOOKS_S, ahead_s), len(LOOKS_S) - 1)
        early_s = np.where(late > 0, LOOKS_S[late - 1], 0.0)
        share = np.clip((ahead_s - early_s) / (LOOKS_S[late] - early_s), 0.0, 1.0)
        at = np.clip(origins, 0, max(len(series) - 1, 0))
        found = []
        for column_w in (series.starting_w, series.ending_w):
            before_w = np.where(late > 0, column_w[at, late - 1], 0.0)
            found.append(before_w + share * (column_w[at, late] - before_w))
        return found[0], found[1], series.limit_w[at, late]

    def _calendar(self, steps: Ints) -> tuple[Floats, Floats]:
        """Hour of the day and day of the week (Monday 0) at the end of these steps, in the site's zone."""
        t_s = self.series.start_s + (steps + 1) * self.series.step_s
        days, where = np.unique(t_s // DAY_S, return_inverse=True)
        local_s = t_s + np.array([_offset_s(day, self.zone) for day in days])[where]
        return local_s % DAY_S / 3600.0, (local_s // DAY_S + 3.0) % 7.0


def _offset_s(day: float, zone: tzinfo) -> float:
    """East of UTC at that day's noon, seconds."""
    offset = datetime.fromtimestamp((day + 0.5) * DAY_S, zone).utcoffset()
    return offset.total_seconds() if offset else 0.0


def _at(column: Floats, index: Ints) -> Floats:
    """Values at these steps, NaN outside the series."""
    if not len(column):
        return np.full(index.shape, np.nan)
    return np.where((index >= 0) & (index < len(column)), column[np.clip(index, 0, len(column) - 1)], np.nan)


def _carried(column: Floats, most: int) -> Floats:
    """Each value, or the last that was known at most so many steps before it."""
    steps = np.arange(len(column))
    last = np.maximum.accumulate(np.where(np.isfinite(column), steps, -1))
    return np.where((last >= 0) & (steps - last <= most), column[np.maximum(last, 0)], np.nan)


def _sums(column: Floats) -> tuple[Floats, Floats]:
    """Running sum of what is known and its count, from nought."""
    known = np.isfinite(column)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, column, 0.0))])
    return total, np.concatenate([[0.0], np.cumsum(known)])


def _mean_of(sums: tuple[Floats, Floats], at: Ints, width: int) -> Floats:
    """Mean of what is known of the `width` steps that end with each of these."""
    total, count = sums
    last = np.clip(at + 1, 0, len(total) - 1)
    first = np.maximum(last - width, 0)
    known = count[last] - count[first]
    return np.where(known > 0, (total[last] - total[first]) / np.maximum(known, 1.0), np.nan)


def _centred(column: Floats, half: int) -> Floats:
    """Mean of what is known within `half` steps before and after."""
    sums, steps = _sums(column), np.arange(len(column))
    total, count = sums
    last, first = np.minimum(steps + half + 1, len(column)), np.maximum(steps - half, 0)
    known = count[last] - count[first]
    return np.where(known > 0, (total[last] - total[first]) / np.maximum(known, 1.0), np.nan)


def _mean_rows(rows: Floats) -> Floats:
    """Mean down each column of what is known; NaN where nothing is."""
    known = np.isfinite(rows)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, rows, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
