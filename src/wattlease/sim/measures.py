"""What a run is judged by: pure functions of columns that hold from their own sample to the next one.

Times are unix seconds, ascending. The last sample holds as long as the one before it did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wattlease.core.model import Bools, Floats
from wattlease.sim.run import Event, JobRow, Run, Tariff

MINUTE_S = 60.0
BILLING_S = 900.0
J_PER_KWH = 3.6e6
DUST_W = 1e-6
"""Watts that rounding in a sum may leave."""


def edges(t_s: Floats) -> Floats:
    """Where the samples begin, and where the last one ends."""
    last_s = t_s[-1] - t_s[-2] if len(t_s) > 1 else 1.0
    return np.append(t_s, t_s[-1] + last_s)


def integral(t_s: Floats, y: Floats, at_s: Floats) -> Floats:
    """The integral of the column from its beginning to each moment; flat outside the run."""
    bounds = edges(t_s)
    return np.interp(at_s, bounds, np.concatenate([[0.0], np.cumsum(y * np.diff(bounds))]))


def mean(t_s: Floats, y: Floats, from_s: float, until_s: float) -> float:
    """The mean over the part of a span in which the column is known; NaN if there is none."""
    span = np.array([from_s, until_s])
    known = np.isfinite(y)
    known_s = float(np.diff(integral(t_s, known.astype(float), span))[0])
    return float(np.diff(integral(t_s, np.where(known, y, 0.0), span))[0]) / known_s if known_s > 0 else float("nan")


def bin_means(t_s: Floats, y: Floats, bounds: Floats) -> Floats:
    """The mean between each pair of neighbouring bounds, which lie inside the run."""
    means: Floats = np.diff(integral(t_s, y, bounds)) / np.diff(bounds)
    return means


def whole_bins(t_s: Floats, width_s: float, origin_s: float = 0.0) -> Floats:
    """The bounds of the bins that the run covers wholly, aligned to `origin_s`; empty if it covers none."""
    ends = edges(t_s)[[0, -1]] - origin_s
    first, last = np.ceil(ends[0] / width_s - 1e-9), np.floor(ends[1] / width_s + 1e-9)
    return origin_s + width_s * np.arange(first, last + 1) if last > first else np.empty(0)


def one_minute_means(t_s: Floats, y: Floats, origin_s: float = 0.0) -> tuple[Floats, Floats]:
    """The start of every whole minute, counted from `origin_s`, and the mean over it."""
    bounds = whole_bins(t_s, MINUTE_S, origin_s)
    return bounds[:-1], bin_means(t_s, y, bounds)


def settle_s(t_s: Floats, feed_w: Floats, limit_w: Floats, start_s: float, end_s: float) -> float:
    """Seconds from an event's start until no later one-minute mean is over the limit's; infinity if it never is.

    The minutes count from the start, and the last one ends within the event.
    """
    minutes, feed = one_minute_means(t_s, feed_w, start_s)
    _, limit = one_minute_means(t_s, limit_w, start_s)
    inside = (minutes >= start_s - 1e-6) & (minutes + MINUTE_S <= end_s + 1e-6)
    over = np.flatnonzero(feed[inside] > limit[inside] + DUST_W)
    if not inside.any() or (len(over) and over[-1] == np.count_nonzero(inside) - 1):
        return float("inf")
    return float((over[-1] + 1) * MINUTE_S) if len(over) else 0.0


def over_limit(t_s: Floats, feed_w: Floats, limit_w: Floats, window_s: float) -> Bools:
    """At which samples the energy of the last `window_s` was more than the limit allowed in the same time.

    A limit that falls is so held against what could still be drawn before it fell. Before a whole window has passed,
    the run's own beginning is the window.
    """
    ends = edges(t_s)[1:]
    starts = np.maximum(ends - window_s, t_s[0])
    drawn, allowed = (integral(t_s, y, ends) - integral(t_s, y, starts) for y in (feed_w, limit_w))
    result: Bools = drawn > allowed + DUST_W * (ends - starts)
    return result


def seconds_over(t_s: Floats, feed_w: Floats, limit_w: Floats, window_s: float) -> float:
    """How long the meter's average over `window_s` was over the limit's."""
    return float(np.diff(edges(t_s))[over_limit(t_s, feed_w, limit_w, window_s)].sum())


def max_rise_w(t_s: Floats, y: Floats, from_s: float, until_s: float) -> float:
    """The most that a one-minute mean rose over the one a minute earlier, both within the span; 0 if it never rose.

    The minute slides from sample to sample, so no alignment hides a step.
    """
    ends = edges(t_s)
    at_s = ends[(ends >= from_s + 2 * MINUTE_S) & (ends <= until_s)]
    if not len(at_s):
        return 0.0
    now, before, first = (integral(t_s, y, at_s - back * MINUTE_S) for back in (0, 1, 2))
    return float(max(np.max((now - before) - (before - first)) / MINUTE_S, 0.0))


def energy_j(t_s: Floats, power_w: Floats) -> float:
    """All that was drawn."""
    return float(np.sum(power_w * np.diff(edges(t_s))))


def throughput_frac(gpus: Floats, speed_frac: Floats) -> float:
    """The speed that the mean GPU kept; NaN speeds (jobs that did not run) do not count."""
    ran = np.isfinite(speed_frac) & (gpus > 0)
    return float(np.average(speed_frac[ran], weights=gpus[ran])) if ran.any() else float("nan")


@dataclass(frozen=True, slots=True)
class Bill:
    """Money for a run: energy, the demand charge on its highest billing window, carbon; and what they stand on."""

    energy: float
    demand: float
    carbon: float
    peak_w: float
    carbon_kg: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.energy + self.demand + self.carbon


def bill(t_s: Floats, feed_w: Floats, energy_per_kwh: Floats, carbon_g_per_kwh: Floats, tariff: Tariff) -> Bill:
    """The bill for a run; an empty column of prices or carbon costs nothing.

    The demand charge counts 15-minute windows aligned to unix time that the run covers wholly, or the whole run where
    it covers none. Power that is fed back counts as negative energy and never as a peak.
    """
    kwh = feed_w * np.diff(edges(t_s)) / J_PER_KWH
    bounds = whole_bins(t_s, BILLING_S)
    means = bin_means(t_s, feed_w, bounds if len(bounds) else edges(t_s)[[0, -1]])
    peak_w = float(max(means.max(), 0.0))
    energy = float(np.nansum(kwh * energy_per_kwh)) if len(energy_per_kwh) else 0.0
    carbon_kg = float(np.nansum(kwh * carbon_g_per_kwh)) / 1000 if len(carbon_g_per_kwh) else 0.0
    carbon = carbon_kg / 1000 * tariff.carbon_per_t
    return Bill(energy, peak_w / 1000 * tariff.demand_per_kw, carbon, peak_w, carbon_kg)


@dataclass(frozen=True, slots=True)
class ClassResult:
    """How the jobs of one class fared. Slowdowns are NaN where none of them ended."""

    job_class: str
    jobs: int
    finished: int
    breaches: int
    work_gpu_h: float
    p50_slowdown: float
    p99_slowdown: float
    mean_wait_s: float


def class_results(jobs: Sequence[JobRow]) -> tuple[ClassResult, ...]:
    """A row for each class, in the order of the tolerated loss."""
    by_class: dict[tuple[float, str], list[JobRow]] = {}
    for job in jobs:
        by_class.setdefault((job.loss_frac, job.job_class), []).append(job)
    return tuple(_class_result(name, rows) for (_, name), rows in sorted(by_class.items()))


def _class_result(name: str, rows: list[JobRow]) -> ClassResult:
    slowdown = np.array([j.slowdown for j in rows])
    slowdown = slowdown[np.isfinite(slowdown)]
    p50, p99 = np.quantile(slowdown, [0.5, 0.99]).tolist() if len(slowdown) else (float("nan"), float("nan"))
    waits = np.array([j.wait_s for j in rows if np.isfinite(j.wait_s)])
    return ClassResult(
        job_class=name,
        jobs=len(rows),
        finished=sum(math.isfinite(j.finished_s) for j in rows),
        breaches=sum(j.breaches for j in rows),
        work_gpu_h=sum(j.work_gpu_h for j in rows),
        p50_slowdown=p50,
        p99_slowdown=p99,
        mean_wait_s=float(waits.mean()) if len(waits) else float("nan"),
    )


def lowering(run: Run) -> tuple[Event, ...]:
    """The events of a run in which the limit is lower than just before they begin."""
    return tuple(e for e in run.events if _lowers(run, e))


def _lowers(run: Run, event: Event) -> bool:
    before = run.limit_w[run.t_s < event.t_s]
    inside = run.limit_w[(run.t_s >= event.t_s) & (run.t_s < event.end_s)]
    return bool(len(before) and len(inside) and inside.min() < before[-1] - 1.0)
