"""The first half of a tick: what is drawn, what must hold, and what is left for jobs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattlease.core.assign import shares
from wattlease.core.estimate import Estimate, elapsed_s, estimate
from wattlease.core.limits import Bound, bounds
from wattlease.core.memory import Memory
from wattlease.core.model import Floats, JobState, Snapshot
from wattlease.core.offers import View
from wattlease.core.sites import roll_up, site_table
from wattlease.core.storing import Stores, stores
from wattlease.core.tracking import Aim, aims
from wattlease.core.view import Horizon, Intent, horizon, intents, view


@dataclass(frozen=True, slots=True)
class Tick:
    """Everything that the steps of one tick share; `room_w` is what each scope has for its jobs now, `ramp_room_w` what
    the ramp alone would leave them: by that it is chosen who runs, for a release holds caps back and nobody's start.
    `silent_w` is what work on cards that are not heard had, beyond what they count for: others may draw it meanwhile,
    but who starts on it would keep it."""

    snapshot: Snapshot
    known: Estimate
    bounds: tuple[Bound, ...]
    aim: Aim
    ahead: Horizon
    intent: Intent
    view: View
    stores: Stores
    share: Floats
    room_w: Floats
    ramp_room_w: Floats
    silent_w: Floats


def assess(snapshot: Snapshot, memory: Memory, *, promises_known: bool = True) -> tuple[Tick, Memory]:
    """Believe, learn, and reckon what each scope has left for its jobs.

    Where not all promises are known, they count as all that the ramp lets through.
    """
    dt_s = elapsed_s(snapshot, memory)
    known, memory = estimate(snapshot, memory)
    bound, limits_memory = bounds(snapshot, known.draw_w, memory.limits)
    counts_limits = bool(site_table(snapshot.site).counts_limits.any())
    ahead, intent, share = horizon(snapshot, bound), intents(snapshot, known, memory), shares(snapshot, known)
    seen = view(snapshot, known, memory, intent, ahead, counts_limits)
    idle_w = _idle_w(snapshot, known, counts_limits)
    promised_w = seen.promised_w() @ share[: len(seen.off)] + idle_w + known.overhead_w
    promised_w = promised_w if promises_known else np.full(len(promised_w), np.inf)
    aim, scopes = aims(snapshot, known, bound, promised_w, memory.scopes, dt_s)
    memory = replace(memory, limits=limits_memory, scopes=scopes)
    stored, memory = stores(snapshot, known, bound, memory)
    room_w = aim.jobs_w - idle_w + stored.help_w
    ramp_room_w = room_w + (aim.ramp_w - aim.allowed_w) / (1.0 + known.rise)
    silent_w = _silent_w(snapshot, known, seen, memory)
    return Tick(snapshot, known, bound, aim, ahead, intent, seen, stored, share, room_w, ramp_room_w, silent_w), memory


def _idle_w(snapshot: Snapshot, known: Estimate, counts_limits: bool) -> Floats:
    """What cards without work count for: their draw, or with limits at face value the least limit they take; and what
    cards that are not heard may draw."""
    if not counts_limits:
        return known.idle_w
    idle = known.fixed
    counted_w = np.where(known.gpu_fresh, snapshot.site.gpus.min_cap_w, known.gpu_w)[idle]
    return roll_up(snapshot.site, np.bincount(known.leaf[idle], counted_w, len(snapshot.site.scopes)))


def _silent_w(snapshot: Snapshot, known: Estimate, seen: View, memory: Memory) -> Floats:
    """What work counted for on cards that are not heard any more, beyond what these count for."""
    silent = known.fixed & np.append(snapshot.jobs.state == int(JobState.RUNNING), False)[snapshot.gpus.job]
    if not silent.any():
        return np.zeros(len(snapshot.site.scopes))
    had_w = np.append(np.fmin(seen.counted_w(seen.need_w), seen.held_w(memory.jobs.cap_w)), 0.0)
    lost_w = np.maximum(had_w[snapshot.gpus.job] - known.gpu_w, 0.0)[silent]
    return roll_up(snapshot.site, np.bincount(known.leaf[silent], lost_w, len(snapshot.site.scopes)))


def first_fall_s(bound: Bound, allowed_w: float) -> float:
    """When the limit falls below `allowed_w`, unix seconds; infinity if it does not within the horizon."""
    lower = np.flatnonzero(bound.ahead_w < allowed_w - 1.0)
    return float(bound.ahead_t_s[lower[0]]) if len(lower) else np.inf
