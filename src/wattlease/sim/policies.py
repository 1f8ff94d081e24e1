"""Who steers a run: Wattlease, or what sites do today. Every policy has the shape of `decide`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from wattlease.core.actions import Action, Plan, Release, ScopePlan
from wattlease.core.decide import decide
from wattlease.core.memory import Memory
from wattlease.core.model import NONE, Bools, Floats, JobState, Snapshot

Policy = Callable[[Snapshot, Memory], tuple[Plan, Memory]]


def no_control(snapshot: Snapshot, memory: Memory) -> tuple[Plan, Memory]:
    """Every job starts when it finds cards, and no card is limited."""
    full_w = _rated(snapshot)
    return _plain(snapshot, full_w, _waiting(snapshot), "no control"), memory


def uniform_cap(snapshot: Snapshot, memory: Memory) -> tuple[Plan, Memory]:
    """Every job starts; one cap for all cards, so low that all at it, with all nodes' overhead, fit the limit."""
    site = snapshot.site
    room_w = _limit_w(snapshot) - float(site.nodes.overhead_w.sum() * _overhead_rise(snapshot))
    share = np.clip(room_w / float(site.gpus.max_cap_w.sum()), 0.0, 1.0)
    cap_w = np.maximum(_rated(snapshot) * share, _least(snapshot))
    return _plain(snapshot, cap_w, _waiting(snapshot), "uniform"), memory


def nameplate(snapshot: Snapshot, memory: Memory) -> tuple[Plan, Memory]:
    """A job starts only while the nameplates of all cards in use, with their share of the node, fit the limit."""
    site, jobs = snapshot.site, snapshot.jobs
    per_gpu_w = float(site.nodes.nameplate_w.sum()) / len(site.gpus.node)
    in_use = int((snapshot.gpus.job != NONE).sum()) + int(jobs.gpus[jobs.state == JobState.RELEASED].sum())
    left = int(_limit_w(snapshot) / per_gpu_w) - in_use
    starts = np.zeros(len(jobs.id), bool)
    for j in np.flatnonzero(_waiting(snapshot)):
        if jobs.gpus[j] <= left:
            starts[j] = True
            left -= int(jobs.gpus[j])
    return _plain(snapshot, _rated(snapshot), starts, "nameplate"), memory


POLICIES: Mapping[str, Policy] = {
    "none": no_control,
    "uniform": uniform_cap,
    "nameplate": nameplate,
    "wattlease": decide,
}


def _overhead_rise(snapshot: Snapshot) -> float:
    """Overhead at full load against the configured floor: what nameplate leaves beside rated cards, at most."""
    site = snapshot.site
    at_full_w = float((site.nodes.nameplate_w).sum() - site.gpus.max_cap_w.sum())
    floor_w = float(site.nodes.overhead_w.sum())
    return max(at_full_w / floor_w, 1.0) if floor_w > 0 else 0.0


def _limit_w(snapshot: Snapshot) -> float:
    """The lowest limit at the root that holds now."""
    windows = [w.limit_w for w in snapshot.windows if w.scope == 0 and w.start_s <= snapshot.now_s < w.end_s]
    return min([float(snapshot.site.scopes[0].budget.spec.limit_watts), *windows])


def _waiting(snapshot: Snapshot) -> Bools:
    return snapshot.jobs.state == JobState.HELD


def _rated(snapshot: Snapshot) -> Floats:
    return np.array([m.rated_w for m in snapshot.site.models])[snapshot.jobs.model]


def _least(snapshot: Snapshot) -> Floats:
    return np.array([m.min_cap_w for m in snapshot.site.models])[snapshot.jobs.model]


def _plain(snapshot: Snapshot, cap_w: Floats, starts: Bools, name: str) -> Plan:
    """A plan of caps and releases; every node may draw its nameplate."""
    jobs, limit_w = snapshot.jobs, _limit_w(snapshot)
    actions: tuple[Action, ...] = tuple(Release(jobs.id[j]) for j in np.flatnonzero(starts))
    draw_w = float(np.nansum(snapshot.gpus.power_w))
    ones = np.ones(len(jobs.id))
    return Plan(
        now_s=snapshot.now_s,
        actions=actions,
        why=tuple(f"released: {name}" for _ in actions),
        scopes=(ScopePlan(snapshot.site.scopes[0].id, limit_w, name, name, draw_w, draw_w, "within"),),
        cap_w=cap_w,
        job_w=cap_w * jobs.gpus,
        speed_frac=ones,
        cost_per_h=0 * ones,
        grant_w=snapshot.site.nodes.nameplate_w,
        spare_frac=np.ones(len(snapshot.site.scopes)),
    )
