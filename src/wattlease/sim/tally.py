"""The reckoning of a run, job by job."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wattlease.core.model import Floats
from wattlease.sim.samples import Tally
from wattlease.sim.serving import Service
from wattlease.sim.work import ABSENT, DONE, Work

HOUR_S = 3600.0
LEAST_WORK_S = 1e-9


def tally_of(work: Work, services: Mapping[int, Service], now_s: float) -> Tally:
    """What became until now of every job that was submitted."""
    jobs = np.flatnonzero(work.of["state"] != ABSENT)
    of = {name: column[jobs] for name, column in work.of.arrays.items()}
    entries = [work.entries[i] for i in jobs]
    latency = _latencies([services.get(int(j)) for j in jobs])
    gpu_h = of["gpus"] / HOUR_S
    return Tally(
        id=tuple(e.id for e in entries),
        name=tuple(e.name for e in entries),
        owner=tuple(e.owner for e in entries),
        cluster=tuple(e.cluster for e in entries),
        profile=tuple(work.terms[e.terms].name for e in entries),
        state=of["state"],
        gpus=of["gpus"],
        submitted_s=of["submit_s"],
        started_s=of["started_s"],
        finished_s=np.where(of["state"] == DONE, of["finished_s"], np.nan),
        wait_s=np.where(np.isnan(of["started_s"]), now_s, of["started_s"]) - of["submit_s"],
        running_s=of["running_s"],
        paused_s=of["paused_s"],
        pauses=of["pauses"],
        work_gpu_h=of["done_s"] * gpu_h,
        lost_gpu_h=of["lost_s"] * gpu_h,
        slowdown=_slowdown(of["running_s"], of["done_s"] + of["lost_s"]),
        breach_s=of["breach_s"],
        energy_j=of["energy_j"],
        latency_p50_s=latency[:, 0],
        latency_p99_s=latency[:, 1],
        latency_worst_s=latency[:, 2],
    )


def _slowdown(running_s: Floats, done_s: Floats) -> Floats:
    """Running time over the uncapped time of the work that was done in it, thrown away or not."""
    return np.divide(running_s, done_s, out=np.full(len(done_s), np.nan), where=done_s > LEAST_WORK_S)


def _latencies(services: list[Service | None]) -> Floats:
    return np.array([s.latency_s() if s else (np.nan,) * 3 for s in services], dtype=np.float64).reshape(-1, 3)
