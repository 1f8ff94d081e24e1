"""The columns that levers see, made from a snapshot, what is believed of it, and what is remembered."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat

import numpy as np

from wattlease.core import curves
from wattlease.core.columns import own_share, size_table, terms_table
from wattlease.core.estimate import Estimate
from wattlease.core.limits import Bound
from wattlease.core.memory import Memory
from wattlease.core.model import Bools, Floats, Ints, JobState, Prices, Snapshot
from wattlease.core.offers import Kind, View
from wattlease.core.pools import ready_frac
from wattlease.core.sites import model_table

FEW_JOBS = 2000
MANY_LEVELS = np.arange(len(curves.GRID) - 2, -1, -1)
FEW_LEVELS = np.array([13, 11, 9, 7, 5, 1])
"""Indices of the curves' grid. With thousands of jobs the sum is smooth however coarse each job's own levels are."""

SHORTEST_S, LONGEST_S, UNKNOWN_S = 60.0, 4 * 3600.0, 900.0
"""A shortage counts as at least a minute, at most four hours; and as a quarter of an hour where no end is known."""

DEBT_HOURS = 24.0
"""An owner who is owed this many hours of a job's worth counts double for that job, and never more."""

AGING_S = 86_400.0
"""A job that has waited for this long counts double in the queue, so that none starves."""


@dataclass(frozen=True, slots=True)
class Intent:
    """Columns of jobs: whether a job may not change its state yet, whether it was told to and has not done so, and
    what it does (or was told to do, where that is pending)."""

    dwelling: Bools
    pending: Bools
    kind: Ints
    size: Ints


def intents(snapshot: Snapshot, known: Estimate, memory: Memory) -> Intent:
    """What each job was told last, for as long as it may not be told otherwise."""
    state, dwell = snapshot.jobs.state, snapshot.site.scopes[0].budget.spec.dwell
    paused, running = state == int(JobState.PAUSED), state == int(JobState.RUNNING)
    kind = np.where(paused, int(Kind.PAUSE), np.where(state == int(JobState.HELD), int(Kind.WAIT), int(Kind.RUN)))
    wait_s = np.where(paused | running, float(dwell.begun_seconds), float(dwell.hold_seconds))
    told = memory.jobs
    dwelling = snapshot.now_s - told.changed_s < wait_s
    if not dwelling.any():
        return Intent(dwelling, dwelling, kind, known.size)
    other = (told.meant_kind != kind) | ((told.meant_kind == int(Kind.RUN)) & (told.meant_size != known.size))
    # who was told to wait and was started all the same runs, and who was told to pause and is queued again waits
    still = np.where(paused | running, int(Kind.PAUSE), int(Kind.WAIT))
    pending = dwelling & other & ((told.meant_kind == int(Kind.RUN)) | (told.meant_kind == still))
    pending &= (told.meant_kind != int(Kind.RUN)) | _is_there(snapshot, told.meant_size)
    return Intent(
        dwelling,
        pending,
        np.where(pending, told.meant_kind, kind).astype(np.int64),
        np.where(pending, told.meant_size, known.size).astype(np.int64),
    )


def _is_there(snapshot: Snapshot, size: Floats) -> Bools:
    """Whether a job's terms still know a size: their owner may have taken it from them since."""
    table = size_table(snapshot.site.terms)
    known = np.nan_to_num(size, nan=0.0).astype(np.int64)
    found: Bools = known < table.shape[1]
    found &= ~np.isnan(table[snapshot.jobs.terms, np.minimum(known, table.shape[1] - 1), 0])
    return found


@dataclass(frozen=True, slots=True)
class Horizon:
    """How long the shortage lasts, in hours, and what energy costs meanwhile, money per Wh."""

    hours: float
    energy_per_wh: float


def horizon(snapshot: Snapshot, bounds: tuple[Bound, ...]) -> Horizon:
    """The length of the shortage that binds soonest, and the price of energy with its carbon now."""
    ends = [b.shortage_s for b in bounds if np.isfinite(b.shortage_s)]
    seconds = float(np.clip(min(ends, default=UNKNOWN_S), SHORTEST_S, LONGEST_S))
    return Horizon(seconds / 3600.0, energy_price(snapshot) / 1000.0)


def energy_price(snapshot: Snapshot) -> float:
    """Money for a kWh now: the price with its carbon, from the feed's prices, else the first budget's tariff."""
    tariff = snapshot.site.scopes[0].budget.spec.tariff
    now = int(np.searchsorted(snapshot.prices.at_s, snapshot.now_s, side="right")) - 1
    per_kwh = _at(snapshot.prices.energy_per_kwh, now, tariff.price_per_kilowatt_hour, snapshot.prices)
    grams = _at(snapshot.prices.carbon_g_per_kwh, now, tariff.carbon_grams_per_kilowatt_hour, snapshot.prices)
    return per_kwh + grams * tariff.carbon_price_per_tonne / 1e6


def _at(column: Floats, now: int, fallback: float, prices: Prices) -> float:
    known = 0 <= now < len(column) and np.isfinite(column[now])
    return float(column[now]) if known else fallback


def view(
    snapshot: Snapshot, known: Estimate, memory: Memory, intent: Intent, ahead: Horizon, counts_limits: bool
) -> View:
    """Spell every job's row out."""
    site, jobs = snapshot.site, snapshot.jobs
    table = terms_table(site.terms)
    models = model_table(site.models)
    rated_w, min_cap_w = models.rated_w[jobs.model], models.min_cap_w[jobs.model]
    running = jobs.state == int(JobState.RUNNING)
    share = own_share(jobs, site, np.where(running, known.job_gpus, 0.0))
    gpus = np.where(running & (known.job_gpus > 0), known.job_heard / share, jobs.gpus)
    floor_frac = table.floor_frac[jobs.terms]
    return View(
        state=jobs.state,
        off=~running,
        kind=intent.kind,
        pending=intent.pending,
        gpus=gpus.astype(float),
        own_share=share,
        ready_frac=ready_frac(snapshot, known),
        need_w=np.where(running, memory.jobs.need_w, memory.jobs.full_w),
        floor_w=curves.draw_for(known.speed, floor_frac) * memory.jobs.full_w,
        track_frac=memory.jobs.track_frac,
        idle_w=min_cap_w if counts_limits else models.idle_w[jobs.model],
        min_cap_w=min_cap_w,
        max_cap_w=rated_w,
        rated_w=rated_w,
        speed=known.speed,
        size=intent.size,
        sizes=size_table(site.terms)[jobs.terms],
        worth_per_h=_worth_per_h(snapshot, memory, table.worth_per_gpu_h[jobs.terms] * jobs.gpus),
        floor_frac=floor_frac,
        pausable=table.pausable[jobs.terms],
        stoppable=table.stoppable[jobs.terms],
        protected=table.protected[jobs.terms],
        lost_s=jobs.checkpoint_age_s,
        restart_s=table.restart_s[jobs.terms],
        hours=ahead.hours,
        energy_per_wh=ahead.energy_per_wh,
        floor_cost=-np.inf if site.scopes[0].budget.spec.tariff.cap_for_price else 0.0,
        counts_limits=counts_limits,
        gone=False,
        levels=MANY_LEVELS if len(jobs.id) <= FEW_JOBS else FEW_LEVELS,
    )


def _worth_per_h(snapshot: Snapshot, memory: Memory, worth: Floats) -> Floats:
    """What an hour of each whole job is worth: more by what its owner is owed, and by how long it has waited."""
    jobs = snapshot.jobs
    if memory.debts:
        owed = np.fromiter(map(memory.debts.get, jobs.owner, repeat(0.0)), float, len(jobs.owner))
        worth = worth * (1.0 + np.minimum(np.maximum(owed / (DEBT_HOURS * np.maximum(worth, 1e-9)), 0.0), 1.0))
    held = jobs.state == int(JobState.HELD)
    if held.any():
        waited_s = np.where(held, snapshot.now_s - jobs.submitted_s, 0.0)
        worth = worth * (1.0 + np.minimum(np.maximum(waited_s / AGING_S, 0.0), 1.0))
    return worth
