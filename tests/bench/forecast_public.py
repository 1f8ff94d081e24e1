"""Courses of real sites for the forecast's bench, from the public measurements beside the checkout."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import numpy as np

from wattlease.core.model import Floats, Ints
from wattlease.facility.forecast.series import Series, plain
from wattlease.sim import traces

CORNELL = ("07", "08")


def servegen(folder: Path) -> Series:
    """Requests a second of a day-night service. A window in which all 43 clients are silent at once is a hole in the
    record: its neighbours are at a thousand a second."""
    rates = traces.servegen_rates(folder)
    return plain(0.0, rates.step_s, np.where(rates.per_s > 0.0, rates.per_s, np.nan))


def helios(folder: Path) -> Series:
    """Running GPUs of a cluster, by the minute."""
    course = traces.helios(folder)
    return plain(float(course.t_s[0]), 60.0, course.running)


def philly(folder: Path) -> Series:
    """GPUs of the jobs that ran, by the minute."""
    jobs = traces.philly(folder)
    return plain(0.0, 60.0, running_gpus(jobs.submit_s, jobs.submit_s + jobs.duration_s, jobs.gpus, 60.0))


def cornell(folder: Path) -> Series:
    """GPU power of two servers together, hourly means; an hour that one of them lacks is not known."""
    first, second = (_server(folder / "cornell" / f"cbsugpu{name}_usage_stats.txt") for name in CORNELL)
    hours = sorted(first.keys() | second.keys())
    grid = np.arange(hours[0], hours[-1] + 1.0, 3600.0)
    return plain(hours[0], 3600.0, np.array([first.get(t, np.nan) + second.get(t, np.nan) for t in grid.tolist()]))


def running_gpus(start_s: Floats, end_s: Floats, gpus: Ints, step_s: float) -> Floats:
    """GPUs in use at the end of each step, from the first start to the last."""
    count = int(start_s.max() // step_s)
    change = np.zeros(count + 1)
    for at_s, sign in ((start_s, 1.0), (end_s, -1.0)):
        np.add.at(change, np.minimum(np.ceil(at_s / step_s).astype(np.int64), count), sign * gpus)
    return np.cumsum(change)[:count]


def _server(path: Path) -> dict[float, float]:
    found: dict[float, float] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["powerave"]:
                found[datetime.fromisoformat(row["timestamp"] + "+00:00").timestamp()] = float(row["powerave"])
    return found
