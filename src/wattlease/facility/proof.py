"""Measurement and verification of an event: what was asked and delivered, against which baseline, at whose cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, tzinfo
from itertools import pairwise

import numpy as np

from wattlease.core.model import Floats
from wattlease.facility.proof_baseline import METHODS, Baseline, NoBaseline, hour_before, like_days
from wattlease.facility.proof_course import J_PER_KWH, MINUTE_S, Course, minutes
from wattlease.facility.proof_ticks import JobShare, Record, RecordedEvent
from wattlease.runtime.record import HOLDS_S

AROUND_S = 3600.0
"""What is shown before and after the event."""

DUST_W = 1e-6


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdict on one event. Watts are means over the recorded part of the event, depths are below the baseline.

    `settle_s` is from the start until no later minute's mean was above what was allowed, infinite where the last one
    was. `over_kwh` is the energy above what was allowed, ramp included and by one-minute means, `unused_kwh` that
    below it. `snap_back_w` is how far the highest minute of the hour after was above the baseline's mean, negative
    where it stayed below. `missing_s` of the event were not recorded.
    """

    event: RecordedEvent
    baseline: Baseline
    baseline_w: float
    draw_w: float
    limit_w: float
    asked_w: float
    delivered_w: float
    delivered_kwh: float
    settle_s: float
    over_kwh: float
    unused_kwh: float
    highest_w: float
    snap_back_w: float
    missing_s: float
    jobs: tuple[JobShare, ...]

    @property
    def duration_s(self) -> float:
        """How long the event lasted."""
        return self.event.end_s - self.event.start_s

    @property
    def performance(self) -> float:
        """Delivered for asked; NaN where nothing was asked."""
        return self.delivered_w / self.asked_w if self.asked_w > DUST_W else math.nan

    @property
    def cost(self) -> float:
        """What the event took from all jobs together, in the site's money."""
        return math.fsum(job.cost for job in self.jobs)


@dataclass(frozen=True, slots=True)
class Minutes:
    """Columns of minutes around the event, for the chart and the table: NaN where nothing is known or asked."""

    at_s: Floats
    draw_w: Floats
    baseline_w: Floats
    limit_w: Floats
    allowed_w: Floats


def proof(record: Record, event: RecordedEvent, method: str, tz: tzinfo = UTC) -> Proof | NoBaseline:
    """Judge the event by the method, one of METHODS."""
    course = record.courses[event.scope]
    baseline = _baseline(record, event, method, tz)
    if isinstance(baseline, NoBaseline):
        return baseline
    until_s = min(event.end_s, course.end_s)
    known_s = course.known_s(event.start_s, until_s)
    if known_s <= 0.0:
        return NoBaseline("nothing of the event itself is recorded; add that segment")
    draw_w = course.mean_w(event.start_s, until_s)
    expected_w = _expected_w(course, baseline, event.start_s, until_s)
    limit, allowed = _held(event, event.limit_w), _held(event, event.allowed_w)
    limit_w = limit.mean_w(event.start_s, until_s)
    over_kwh, unused_kwh = _apart_kwh(course, allowed, event.start_s, until_s)
    bounds_s = minutes(event.start_s, until_s)
    return Proof(
        event=event, baseline=baseline, baseline_w=expected_w, draw_w=draw_w, limit_w=limit_w,
        asked_w=max(0.0, expected_w - limit_w), delivered_w=expected_w - draw_w,
        delivered_kwh=(expected_w - draw_w) * known_s / J_PER_KWH,
        settle_s=_settle_s(course.means_w(bounds_s), allowed.means_w(bounds_s)),
        over_kwh=over_kwh, unused_kwh=unused_kwh, highest_w=_highest_w(course, event.start_s, until_s),
        snap_back_w=_highest_w(course, until_s, until_s + AROUND_S) - expected_w,
        missing_s=max(0.0, event.end_s - event.start_s - known_s),
        jobs=tuple(sorted(event.jobs.values(), key=lambda job: (-job.cost, job.id))),
    )  # fmt: skip


def minutes_around(record: Record, found: Proof, width_s: float = MINUTE_S) -> Minutes:
    """Minute by minute, from an hour before the event to an hour after it."""
    event, course = found.event, record.courses[found.event.scope]
    bounds_s = minutes(event.start_s - AROUND_S, event.end_s + AROUND_S, width_s)
    at_s = bounds_s[:-1]
    inside = (at_s >= event.start_s) & (at_s < event.end_s)
    expected_w = np.where(inside, found.baseline.at(at_s), np.nan)
    limit, allowed = (_held(event, column).means_w(bounds_s) for column in (event.limit_w, event.allowed_w))
    return Minutes(at_s, course.means_w(bounds_s), expected_w, limit, allowed)


def _baseline(record: Record, event: RecordedEvent, method: str, tz: tzinfo) -> Baseline | NoBaseline:
    course = record.courses[event.scope]
    if method == METHODS[0]:
        return hour_before(course, event.start_s)
    others = [(e.start_s, e.end_s) for e in record.events.values()]
    return like_days(course, event.start_s, event.end_s, others, tz)


def _held(event: RecordedEvent, column: list[float]) -> Course:
    """A column of the event's ticks as a course; known from the event's start, not only from the first tick in it."""
    t_s, watts = np.array(event.t_s), np.array(column)
    if len(t_s) and event.start_s < t_s[0] <= event.start_s + HOLDS_S:
        t_s, watts = np.append(event.start_s, t_s), np.append(watts[0], watts)
    return Course(t_s, watts)


def _expected_w(course: Course, baseline: Baseline, from_s: float, until_s: float) -> float:
    """The baseline's mean over those seconds of the event that are recorded."""
    inner_s = baseline.at_s[(baseline.at_s > from_s) & (baseline.at_s < until_s)]
    bounds_s = np.concatenate(([from_s], inner_s, [until_s]))
    known_s = np.array([course.known_s(a, b) for a, b in pairwise(bounds_s.tolist())])
    return float(np.average(baseline.at(bounds_s[:-1]), weights=known_s))


def _apart_kwh(course: Course, allowed: Course, from_s: float, until_s: float) -> tuple[float, float]:
    """Energy above and below what was allowed, by one-minute means: a limit holds for a mean and not for a moment."""
    bounds_s = minutes(from_s, until_s)
    if bounds_s[-1] < until_s:
        bounds_s = np.append(bounds_s, until_s)
    known_s = np.array([course.known_s(a, b) for a, b in pairwise(bounds_s.tolist())])
    apart_j = np.nan_to_num(course.means_w(bounds_s) - allowed.means_w(bounds_s)) * known_s
    return float(apart_j[apart_j > 0].sum()) / J_PER_KWH, float(-apart_j[apart_j < 0].sum()) / J_PER_KWH


def _settle_s(draw_w: Floats, allowed_w: Floats) -> float:
    over = np.flatnonzero(draw_w > allowed_w + DUST_W)
    if not len(draw_w) or (len(over) and over[-1] == len(draw_w) - 1):
        return math.inf
    return MINUTE_S * float(over[-1] + 1) if len(over) else 0.0


def _highest_w(course: Course, from_s: float, until_s: float) -> float:
    means_w = course.means_w(minutes(from_s, until_s))
    known = means_w[np.isfinite(means_w)]
    return float(known.max()) if len(known) else math.nan
