"""What batteries are meant to do in this tick: the plan of the day, what holds the month's peak, and what may be taken
from them on top."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattlease.core.estimate import Estimate
from wattlease.core.limits import Bound, help_w
from wattlease.core.memory import Memory
from wattlease.core.model import NONE, Floats, Snapshot
from wattlease.core.peak_guard import guarded_w
from wattlease.core.storage_outlook import able, outlook
from wattlease.core.storage_plan import StoragePlan, plan_storage

REPLAN_S = 300.0


@dataclass(frozen=True, slots=True)
class Stores:
    """Columns of batteries: what the plan gives and takes now, and what each could sustain beyond that. `help_w` is all
    that they could give, by scope: the fit counts what they do not give as load."""

    discharge_w: Floats
    charge_w: Floats
    more_w: Floats
    help_w: Floats


def stores(snapshot: Snapshot, known: Estimate, bounds: tuple[Bound, ...], memory: Memory) -> tuple[Stores, Memory]:
    """Renew the plan of the day when it is due, and read the set points of this tick from it."""
    site = snapshot.site
    due = len(memory.storage_plans) != len(site.storages) or not snapshot.now_s - memory.storage_planned_s < REPLAN_S
    if site.storages and due:
        plans = tuple(_planned(snapshot, u, known, bounds[unit.scope], memory) for u, unit in enumerate(site.storages))
        memory = replace(memory, storage_plans=plans, storage_planned_s=snapshot.now_s - snapshot.now_s % REPLAN_S)
    most_w = np.array([help_w(u, s) for u, s in zip(site.storages, snapshot.storages, strict=True)], float)
    planned_w = np.array([plan.at(snapshot.now_s) for plan in memory.storage_plans], float)
    takes_w = [able(u, s).max_charge_w for u, s in zip(site.storages, snapshot.storages, strict=True)]
    planned_w = np.maximum(planned_w, -np.array(takes_w, float))
    load_w = known.draw_w + known.storage_w
    power_w = guarded_w(snapshot, load_w, planned_w, most_w, memory)
    discharge_w = np.clip(power_w, 0.0, most_w)
    return Stores(discharge_w, np.maximum(-power_w, 0.0), most_w - discharge_w, to_scopes(snapshot, most_w)), memory


def to_scopes(snapshot: Snapshot, power_w: Floats) -> Floats:
    """A battery's power helps its own scope and all above it."""
    helped_w = np.zeros(len(snapshot.site.scopes))
    for unit, watts in zip(snapshot.site.storages, power_w.tolist(), strict=True):
        s = unit.scope
        while s != NONE:
            helped_w[s] += watts
            s = snapshot.site.scopes[s].parent
    return helped_w


def set_points_w(snapshot: Snapshot, stored: Stores, given_w: Floats, left_w: Floats) -> Floats:
    """Each battery's set point, positive when it discharges; it is charged only from what is left in every scope above
    it. `given_w` is what each gives, `left_w` what is left by scope."""
    power_w, left_w, batteries = given_w.copy(), np.maximum(left_w, 0.0), np.arange(len(given_w))
    for u in np.flatnonzero((given_w < 1.0) & (stored.charge_w > 0.0)):
        above = to_scopes(snapshot, (batteries == u).astype(float)) > 0.0
        power_w[u] = -min(float(stored.charge_w[u]), float(left_w[above].min()))
        left_w = left_w + np.where(above, power_w[u], 0.0)
    return power_w


def _planned(snapshot: Snapshot, u: int, known: Estimate, bound: Bound, memory: Memory) -> StoragePlan:
    """The plan of one battery for the next day."""
    unit, state = snapshot.site.storages[u], snapshot.storages[u]
    return plan_storage(able(unit, state), state.soc_frac, outlook(snapshot, unit, known, bound, memory))
