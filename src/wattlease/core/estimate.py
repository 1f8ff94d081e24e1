"""What is drawn, at worst: readings that can be believed, what stands in for those that cannot, what jobs want.

Unknown is worst: a card without a believable reading counts at what it may lawfully draw. A stale, frozen, negative
or absurd reading is not a reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wattlease.core import curves, history
from wattlease.core.columns import prior_speed, size_now, size_table
from wattlease.core.memory import GpusMemory, JobsMemory, Memory, ScopesMemory, Seen
from wattlease.core.model import NONE, Bools, Floats, Ints, JobState, Reading, Snapshot

STALE_S = 5.0
"""A card's reading is its draw for this long; agents report every second."""

FROZEN_S = 30.0
"""A busy card whose milliwatts have not moved for this long has a dead sensor: a live one's last digits never rest."""

ABSURD_FRAC = 1.6
"""Highest believable draw as a multiple of the card's largest limit; bursts of 1.43 were measured on a B300."""

BITES_FRAC = 0.85
"""A job that draws less of its cap is not held back by it; under biting caps 0.90 to 0.996 was measured."""

OVERHEAD_TAU_S = 20.0
"""Fans and pumps follow the load within tens of seconds; so does what is learned of them."""

STEADY_FRAC = 0.03
"""Overhead is learned only while IT is near its own lagged mean: a meter that is late says nothing in between."""

LINE_TAU_S = 1800.0
START_RISE = 0.3
"""How overhead follows IT is learned over half an hour. It starts at 0.3: fans and supplies of an 8xH200 node took 0.14
(MLPerf power logs), cooling and conversion come on top."""

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


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a tick believes. Columns of GPUs, of jobs (watts a GPU) and of scopes, beside the snapshot's."""

    gpu_w: Floats
    gpu_fresh: Bools
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
    meter_fresh: Bools

    @property
    def overhead_w(self) -> Floats:
        """What each scope draws beyond its cards."""
        return self.draw_w + self.storage_w - self.it_w


def estimate(snapshot: Snapshot, memory: Memory) -> tuple[Estimate, Memory]:
    """Believe what can be believed, learn from it, and put the worst in place of the rest."""
    dt_s = _elapsed(snapshot, memory)
    fresh, gpus = _believe(snapshot, memory.gpus)
    gpu_w = _counted(snapshot, fresh)
    seen = _jobs(snapshot, gpu_w, fresh)
    aligned, known_draws = _align(snapshot, memory)
    jobs, size, speed = _learn(snapshot, aligned, seen, dt_s)
    leaf = snapshot.site.nodes.scope[snapshot.site.gpus.node]
    it_w = roll_up(snapshot, np.bincount(leaf, gpu_w, len(snapshot.site.scopes)))
    storage_w = _storage(snapshot)
    scopes, meter_fresh = _scopes(snapshot, memory.scopes, it_w, storage_w, dt_s)
    risen_w = np.maximum(it_w - storage_w - scopes.it_at_w, 0.0)  # a fall of overhead counts once it is measured
    overhead_w = scopes.overhead_w + overhead_rise(snapshot, scopes) * risen_w
    draw_w = it_w + np.maximum(overhead_w, 0.0) - storage_w
    idle_w = _fixed(snapshot, gpu_w, fresh, leaf)
    known = Estimate(
        gpu_w,
        fresh,
        seen.gpus,
        seen.heard,
        seen.draw_w,
        seen.fresh,
        speed,
        size,
        leaf,
        it_w,
        idle_w,
        storage_w,
        draw_w,
        meter_fresh,
    )
    return known, replace(memory, jobs=jobs, gpus=gpus, scopes=scopes, history=known_draws)


def roll_up(snapshot: Snapshot, leaf_w: NDArray[Any]) -> Floats:
    """Sums over every scope with all that lies below it, from sums over the scopes alone."""
    total = leaf_w.astype(float)
    for s in range(len(snapshot.site.scopes) - 1, -1, -1):  # parents come before children, so walk backwards
        parent = snapshot.site.scopes[s].parent
        if parent != NONE:
            total[parent] += total[s]
    return total


def blend(dt_s: float, tau_s: float) -> float:
    """Share of the new in a first-order filter of time constant `tau_s`."""
    return float(-np.expm1(-dt_s / tau_s))


def _elapsed(snapshot: Snapshot, memory: Memory) -> float:
    """Seconds since the tick before; 0 on the first, and at most a minute after a long silence."""
    return 0.0 if np.isnan(memory.now_s) else float(np.clip(snapshot.now_s - memory.now_s, 0.0, 60.0))


def _believe(snapshot: Snapshot, before: GpusMemory) -> tuple[Bools, GpusMemory]:
    """Which cards' readings are readings, and what to remember to tell a frozen one."""
    power_w, cards = snapshot.gpus.power_w, snapshot.site.gpus
    known = len(before.power_w) == len(power_w)
    same = (power_w == before.power_w) if known else np.zeros(len(power_w), bool)
    since_s = np.where(same, before.since_s, snapshot.now_s) if known else np.full(len(power_w), snapshot.now_s)
    busy = _running(snapshot)
    idle_w = np.array([m.idle_w for m in snapshot.site.models])[cards.model]
    sane = (power_w >= 0) & (power_w <= ABSURD_FRAC * cards.max_cap_w) & (snapshot.gpus.age_s <= STALE_S)
    frozen = busy & (snapshot.now_s - since_s >= FROZEN_S)
    dead = busy & (power_w < 0.25 * idle_w)  # a card that works and draws nothing has lost its sensor
    return sane & ~frozen & ~dead, GpusMemory(power_w, since_s)


def _running(snapshot: Snapshot) -> Bools:
    job = snapshot.gpus.job
    running = snapshot.jobs.state == JobState.RUNNING
    return (job != NONE) & np.append(running, False)[job]


def _counted(snapshot: Snapshot, fresh: Bools) -> Floats:
    """Every card's draw; a card that cannot be believed counts at its cap, the most it may lawfully draw."""
    cap_w = np.where(np.isnan(snapshot.gpus.cap_w), snapshot.site.gpus.max_cap_w, snapshot.gpus.cap_w)
    return np.where(fresh, snapshot.gpus.power_w, cap_w)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Columns of jobs: cards in hand and those of them that are heard, mean draw and mean cap of a card, and whether
    all of its readings are believed."""

    gpus: Floats
    heard: Floats
    draw_w: Floats
    cap_w: Floats
    fresh: Bools


def _jobs(snapshot: Snapshot, gpu_w: Floats, fresh: Bools) -> _Seen:
    n = len(snapshot.jobs.id)
    held = snapshot.gpus.job != NONE
    job = snapshot.gpus.job[held]
    cards = np.bincount(job, minlength=n).astype(float)
    some = np.maximum(cards, 1.0)
    caps = np.where(np.isnan(snapshot.gpus.cap_w), snapshot.site.gpus.max_cap_w, snapshot.gpus.cap_w)
    draw_w = np.bincount(job, gpu_w[held], n) / some
    cap_w = np.bincount(job, caps[held], n) / some
    heard = np.bincount(job, fresh[held], n).astype(float)
    return _Seen(cards, heard, draw_w, cap_w, (cards > 0) & (heard == cards))


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
    running = (snapshot.jobs.state == JobState.RUNNING) & seen.fresh
    own_w = seen.draw_w / sizes[:, 0]
    cap_w = seen.cap_w / sizes[:, 0]
    rated_w = np.array([m.rated_w for m in snapshot.site.models])[snapshot.jobs.model]
    free = (cap_w >= ABOVE_FRAC * jobs.full_w) | (own_w < BITES_FRAC * cap_w) | (seen.cap_w >= rated_w - 0.5)
    settled = snapshot.now_s - snapshot.jobs.since_s >= SETTLED_S
    first = running & free & settled & (jobs.ran_s == 0.0)  # what is measured replaces what was foretold at once
    full_w = np.where(first, own_w, jobs.full_w)
    full_w = _toward(full_w, own_w, running & (own_w > full_w), dt_s, FULL_UP_S)
    full_w = _toward(full_w, own_w, running & free & settled & (own_w < full_w), dt_s, FULL_DOWN_S)
    need_w = np.where((running & ~free) | first, full_w, jobs.need_w)
    need_w = _toward(need_w, own_w, running & free & settled, dt_s, NEED_TAU_S)
    need_w = np.where(running & (own_w > WAKING_FRAC * need_w), full_w, need_w)
    need_w = np.where(running & (own_w > need_w), own_w, need_w)
    track = _toward(jobs.track_frac, own_w / np.maximum(cap_w, 1.0), running & ~free, dt_s, 20.0)
    prior = prior_speed(snapshot.jobs, snapshot.site)
    told = np.where(running & ~free, snapshot.jobs.speed_frac / sizes[:, 1], np.nan)
    shape, var = jobs.shape, jobs.shape_var
    if not np.all(np.isnan(told)):
        shape, var = curves.learn(shape, var, prior, np.minimum(own_w / full_w, 1.0), told, 0.03)
    speed = prior if not np.any(shape) else curves.shaped(prior, shape)
    band = max(s.budget.spec.band.transient_percent for s in snapshot.site.scopes)
    least_track = 1.0 / (1.0 + band / 100.0)  # what a cap may lie above the draw that is counted for it
    learned = replace(
        jobs, full_w=full_w, need_w=np.minimum(need_w, full_w), track_frac=np.clip(track, least_track, 1.0),
        shape=shape, shape_var=var, ran_s=jobs.ran_s + np.where(running & settled, dt_s, 0.0),
    )  # fmt: skip
    return learned, size, speed


def _toward(column: Floats, target: Floats, where: Bools, dt_s: float, tau_s: float) -> Floats:
    """A first-order step of a column toward its target, only `where`."""
    return np.where(where, column + blend(dt_s, tau_s) * (target - column), column)


def _storage(snapshot: Snapshot) -> Floats:
    """What the batteries give, by scope; positive when they discharge."""
    given_w = np.zeros(len(snapshot.site.scopes))
    for unit, state in zip(snapshot.site.storages, snapshot.storages, strict=True):
        given_w[unit.scope] += state.power_w if np.isfinite(state.power_w) else 0.0
    return roll_up(snapshot, given_w)


def _scopes(
    snapshot: Snapshot, memory: ScopesMemory, it_w: Floats, storage_w: Floats, dt_s: float
) -> tuple[ScopesMemory, Bools]:
    """Learn the overhead of every scope that has a meter: what the feed gives, and the battery, beyond the cards."""
    nodes, count = snapshot.site.nodes, len(snapshot.site.scopes)
    configured_w = roll_up(snapshot, np.bincount(nodes.scope, nodes.overhead_w, count))
    before = memory if len(memory.trim_w) == count else _begun(it_w, configured_w, storage_w)
    fresh = np.array([not scope.budget.spec.meters for scope in snapshot.site.scopes], bool)
    overhead_w, slow_w, mean_w = before.overhead_w.copy(), before.it_slow_w.copy(), before.mean_w.copy()
    at_w, rise = before.it_at_w.copy(), overhead_rise(snapshot, before)
    line = np.array([before.it_mean_w, before.it_var, before.overhead_mean_w, before.overhead_cov])
    for s in range(count):
        readings = [r for r in snapshot.meters if r.scope == s]
        window_s = max((r.window_s for r in readings), default=1.0)
        lag_s = max((r.age_s for r in readings), default=0.0) + 0.5 * window_s
        behind_w = it_w[s] - storage_w[s]
        slow_w[s] += blend(dt_s, max(lag_s, 0.5)) * (behind_w - slow_w[s])
        believed = [r.power_w for r in readings if _plausible(r, snapshot, slow_w[s])]
        fresh[s] |= bool(believed)
        if believed and abs(behind_w - slow_w[s]) < STEADY_FRAC * max(behind_w, 1.0):
            overhead_w[s] += blend(dt_s, OVERHEAD_TAU_S) * (max(believed) - slow_w[s] - overhead_w[s])
            at_w[s] += blend(dt_s, OVERHEAD_TAU_S) * (slow_w[s] - at_w[s])
            line[:, s] = _followed(line[:, s], slow_w[s], max(believed) - slow_w[s], blend(dt_s, LINE_TAU_S))
        overhead_w[s] = max(overhead_w[s], 0.0)
        held_s = snapshot.site.scopes[s].budget.spec.band.window_seconds or window_s
        mean_w[s] += blend(dt_s, max(held_s, 1.0)) * (
            behind_w + overhead_w[s] + rise[s] * max(behind_w - at_w[s], 0.0) - mean_w[s]
        )
    after = replace(before, overhead_w=overhead_w, it_slow_w=slow_w, it_at_w=at_w, mean_w=mean_w)
    means = {"it_mean_w": line[0], "it_var": line[1], "overhead_mean_w": line[2], "overhead_cov": line[3]}
    return replace(after, **means), fresh


def _followed(line: Floats, it_w: float, overhead_w: float, share: float) -> Floats:
    """Running mean and variance of IT, mean of overhead, and their covariance, after one more pair."""
    it_off_w, off_w = it_w - line[0], overhead_w - line[2]
    return line + share * np.array([it_off_w, it_off_w**2 - line[1], off_w, it_off_w * off_w - line[3]])


def overhead_rise(snapshot: Snapshot, scopes: ScopesMemory) -> Floats:
    """By how much overhead rises with a watt of IT: learned, from a start on the high side; 0 to 0.5.

    Without a meter nothing is learned, and overhead is what was configured.
    """
    metered = np.array([bool(s.budget.spec.meters) for s in snapshot.site.scopes])
    trust = (0.03 * np.maximum(scopes.it_mean_w, 1.0)) ** 2  # a spread of 3 % of IT weighs as much as the start
    line = (scopes.overhead_cov + trust * START_RISE) / (scopes.it_var + trust)
    return np.where(metered, np.clip(line, 0.0, 0.5), 0.0)


def _begun(it_w: Floats, overhead_w: Floats, storage_w: Floats) -> ScopesMemory:
    """The memory of scopes that were never seen: overhead as configured, no limit known yet."""
    nothing, behind_w = np.zeros(len(it_w)), it_w - storage_w
    unknown = nothing + np.nan
    return ScopesMemory(
        allowed_w=nothing + np.inf,
        overhead_w=overhead_w,
        it_slow_w=behind_w,
        it_at_w=behind_w,
        it_mean_w=behind_w,
        it_var=nothing,
        overhead_mean_w=overhead_w,
        overhead_cov=nothing,
        mean_w=behind_w + overhead_w,
        over_var=nothing,
        trim_w=nothing,
        aim_w=unknown,
        late_aim_w=unknown,
        short_w=nothing,
    )


def _plausible(reading: Reading, snapshot: Snapshot, it_w: float) -> bool:
    """A meter counts while it is fresh, in its own range, and agrees with the cards behind it."""
    specs = {m.name: m for m in snapshot.site.scopes[reading.scope].budget.spec.meters}
    spec = specs.get(reading.meter)
    stale_s = spec.stale_seconds + spec.delay_seconds if spec else 10.0
    limit_w = snapshot.site.scopes[reading.scope].budget.spec.limit_watts
    top_w = spec.max_watts if spec and spec.max_watts else 2.0 * limit_w
    bottom_w = spec.min_watts if spec else 0.0
    return reading.age_s <= stale_s and bottom_w <= reading.power_w <= top_w and reading.power_w >= 0.9 * it_w


def fixed_cards(snapshot: Snapshot, fresh: Bools) -> Bools:
    """Cards whose draw no lever moves: those without running work, and those that are not heard."""
    return ~_running(snapshot) | ~fresh


def _fixed(snapshot: Snapshot, gpu_w: Floats, fresh: Bools, leaf: Ints) -> Floats:
    """Draw that no lever moves, by scope: of cards that run no job, and of those that are not heard."""
    rest = fixed_cards(snapshot, fresh)
    return roll_up(snapshot, np.bincount(leaf[rest], gpu_w[rest], len(snapshot.site.scopes)))
