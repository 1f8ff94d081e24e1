"""What is drawn, at worst: readings that can be believed, what stands in for those that cannot, what jobs want.

Unknown is worst: a card without a believable reading counts at what it may lawfully draw. A stale, frozen, negative
or absurd reading is not a reading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from wattlease.core import curves, history
from wattlease.core.columns import own_share, prior_speed, size_now, size_table
from wattlease.core.memory import GpusMemory, JobsMemory, Memory, Seen
from wattlease.core.model import NONE, Bools, Floats, Ints, JobState, Snapshot
from wattlease.core.overhead import Behind, blend, learned, overhead_rise
from wattlease.core.sites import model_table, roll_up, site_table

STALE_S = 5.0
"""A card's reading is its draw for this long; agents report every second."""

FROZEN_S = 30.0
"""A busy card whose milliwatts have not moved for this long has a dead sensor: a live one's last digits never rest."""

ABSURD_FRAC = 1.6
"""Highest believable draw as a multiple of the card's largest limit; bursts of 1.43 were measured on a B300."""

DEAD_FRAC = 0.25
"""A card that works and draws less than this of what it takes idle has lost its sensor."""

BITES_FRAC = 0.85
"""A job that draws less of its cap is not held back by it; under biting caps 0.90 to 0.996 was measured."""

NEED_TAU_S = 40.0
"""How slowly a job that draws less is believed: a checkpoint takes 8-25 s, and whoever gave its watts away meanwhile is
over the limit when it wakes."""

FULL_UP_S, FULL_DOWN_S = 5.0, 1800.0
"""What a job draws uncapped is believed upwards within seconds; downwards a stall of two minutes says little."""

WAKING_FRAC = 1.15
"""A job that draws so much more than it wanted is back at work: it counts at its uncapped draw before it is there."""

SETTLED_S = 60.0
"""Loading and warming up say nothing about the work; nor does a job that ran for less than this."""

ABOVE_FRAC = 1.08
"""A cap this far above a job's uncapped draw does not touch it."""

RAISED_S = 3.0
"""A reading says nothing of a cap that was raised since: power is a mean over up to a second, reported each second."""

SPEED_STD_FRAC = 0.12
"""By how much a job's speed strays from its curve: its own noise, and bends that no one shape follows. Believed sooner,
a curve follows each cap that it was learned at, and draws the next one after it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a tick believes. Columns of GPUs, of jobs (watts a GPU) and of scopes, beside the snapshot's.

    `gpu_cap_w` is the cap in force, the card's own limit where that is not known; `fixed` are the cards whose draw no
    lever moves: those without running work, and those that are not heard. `rise` is how overhead follows IT.
    """

    gpu_w: Floats
    gpu_fresh: Bools
    gpu_cap_w: Floats
    fixed: Bools
    job_gpus: Floats
    job_heard: Floats
    job_draw_w: Floats
    job_fresh: Bools
    speed: Floats
    size: Ints
    leaf: Ints
    it_w: Floats
    idle_w: Floats
    storage_w: Floats
    draw_w: Floats
    rise: Floats
    meter_fresh: Bools

    @property
    def overhead_w(self) -> Floats:
        """What each scope draws beyond its cards."""
        return self.draw_w + self.storage_w - self.it_w


def estimate(snapshot: Snapshot, memory: Memory) -> tuple[Estimate, Memory]:
    """Believe what can be believed, learn from it, and put the worst in place of the rest."""
    dt_s, table, site = elapsed_s(snapshot, memory), site_table(snapshot.site), snapshot.site
    busy = np.append(snapshot.jobs.state == int(JobState.RUNNING), False)[snapshot.gpus.job]
    leap_s = 0.0 if math.isnan(memory.now_s) else snapshot.now_s - memory.now_s - dt_s
    fresh, gpus = _believe(snapshot, busy, memory.gpus, leap_s)
    # what cannot be believed counts at its cap, the most it may lawfully draw
    cap_w = np.where(np.isnan(snapshot.gpus.cap_w), site.gpus.max_cap_w, snapshot.gpus.cap_w)
    gpu_w = np.where(fresh, snapshot.gpus.power_w, cap_w)
    gpus = _held(snapshot, cap_w, fresh, gpus, memory.gpus)
    seen = _jobs(snapshot, gpu_w, gpus, fresh)
    aligned, known_draws = _align(snapshot, memory)
    jobs, size, speed = _learn(snapshot, aligned, seen, dt_s)
    it_w = roll_up(site, np.bincount(table.leaf, gpu_w, len(site.scopes)))
    storage_w = _storage(snapshot)
    behind = Behind(it_w, storage_w, _doubt(snapshot, np.where(fresh, 0.0, gpu_w)))
    scopes, meter_fresh = learned(snapshot, memory.scopes, behind, dt_s)
    rise = overhead_rise(table, scopes)
    risen_w = np.maximum(it_w - scopes.it_at_w, 0.0)  # a fall of overhead counts once it is measured
    overhead_w = scopes.overhead_w + rise * risen_w
    fixed = ~(busy & fresh)
    idle_w = roll_up(site, np.bincount(table.leaf[fixed], gpu_w[fixed], len(site.scopes)))
    known = Estimate(
        gpu_w=gpu_w,
        gpu_fresh=fresh,
        gpu_cap_w=cap_w,
        fixed=fixed,
        job_gpus=seen.gpus,
        job_heard=seen.heard,
        job_draw_w=seen.draw_w,
        job_fresh=seen.fresh,
        speed=speed,
        size=size,
        leaf=table.leaf,
        it_w=it_w,
        idle_w=idle_w,
        storage_w=storage_w,
        draw_w=it_w + np.maximum(overhead_w, 0.0) - storage_w,
        rise=rise,
        meter_fresh=meter_fresh,
    )
    return known, replace(memory, jobs=jobs, gpus=gpus, scopes=scopes, history=known_draws)


def elapsed_s(snapshot: Snapshot, memory: Memory) -> float:
    """Seconds since the tick before; 0 on the first, and at most a minute after a long silence."""
    return 0.0 if math.isnan(memory.now_s) else min(max(snapshot.now_s - memory.now_s, 0.0), 60.0)


def _believe(snapshot: Snapshot, busy: Bools, before: GpusMemory, leap_s: float) -> tuple[Bools, GpusMemory]:
    """Which cards' readings are readings, and what to remember to tell a frozen one.

    `leap_s` is by how much the clock leapt, or how long nobody looked: no card stood still for that.
    """
    power_w, cards = snapshot.gpus.power_w, snapshot.site.gpus
    believed = (power_w >= 0) & (power_w <= ABSURD_FRAC * cards.max_cap_w) & (snapshot.gpus.age_s <= STALE_S)
    dead = busy & (power_w < DEAD_FRAC * site_table(snapshot.site).idle_w)
    believed &= ~dead
    since_s = np.full(len(power_w), snapshot.now_s)
    if len(before.power_w) == len(power_w):
        same = np.flatnonzero(power_w == before.power_w)
        since_s[same] = before.since_s[same] + leap_s
        believed[same] &= ~(busy[same] & (snapshot.now_s - since_s[same] >= FROZEN_S))
    return believed, GpusMemory(power_w, since_s)


def _held(snapshot: Snapshot, cap_w: Floats, fresh: Bools, gpus: GpusMemory, before: GpusMemory) -> GpusMemory:
    """Which caps the readings were taken under: one that was raised counts `RAISED_S` later. A card that is not heard
    may have fallen to its least and been raised again before it is."""
    now_s, raised_s = snapshot.now_s, np.full(len(cap_w), np.nan)
    if len(before.cap_w) == len(cap_w):
        higher = cap_w > ABOVE_FRAC * before.cap_w
        raised_s = np.where(higher & fresh, np.fmin(before.raised_s, now_s), np.nan)
        waits = now_s - raised_s < RAISED_S
        cap_w, raised_s = np.where(waits, before.cap_w, cap_w), np.where(waits, raised_s, np.nan)
    return replace(gpus, cap_w=np.where(fresh, cap_w, snapshot.site.gpus.min_cap_w), raised_s=raised_s)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Columns of jobs: cards in hand and those of them that are heard, mean draw of a card and mean cap that it was
    read under, whether any cap was raised since, and whether all of its readings are believed."""

    gpus: Floats
    heard: Floats
    draw_w: Floats
    cap_w: Floats
    raised: Bools
    fresh: Bools


def _jobs(snapshot: Snapshot, gpu_w: Floats, gpus: GpusMemory, fresh: Bools) -> _Seen:
    n = len(snapshot.jobs.id)
    place = snapshot.gpus.job - NONE  # a card without a job counts in the bin before the first job's
    cards = np.bincount(place, minlength=n + 1)[1:].astype(float)
    heard = cards if fresh.all() else np.bincount(place, fresh, n + 1)[1:].astype(float)
    some = np.maximum(cards, 1.0)
    draw_w = np.bincount(place, gpu_w, n + 1)[1:] / some
    caps_w = np.bincount(place, gpus.cap_w, n + 1)[1:] / some
    raised = np.bincount(place, ~np.isnan(gpus.raised_s), n + 1)[1:] > 0
    return _Seen(cards, heard, draw_w, caps_w, raised, (cards > 0) & (heard == cards))


def _align(snapshot: Snapshot, memory: Memory) -> tuple[JobsMemory, Mapping[str, Seen]]:
    """The memory of jobs in the snapshot's order, a row for each new job, and the history with those that have gone."""
    jobs, before = snapshot.jobs, memory.jobs
    if before.id is jobs.id or before.id == jobs.id:
        return before, memory.history
    where = {name: k for k, name in enumerate(before.id)}
    at = np.array([where.pop(name, len(before.id)) for name in jobs.id], np.int64)
    known = _remembered(memory, sorted(where.values()), snapshot.now_s)
    keys = tuple(
        before.keys[k] if k < len(before.id) else tuple(history.keys(jobs, snapshot.site, j))
        for j, k in enumerate(at.tolist())
    )
    full_w = np.append(before.full_w, np.nan)[at]
    for j in np.flatnonzero(at == len(before.id)):
        rated_w = snapshot.site.models[int(jobs.model[j])].rated_w
        full_w[j] = history.predict(known, keys[j], rated_w)
    aligned = JobsMemory(
        id=jobs.id,
        rank=np.argsort(np.argsort(np.array(jobs.id, dtype=object), kind="stable"), kind="stable"),
        full_w=full_w,
        need_w=_kept(before.need_w, at, full_w),
        track_frac=_kept(before.track_frac, at, np.ones(len(at))),
        shape=_kept(before.shape, at, np.zeros(len(at))),
        shape_var=_kept(before.shape_var, at, np.full(len(at), curves.SHAPE_VAR)),
        cap_w=_kept(before.cap_w, at, np.full(len(at), np.inf)),
        changed_s=_kept(before.changed_s, at, np.full(len(at), -np.inf)),
        meant_kind=_kept(before.meant_kind, at, np.full(len(at), np.nan)),
        meant_size=_kept(before.meant_size, at, np.full(len(at), np.nan)),
        ran_s=_kept(before.ran_s, at, np.zeros(len(at))),
        keys=keys,
    )
    return aligned, known


def _remembered(memory: Memory, gone: list[int], now_s: float) -> Mapping[str, Seen]:
    """The history with every job that has gone and ran for long enough to say something."""
    known = memory.history
    for k in gone:
        if memory.jobs.ran_s[k] >= SETTLED_S:
            known = history.remember(known, memory.jobs.keys[k], float(memory.jobs.full_w[k]), now_s)
    return known


def _kept(column: Floats, at: Ints, new: Floats) -> Floats:
    """The rows `at` of a column, and `new` where a job was not there before."""
    return np.where(at < len(column), np.append(column, 0.0)[at], new)


def _learn(snapshot: Snapshot, jobs: JobsMemory, seen: _Seen, dt_s: float) -> tuple[JobsMemory, Ints, Floats]:
    """Follow each running job's uncapped draw, its present need, how it tracks its cap, and its curve."""
    size = size_now(snapshot.jobs, snapshot.site)
    sizes = size_table(snapshot.site.terms)[snapshot.jobs.terms, size]
    running = (snapshot.jobs.state == int(JobState.RUNNING)) & seen.fresh
    share = own_share(snapshot.jobs, snapshot.site, seen.gpus)
    own_w = seen.draw_w * share / sizes[:, 0]
    cap_w = seen.cap_w * share / sizes[:, 0]
    rated_w = model_table(snapshot.site.models).rated_w[snapshot.jobs.model]
    free = (cap_w >= ABOVE_FRAC * jobs.full_w) | (own_w < BITES_FRAC * cap_w) | (seen.cap_w >= rated_w - 0.5)
    bitten = running & ~free
    settled = running & (snapshot.now_s - snapshot.jobs.since_s >= SETTLED_S)
    wants = settled & free
    first = wants & (jobs.ran_s == 0.0)  # what is measured replaces what was foretold at once
    unread = seen.raised & (jobs.ran_s == 0.0)
    full_w = np.where(first, own_w, jobs.full_w)
    full_w = _toward(full_w, own_w, running & (own_w > full_w), dt_s, FULL_UP_S)
    full_w = _toward(full_w, own_w, wants & (own_w < full_w), dt_s, FULL_DOWN_S)
    need_w = np.where(bitten | first, full_w, jobs.need_w)
    need_w = _toward(need_w, own_w, wants, dt_s, NEED_TAU_S)
    need_w = np.where(running & (own_w > WAKING_FRAC * need_w), full_w, need_w)
    need_w = np.where(running & (own_w > need_w), own_w, need_w)
    track = _toward(jobs.track_frac, own_w / np.maximum(cap_w, 1.0), bitten, dt_s, 20.0)
    prior = prior_speed(snapshot.jobs, snapshot.site)
    told = np.where(bitten, snapshot.jobs.speed_frac / sizes[:, 1], np.nan)
    shape, var = jobs.shape, jobs.shape_var
    if not np.isnan(told).all():
        shape, var = curves.learn(shape, var, prior, np.minimum(own_w / full_w, 1.0), told, SPEED_STD_FRAC)
    speed = curves.shaped(prior, shape) if shape.any() else prior
    # what a cap may lie above the draw that is counted for it
    least_track = 1.0 / (1.0 + site_table(snapshot.site).most_transient_frac)
    now = replace(
        jobs, full_w=full_w, need_w=np.minimum(need_w, full_w),
        track_frac=np.minimum(np.maximum(track, least_track), 1.0),
        shape=shape, shape_var=var, ran_s=jobs.ran_s + np.where(settled & ~unread, dt_s, 0.0),
    )  # fmt: skip
    return now, size, speed


def _toward(column: Floats, target: Floats, where: Bools, dt_s: float, tau_s: float) -> Floats:
    """A first-order step of a column toward its target, only `where`."""
    return np.where(where, column + blend(dt_s, tau_s) * (target - column), column)


def _storage(snapshot: Snapshot) -> Floats:
    """What the batteries give, by scope; positive when they discharge."""
    given_w = np.zeros(len(snapshot.site.scopes))
    for unit, state in zip(snapshot.site.storages, snapshot.storages, strict=True):
        given_w[unit.scope] += state.power_w if np.isfinite(state.power_w) else 0.0
    return roll_up(snapshot.site, given_w)


def _doubt(snapshot: Snapshot, unheard_w: Floats) -> Floats:
    """By how much less than is counted each scope's feed may rightly show: what cards that are not heard count for,
    and what batteries could give whose power nobody knows."""
    site = snapshot.site
    doubt_w = np.bincount(site_table(site).leaf, unheard_w, len(site.scopes)).astype(float)
    for unit, state in zip(site.storages, snapshot.storages, strict=True):
        doubt_w[unit.scope] += 0.0 if np.isfinite(state.power_w) else unit.max_discharge_w
    return roll_up(site, doubt_w)
