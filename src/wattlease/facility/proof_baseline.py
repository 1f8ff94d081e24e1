"""What the site would have drawn without the event: two methods, each named, each with what it rests on.

hour-before: the mean of the hour before the event begins, for loads that are flat over hours.
like-days: 10-of-10 day matching. The mean of the same local hours on the last ten like days (working days or weekends)
without an event, in quarters of an hour, times how today compared with them in the two hours that end an hour before
the start, at most a fifth up or down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

import numpy as np

from wattlease.core.model import Floats
from wattlease.facility.proof_course import Course, minutes

HOUR_S = 3600.0
QUARTER_S = 900.0
LEAST_HOUR_S = 900.0
"""Of the hour before the start, so much must be recorded."""

DAYS = 10
LEAST_DAYS = 3
LOOK_BACK_DAYS = 45
WHOLE_FRAC = 0.9
"""A day counts if so much of the event's hours is recorded on it."""

ADJUST_FROM_S, ADJUST_UNTIL_S = 3 * HOUR_S, HOUR_S
ADJUST_MOST = 0.2

METHODS = ("hour-before", "like-days")


@dataclass(frozen=True, slots=True)
class Baseline:
    """Watts that hold from each time to the next, the last to the end of the event; `words` say how it was made."""

    method: str
    words: str
    at_s: Floats
    power_w: Floats

    def at(self, t_s: Floats) -> Floats:
        """Its watts at these times; before its beginning the first."""
        return self.power_w[np.maximum(np.searchsorted(self.at_s, t_s, side="right") - 1, 0)]

    def energy_j(self, from_s: float, until_s: float) -> float:
        """What would have been drawn in a span."""
        inner = self.at_s[(self.at_s > from_s) & (self.at_s < until_s)]
        bounds = np.concatenate(([from_s], inner, [until_s]))
        return float(np.sum(self.at(bounds[:-1]) * np.diff(bounds)))


@dataclass(frozen=True, slots=True)
class NoBaseline:
    """Why a method cannot be used on this record, and what to do."""

    text: str


Span = tuple[float, float]


def hour_before(course: Course, start_s: float) -> Baseline | NoBaseline:
    """The mean of the hour before the start."""
    known_s = course.known_s(start_s - HOUR_S, start_s)
    if known_s < LEAST_HOUR_S:
        return NoBaseline(f"only {known_s / 60:.0f} min of the hour before the event are recorded; add that segment")
    words = "mean of the hour before the start"
    if known_s < WHOLE_FRAC * HOUR_S:
        words += f", of which {known_s / 60:.0f} min are recorded"
    mean_w = course.mean_w(start_s - HOUR_S, start_s)
    return Baseline("hour-before", words, np.array([start_s]), np.array([mean_w]))


def like_days(
    course: Course, start_s: float, end_s: float, events: Sequence[Span], tz: tzinfo
) -> Baseline | NoBaseline:
    """Day matching; `events` are spans whose days do not count."""
    before_s = _quarters(start_s - ADJUST_FROM_S, start_s - ADJUST_UNTIL_S)
    during_s = _quarters(start_s, end_s)
    days = [d for d in _alike(start_s, tz) if _counts(course, _back(during_s, d, tz), events)][:DAYS]
    if len(days) < LEAST_DAYS:
        fix = "add older segments of the record, or take hour-before"
        return NoBaseline(f"{len(days)} like days without an event are recorded, {LEAST_DAYS} are needed; {fix}")
    profile_w = _mean_of(course, during_s, days, tz)
    factor, words = _adjustment(course.means_w(before_s), _mean_of(course, before_s, days, tz))
    today = datetime.fromtimestamp(start_s, tz).date()
    dates = ", ".join(f"{today - timedelta(days=d):%d %b}" for d in days)
    told = f"mean of the same hours on {len(days)} like days ({dates}), {words}"
    return Baseline("like-days", told, during_s[:-1], profile_w * factor)


def _quarters(from_s: float, until_s: float) -> Floats:
    """Bounds of quarters of an hour from the beginning on; the last may be shorter."""
    whole_s = minutes(from_s, until_s, QUARTER_S)
    return whole_s if whole_s[-1] >= until_s - 1.0 else np.append(whole_s, until_s)


def _alike(start_s: float, tz: tzinfo) -> Iterator[int]:
    """How many days ago the like days were, the latest first: working days for one, Saturdays and Sundays for one."""
    today = datetime.fromtimestamp(start_s, tz).date()
    for ago in range(1, LOOK_BACK_DAYS + 1):
        if ((today - timedelta(days=ago)).weekday() < 5) == (today.weekday() < 5):
            yield ago


def _back(bounds_s: Floats, days: int, tz: tzinfo) -> Floats:
    """The same times on the wall, so many days earlier."""
    local = (datetime.fromtimestamp(bound, tz).replace(tzinfo=None) for bound in bounds_s.tolist())
    return np.array([(at - timedelta(days=days)).replace(tzinfo=tz).timestamp() for at in local])


def _counts(course: Course, during_s: Floats, events: Sequence[Span]) -> bool:
    from_s, until_s = float(during_s[0]), float(during_s[-1])
    free = all(b <= from_s or a >= until_s for a, b in events)
    whole = course.known_s(from_s, until_s) >= WHOLE_FRAC * (until_s - from_s)
    return free and whole and bool(np.isfinite(course.means_w(during_s)).all())


def _mean_of(course: Course, bounds_s: Floats, days: Sequence[int], tz: tzinfo) -> Floats:
    """The mean over the days that know each quarter; NaN where none does."""
    rows = np.array([course.means_w(_back(bounds_s, d, tz)) for d in days])
    known = np.isfinite(rows).sum(axis=0)
    return np.divide(np.nansum(rows, axis=0), known, out=np.full(rows.shape[1], np.nan), where=known > 0)


def _adjustment(today_w: Floats, profile_w: Floats) -> tuple[float, str]:
    both = np.isfinite(today_w) & np.isfinite(profile_w)
    if both.sum() < len(both) / 2 or profile_w[both].mean() <= 0.0:
        return 1.0, "not adjusted, for the hours before the event are not recorded"
    ratio = float(today_w[both].mean() / profile_w[both].mean())
    factor = min(1.0 + ADJUST_MOST, max(1.0 - ADJUST_MOST, ratio))
    held = "" if factor == ratio else f", held there from {ratio:.3f}"
    return factor, f"times {factor:.3f}{held}: today against them from three hours to one hour before the start"
