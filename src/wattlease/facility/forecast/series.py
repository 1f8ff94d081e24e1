"""A scope's course on an even grid of time, with what was known of its queue and its limits.

NaN is "not known" everywhere: a hole in the record stays a hole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from wattlease.core.model import Floats

LOOKS_S: Floats = np.array([300.0, 900.0, 3600.0, 14_400.0, 86_400.0])
"""How far ahead a note looks into the queue and the limits; in between it is a straight line."""

DAY_S, WEEK_S = 86_400.0, 604_800.0


@dataclass(frozen=True, slots=True)
class Series:
    """Columns of n steps; value k is the mean over `step_s` from `start_s + k * step_s`, known once that is over.

    `mean_w` is the draw if nothing were held back, `low_w` and `high_w` its extremes within the step. What was known
    at the end of each step: `waiting_w`, the watts of the whole queue, and [n, looks] the watts of jobs that were
    expected to start and to end within each look, and the lowest limit through it.
    """

    start_s: float
    step_s: float
    mean_w: Floats
    low_w: Floats
    high_w: Floats
    waiting_w: Floats
    starting_w: Floats
    ending_w: Floats
    limit_w: Floats

    def __len__(self) -> int:
        return len(self.mean_w)

    @property
    def end_s(self) -> float:
        """When the last step is over, unix seconds."""
        return self.start_s + len(self) * self.step_s

    @property
    def known_s(self) -> float:
        """How much of the course is known, seconds."""
        return float(np.isfinite(self.mean_w).sum()) * self.step_s

    def part(self, first: int, last: int) -> Series:
        """Steps `first` to `last`, the last not included; bounds beyond the ends are the ends."""
        first, last = max(first, 0), max(min(last, len(self)), 0)
        return self._changed(lambda _, column: column[first:last], self.start_s + first * self.step_s)

    def then(self, later: Series, most: int) -> Series:
        """Followed by a course of the same steps, with what lies between them not known; its last `most` steps.

        Steps of `later` that this one has already are dropped.
        """
        if not len(self):
            return later.part(len(later) - most, len(later))
        gap = round((later.start_s - self.end_s) / self.step_s)
        later, gap = later.part(-min(gap, 0), len(later)), max(gap, 0)
        if gap >= most or not len(later):
            return later if len(later) else self
        joined = self._changed(
            lambda name, mine: np.concatenate([mine, np.full((gap, *mine.shape[1:]), np.nan), getattr(later, name)]),
            self.start_s,
        )
        return joined.part(len(joined) - most, len(joined))

    def coarser(self, step_s: float) -> Series:
        """The same by steps of at least `step_s`, each made of whole ones, which begin on multiples of themselves.

        What is left over before the first of them and after the last is cut.
        """
        times = math.ceil(step_s / self.step_s)
        if times <= 1:
            return self
        step_s = times * self.step_s
        skip = round(-self.start_s % step_s / self.step_s)
        count = max(len(self) - skip, 0) // times
        whole = self.part(skip, skip + count * times)
        by_step = {f: getattr(whole, f).reshape(count, times) for f in ("mean_w", "low_w", "high_w", "waiting_w")}
        last = {f: getattr(whole, f)[times - 1 :: times] for f in ("starting_w", "ending_w", "limit_w")}
        return Series(
            start_s=whole.start_s,
            step_s=step_s,
            mean_w=_mostly_known(by_step["mean_w"]),
            low_w=np.fmin.reduce(by_step["low_w"], axis=1),
            high_w=np.fmax.reduce(by_step["high_w"], axis=1),
            waiting_w=by_step["waiting_w"][:, -1],
            **last,
        )

    def _changed(self, change: Callable[[str, Floats], Floats], start_s: float) -> Series:
        """Each column as `change` makes it of its name and itself."""
        names = [f.name for f in fields(self)][2:]
        columns: dict[str, Any] = {name: change(name, getattr(self, name)) for name in names}
        return replace(self, start_s=start_s, **columns)


def plain(start_s: float, step_s: float, mean_w: Floats) -> Series:
    """A course of which only the draw is known; what is no number, or negative, is not known."""
    known_w = np.where(np.isfinite(mean_w) & (mean_w >= 0.0), mean_w, np.nan)
    none = np.full((len(mean_w), len(LOOKS_S)), np.nan)
    return Series(start_s, step_s, known_w, known_w, known_w, np.full(len(mean_w), np.nan), none, none, none)


def _mostly_known(rows_w: Floats) -> Floats:
    """Mean of each row of which at least half is known."""
    known = np.isfinite(rows_w)
    count = known.sum(axis=1)
    total_w = np.where(known, rows_w, 0.0).sum(axis=1)
    return np.where(2 * count >= rows_w.shape[1], total_w / np.maximum(count, 1), np.nan)
