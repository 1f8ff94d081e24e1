"""Philly's arrivals through a cluster with too few cards: what a forecast gains that sees the queue.

First come, first served, on 640 H100; jobs draw 500 W a card. The queue is told to the forecast by the product's own
lines (`core.foresight`, `facility.forecast.note`), as the operator and the Slurm daemon tell it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from heapq import heappop, heappush

import numpy as np

from wattlease.core.actions import Plan, ScopePlan
from wattlease.core.memory import JobsMemory, Memory
from wattlease.core.model import NONE, Floats, GpuReadings, Ints, Jobs, JobState, Snapshot
from wattlease.facility.forecast.minutes import Minute, series_of
from wattlease.facility.forecast.note import NOTHING, known
from wattlease.facility.forecast.series import Series
from wattlease.sim import instances
from wattlease.sim.instances import H100, Shape
from wattlease.sim.traces import PhillyJobs

CARDS, FULL_W, TICK_S, TOLD_S = 640, 500.0, 60.0, 300.0
DAY_S = 86_400.0


@dataclass
class Cluster:
    """What runs and waits, by index of job; `free` counts cards."""

    waiting: deque[int]
    running: dict[int, float]
    ends: list[tuple[float, int]]
    free: int = CARDS


def with_queue(jobs: PhillyJobs, told_s: Floats) -> Series:
    """Minutes of the cluster; `told_s` is how long each job is said to take."""
    cluster, site = Cluster(deque(), {}, []), _site()
    fits = jobs.taken(np.flatnonzero(jobs.gpus <= CARDS))
    minutes, came, ahead = [], 0, NOTHING
    for now_s in np.arange(TICK_S, fits.submit_s[-1], TICK_S).tolist():
        while came < len(fits.submit_s) and fits.submit_s[came] <= now_s:
            cluster.waiting.append(came)
            came += 1
        _run(cluster, fits, now_s)
        draw_w = H100.idle_w * CARDS + (FULL_W - H100.idle_w) * (CARDS - cluster.free)
        if now_s % TOLD_S == 0.0:
            ahead = known(*_told(site, cluster, fits, told_s, now_s), 0)
        minutes.append(Minute(now_s - TICK_S, draw_w, draw_w, draw_w, ahead))
    return series_of(minutes)


def _run(cluster: Cluster, jobs: PhillyJobs, now_s: float) -> None:
    """Let jobs end and start up to this moment, in the order in which that happens."""
    while True:
        if cluster.waiting and jobs.gpus[cluster.waiting[0]] <= cluster.free:
            j = cluster.waiting.popleft()
            cluster.free -= int(jobs.gpus[j])
            cluster.running[j] = now_s
            heappush(cluster.ends, (now_s + float(jobs.duration_s[j]), j))
        elif cluster.ends and cluster.ends[0][0] <= now_s:
            _, j = heappop(cluster.ends)
            cluster.free += int(jobs.gpus[j])
            del cluster.running[j]
        else:
            return


def _site() -> Snapshot:
    return instances.snapshot(np.random.default_rng(0), Shape(running=CARDS // 8, sizes=(8,)))


def _told(
    site: Snapshot, cluster: Cluster, jobs: PhillyJobs, told_s: Floats, now_s: float
) -> tuple[Snapshot, Plan, Memory]:
    """The cluster as a tick would know it: a job that runs longer than it was told to ends any moment."""
    index = np.array([*cluster.running, *list(cluster.waiting)[:500]], np.int64)
    state = np.repeat([JobState.RUNNING, JobState.RELEASED], [len(cluster.running), len(index) - len(cluster.running)])
    ran_s = now_s - np.array([*cluster.running.values(), *[now_s] * (len(index) - len(cluster.running))])
    left_s = np.maximum(told_s[index] - ran_s, np.where(state == JobState.RUNNING, 0.1 * ran_s, 60.0))
    gpus = jobs.gpus[index]
    card_job = np.full(CARDS, NONE, np.int64)
    snapshot = replace(site, now_s=now_s, jobs=_jobs(gpus, state.astype(np.int64), left_s), gpus=_readings(card_job))
    none = np.empty(0)
    scope = ScopePlan("hall", 1e9, "static", "", 0.0, 0.0, "within")
    plan = Plan(now_s, (), (), (scope,), none, none, none, none, none, none)
    return snapshot, plan, Memory(jobs=JobsMemory(full_w=np.full(len(index), FULL_W)))


def _jobs(gpus: Ints, state: Ints, left_s: Floats) -> Jobs:
    count = len(gpus)
    names, zeros, unknown = ("job",) * count, np.zeros(count, np.int64), np.full(count, np.nan)
    return Jobs(
        names, names, names, names, zeros, state, gpus, zeros, np.arange(count), unknown, unknown, left_s,
        unknown, unknown, np.ones(count), np.full(count, NONE, np.int64),
    )  # fmt: skip


def _readings(card_job: Ints) -> GpuReadings:
    unknown = np.full(CARDS, np.nan)
    return GpuReadings(unknown, unknown, unknown, card_job)
