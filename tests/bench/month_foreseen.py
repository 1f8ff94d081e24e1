"""What the product foresees of a site's draw through a month: trained on what was seen, never on more.

The facility forgets after twenty weeks, this site after ten days: a trace of 14 days that comes again is then never in
its record. Both ranges are trained by the facility's own code, and joined as it joins them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from month_load import BEFORE_DAYS, DAY_S, MINUTE_S, QUARTER_S

from wattlease.core.model import Floats, Forecast, Ints
from wattlease.facility.forecast.features import Past
from wattlease.facility.forecast.model import DAYS, HOUR, Range
from wattlease.facility.forecast.outlook import DAYS_STEPS_S, HOUR_STEPS_S
from wattlease.facility.forecast.predicting import ready
from wattlease.facility.forecast.series import plain
from wattlease.facility.forecast.training import train

TRAIN_DAYS = 2
"""From one training to the next; the facility trains every day."""


@dataclass(frozen=True, slots=True)
class Told:
    """One range, each quarter of an hour anew: [origins, steps] quantiles, `ahead_s` from an origin to the middles of
    what they are means of."""

    ahead_s: Floats
    p50_w: Floats
    p90_w: Floats

    def at(self, passed_s: float) -> tuple[float, Floats, Floats, Floats]:
        """The newest at this time after the month's start: when it was made, and how it goes on from there."""
        k = min(int(passed_s // QUARTER_S), len(self.p50_w) - 1)
        return k * QUARTER_S, self.ahead_s, self.p50_w[k], self.p90_w[k]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Both ranges of one month that begins at `start_s`."""

    start_s: float
    hour: Told
    days: Told

    def forecasts(self, now_s: float) -> tuple[Forecast, ...]:
        """What the facility would tell a tick; where two overlap, the one that looks less far ahead counts. Nothing
        before the month: the site is new, and its record too short."""
        if now_s < self.start_s:
            return ()
        near_s, hour_s, *near_w = self.hour.at(now_s - self.start_s)
        far_s, days_s, *far_w = self.days.at(now_s - self.start_s)
        beyond = far_s + days_s > near_s + hour_s[-1]
        at_s = self.start_s + np.concatenate([near_s + hour_s, (far_s + days_s)[beyond]])
        p50_w, p90_w = (np.concatenate([near, far[beyond]]) for near, far in zip(near_w, far_w, strict=True))
        return (Forecast(0, at_s, np.maximum(p50_w, 0.0), np.maximum(p90_w, p50_w)),)


def foreseen(start_s: float, course_w: Floats) -> Foreseen:
    """Of a course by the minute that begins BEFORE_DAYS before the month; walks through it once."""
    return Foreseen(
        start_s,
        _told(course_w, HOUR, HOUR_STEPS_S),
        _told(course_w, DAYS, DAYS_STEPS_S),
    )


def _told(course_w: Floats, ranged: Range, ahead_s: Floats) -> Told:
    steps = np.unique(np.round(ahead_s / ranged.step_s).astype(np.int64))
    days = round(len(course_w) * MINUTE_S / DAY_S)
    parts = [_spell(course_w, day, ranged, steps) for day in range(BEFORE_DAYS, days, TRAIN_DAYS)]
    p50_w, p90_w = np.concatenate(parts, axis=1)
    return Told((steps.astype(np.float64) - 0.5) * ranged.step_s, p50_w, p90_w)


def _spell(course_w: Floats, day: int, ranged: Range, steps: Ints) -> Floats:
    """[2, origins, steps] from this day until the next training, from what was seen before and so far."""
    per_day = round(DAY_S / MINUTE_S)
    seen_w = course_w[(day - BEFORE_DAYS) * per_day : (day + TRAIN_DAYS) * per_day]
    known = plain(0.0, MINUTE_S, seen_w).coarser(ranged.step_s)
    first = round(BEFORE_DAYS * DAY_S / ranged.step_s)
    model = train(known.part(0, first), ranged)
    if model is None:
        raise RuntimeError("the record before the month is too short to train on")
    origins = np.arange(first - 1, len(known) - 1, round(QUARTER_S / ranged.step_s))
    pairs = np.repeat(origins, len(steps)), np.tile(steps, len(origins))
    return ready(model).foresee_w(Past(known), *pairs).reshape(2, len(origins), len(steps))
