"""Contracts as a daemon's record tells of them: who ran below what was promised, and who could have given instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from wattlease.core.model import JobState, Snapshot
from wattlease.runtime.record import read

BELOW_FRAC = 0.02
"""A speed that is less than promised by no more is as promised: draws waver by so much."""

ABOVE_FRAC = 0.05
"""A job that is no further above what was promised it has nothing to give: what it needs is learned while it runs."""

LEAST_W = 205.0
"""A card at its least cap, but for rounding."""


@dataclass(frozen=True)
class Broken:
    """A moment at which a job ran below its contract, and the jobs that could have given watts and did not."""

    at_s: float
    job: str
    could_give: tuple[str, ...]


def broken(record: Path) -> list[Broken]:
    """All such moments, a tick each, with the jobs that the tick before had not told to pause or to wait."""
    found: list[Broken] = []
    for tick in read(record):
        plan = orjson.loads(tick.plan_json)
        told = {next(iter(action.values())).get("job") for action in plan["actions"]}
        rows = list(_rows(tick.snapshot, plan))
        could_give = tuple(row.job for row in rows if row.gives and row.job not in told)
        found += [Broken(tick.snapshot.now_s, row.job, could_give) for row in rows if row.below]
    return found


def needless_s(record: Path) -> float:
    """The longest time without a break in which somebody could have given in a broken contract's place."""
    longest_s, since_s, last_s = 0.0, None, -np.inf
    for moment in broken(record):
        if not moment.could_give:
            continue
        since_s = moment.at_s if since_s is None or moment.at_s - last_s > 1.5 else since_s
        last_s = moment.at_s
        longest_s = max(longest_s, last_s - since_s)
    return longest_s


@dataclass(frozen=True)
class _Row:
    job: str
    below: bool
    gives: bool


def _rows(snapshot: Snapshot, plan: dict[str, list[float]]) -> Iterator[_Row]:
    for j, job in enumerate(snapshot.jobs.id):
        terms = snapshot.site.terms[snapshot.jobs.terms[j]]
        promised, speed, cap_w = 1.0 - terms.max_slowdown_frac, plan["speed_frac"][j], plan["cap_w"][j]
        runs = snapshot.jobs.state[j] == JobState.RUNNING
        keeps = snapshot.jobs.state[j] == JobState.RELEASED and plan["job_w"][j] > 1.0
        yield _Row(
            job,
            below=bool(runs and promised > 0.0 and speed < promised - BELOW_FRAC),
            gives=bool(keeps or (runs and speed > promised + ABOVE_FRAC and cap_w > LEAST_W)),
        )
