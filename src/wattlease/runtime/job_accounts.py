"""What each job used and lost: energy, money, carbon; one JSON line for each that has ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import orjson

from wattlease.core.actions import Plan
from wattlease.core.model import JobState, Snapshot
from wattlease.runtime.job_words import J_PER_KWH, JobAccount
from wattlease.runtime.lease.said import Said
from wattlease.runtime.showing_jobs import drawn_w

log = logging.getLogger(__name__)

LONGEST_TICK_S = 60.0
"""A longer gap between two ticks counts as this much."""


class JobAccounts:
    """Adds up tick by tick. A job that ran and is no longer seen has ended: it is written down and forgotten."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: dict[str, JobAccount] = {}
        self._now_s = float("nan")
        self._said = Said(log)

    def of(self, job: str) -> JobAccount | None:
        """A live job's sums so far; None before it ran."""
        return self._open.get(job)

    def note(self, snapshot: Snapshot, plan: Plan) -> list[JobAccount]:
        """Add the time since the tick before; return those that have ended."""
        since_s = snapshot.now_s - self._now_s
        dt_s = min(since_s, LONGEST_TICK_S) if since_s > 0 else 0.0
        self._now_s = snapshot.now_s
        for j, account in self._live(snapshot):
            _add(account, snapshot, plan, j, dt_s)
        self._spend(snapshot, dt_s)
        here = set(snapshot.jobs.id)
        return [self._open.pop(name) for name in [name for name in self._open if name not in here]]

    def write(self, ended: list[JobAccount]) -> None:
        """Append a line for each of these. Blocks; a full disk is told once, and those lines are lost."""
        if not ended:
            return
        try:
            with self._path.open("ab") as file:
                file.write(b"".join(orjson.dumps(asdict(account)) + b"\n" for account in ended))
        except OSError as trouble:
            self._said.once(logging.ERROR, "job accounts not written", str(trouble))
        else:
            self._said.forget("job accounts not written")

    def _live(self, snapshot: Snapshot) -> Iterator[tuple[int, JobAccount]]:
        jobs = snapshot.jobs
        for j in np.flatnonzero(np.isin(jobs.state, (JobState.RUNNING, JobState.PAUSED))).tolist():
            name = jobs.id[j]
            if name not in self._open:
                now_s = snapshot.now_s
                words = jobs.name[j], jobs.owner[j], jobs.cluster[j], int(jobs.gpus[j])
                self._open[name] = JobAccount(name, *words, began_s=now_s, ended_s=now_s)
            yield j, self._open[name]

    def _spend(self, snapshot: Snapshot, dt_s: float) -> None:
        """Energy with its price and carbon, for every live job."""
        price, grams = _tariff(snapshot)
        for name, watts in zip(snapshot.jobs.id, drawn_w(snapshot).tolist(), strict=True):
            if account := self._open.get(name):
                kwh = watts * dt_s / J_PER_KWH
                account.energy_j += watts * dt_s
                account.energy_cost += kwh * price
                account.carbon_g += kwh * grams


def _add(account: JobAccount, snapshot: Snapshot, plan: Plan, j: int, dt_s: float) -> None:
    account.ended_s = snapshot.now_s
    account.gpus = int(snapshot.jobs.gpus[j])
    account.lost += float(plan.cost_per_h[j]) * dt_s / 3600.0
    if snapshot.jobs.state[j] == JobState.RUNNING:
        account.ran_s += dt_s
        account.speed_s += float(np.clip(plan.speed_frac[j], 0.0, 1.0)) * dt_s
    else:
        account.paused_s += dt_s


def _tariff(snapshot: Snapshot) -> tuple[float, float]:
    """Money for a kWh and grams of CO2 in it, now: the feed's where it is known, else the first budget's."""
    tariff, prices = snapshot.site.scopes[0].budget.spec.tariff, snapshot.prices
    at = int(np.searchsorted(prices.at_s, snapshot.now_s, side="right")) - 1
    known = tariff.price_per_kilowatt_hour, tariff.carbon_grams_per_kilowatt_hour
    if at < 0:
        return known
    feed = float(prices.energy_per_kwh[at]), float(prices.carbon_g_per_kwh[at])
    return tuple(f if np.isfinite(f) else k for f, k in zip(feed, known, strict=True))  # type: ignore[return-value]
