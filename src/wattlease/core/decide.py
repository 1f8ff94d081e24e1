"""A tick: what must hold, what is drawn, what could be given up, and the cheapest way to fit.

`decide(snapshot, memory) -> (plan, memory)` has no clock and does no I/O; the same lines run in the operator, in the
Slurm daemon, at the facility, in the simulator and in a replay of last night.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattlease.core import guards
from wattlease.core.actions import Action, Plan, Release, Resume, ScopePlan
from wattlease.core.assign import Assigned, Table
from wattlease.core.choose import caps, not_begun, states
from wattlease.core.explain import Facts, sentence, tightest
from wattlease.core.memory import Memory
from wattlease.core.model import Floats, JobState, Snapshot
from wattlease.core.offers import Kind, View
from wattlease.core.outcome import Outcome, changes, gpu_caps, outcome, relaxed, spare, storage_actions
from wattlease.core.set_back import set_back
from wattlease.core.sites import roll_up, site_table
from wattlease.core.standing import held_back, scope_plans
from wattlease.core.storing import set_points_w, to_scopes
from wattlease.core.tick import Tick, assess
from wattlease.core.tracking import of_it

SLOW_S = 10.0
"""Caps and batteries move every tick; what changes a job's state at most this often, unless caps do not suffice, or
work comes while watts are plenty."""

NEW_SHORTAGE_W = 1.0
"""A shortage that grows by no more than this since the tick before is the same one."""

BREACH_FRAC = 0.02
"""A job that lacks so much of what its contract needs is below it, beyond what its draw wavers by."""

NEW_BREACH_FRAC = 0.01
"""One that lacks so much more of it than in the tick before calls for another choice of states."""

DEBT_HALF_S = 86_400.0


def decide(snapshot: Snapshot, memory: Memory) -> tuple[Plan, Memory]:
    """Decide one tick; `memory` is what the tick before returned, `FRESH` for the first."""
    memory = set_back(memory, snapshot.now_s)
    slow = not snapshot.now_s - memory.slow_s < SLOW_S - 1e-6
    came = _came(snapshot, memory)
    tick, memory = assess(snapshot, memory)
    view = states(tick, memory) if slow else tick.view
    offered, chosen = caps(tick, view, memory)
    lacks = _lacks(view, chosen, memory)
    early = not slow and (_shorter(chosen, memory) or lacks.newly or (came and _plenty(chosen)))
    if early or (lacks.any and not_begun(tick).any()):
        slow, view = True, states(tick, memory, held_again=lacks.any)
        offered, chosen = caps(tick, view, memory)
    plan, result = _plan(tick, view, offered, chosen, memory)
    return plan, _remember(tick, memory, plan, result, chosen, slow)


def _came(snapshot: Snapshot, memory: Memory) -> bool:
    """Whether a job waits that the tick before did not know."""
    jobs = snapshot.jobs
    if jobs.id == memory.jobs.id:
        return False
    held = np.flatnonzero(jobs.state == int(JobState.HELD))
    return not {jobs.id[j] for j in held}.issubset(memory.jobs.id)


def _plenty(chosen: Assigned) -> bool:
    """Whether all have all they want: then who comes takes nothing from anybody by not waiting."""
    return not (chosen.binds.any() or chosen.short_w.any())


def _shorter(chosen: Assigned, memory: Memory) -> bool:
    """Whether caps lack more than the tick before knew of: a job that was told to pause is short until it has."""
    return bool(np.any(chosen.short_w > memory.scopes.short_w + NEW_SHORTAGE_W))


@dataclass(frozen=True, slots=True)
class _Lacks:
    """Whether caps take from any contract what a pause or a wait could give, and whether they newly do."""

    any: bool
    newly: bool


def _lacks(view: View, chosen: Assigned, memory: Memory) -> _Lacks:
    own = (view.kind == int(Kind.RUN)) & (view.size == 0) & ~view.off
    promised_w = np.where(own, view.stands_w(np.minimum(view.floor_w, view.need_w) / view.track_frac), 0.0)
    lacks_w = promised_w - chosen.watts_w[: len(own)]
    lacked_w = np.maximum(promised_w - view.stands_w(np.minimum(memory.jobs.cap_w, view.max_cap_w)), 0.0)
    below = lacks_w > BREACH_FRAC * promised_w
    return _Lacks(bool(below.any()), bool((below & (lacks_w > lacked_w + NEW_BREACH_FRAC * promised_w)).any()))


def _plan(tick: Tick, view: View, offered: Table, chosen: Assigned, memory: Memory) -> tuple[Plan, Outcome]:
    """Spell the choice out as caps, grants and actions, with the room that is left shared among all cards."""
    snapshot, jobs = tick.snapshot, offered.jobs
    drawn_w = (chosen.watts_w[:, None] * tick.share).sum(axis=0)
    left_w = np.maximum(tick.room_w - drawn_w, 0.0)
    given_w = tick.stores.discharge_w + tick.stores.more_w - chosen.watts_w[jobs:]
    bare = outcome(view, offered, chosen)
    spare_frac = spare(snapshot, *_face_value(tick, view, bare, given_w))
    of_job = np.where(tick.share[:jobs] > 0, spare_frac, np.inf).min(axis=1)
    cap_w = relaxed(view, bare, np.where(np.isfinite(of_job), of_job, 0.0))
    result = replace(bare, cap_w=guards.never_raised(cap_w, memory, guards.unheard(tick.known, tick.view)))
    cut = held_back(result) @ tick.share[: len(result.kind)] > 0
    # a moment over the limit is nothing while the mean over the meter's window is under it
    lasting_w = np.fmin(tick.known.draw_w, memory.scopes.mean_w)
    scopes = scope_plans(tick, drawn_w + tick.aim.aim_w - tick.room_w, cut, lasting_w)
    power_w = set_points_w(snapshot, tick.stores, given_w, left_w)
    actions, why = _actions(tick, result, power_w, left_w, tightest(scopes))
    plan = Plan(
        now_s=snapshot.now_s,
        actions=actions,
        why=why,
        scopes=scopes,
        cap_w=result.cap_w,
        job_w=result.draw_w * np.where(result.kind == int(Kind.RUN), tick.view.gpus, 0.0),
        speed_frac=result.speed_frac,
        cost_per_h=result.cost_per_h,
        grant_w=_grants_w(tick, result, spare_frac),
        spare_frac=spare_frac,
    )
    return plan, result


def _face_value(tick: Tick, view: View, bare: Outcome, given_w: Floats) -> tuple[Floats, Floats]:
    """By scope: the room beside the sum of all limits in force, and what it takes to give every card its full limit.

    Whatever work does, limits at face value keep to what is allowed; with a budget that counts draw, to its transient
    band above that.
    """
    snapshot, leaf, table = tick.snapshot, tick.known.leaf, site_table(tick.snapshot.site)
    count, cards = len(table.parent), snapshot.site.gpus
    band = np.where(table.counts_limits, 0.0, table.transient_frac)
    caps_w = gpu_caps(snapshot, bare.cap_w)
    begins = (bare.kind == int(Kind.RUN)) & view.off
    coming_w = np.where(begins, (bare.cap_w - view.min_cap_w) * view.gpus * view.ready_frac, 0.0)
    taken_w = roll_up(snapshot.site, np.bincount(leaf, caps_w, count)) + coming_w @ tick.share[: len(coming_w)]
    help_w = to_scopes(snapshot, given_w)
    room_w = of_it(tick.aim.allowed_w * (1.0 + band) + help_w, tick.known) - taken_w
    free = np.append(bare.whole, True)[snapshot.gpus.job]
    slack_w = np.where(free, np.maximum(cards.max_cap_w - caps_w, 0.0), 0.0)
    return np.maximum(room_w, 0.0), roll_up(snapshot.site, np.bincount(leaf, slack_w, count))


def _grants_w(tick: Tick, result: Outcome, spare_frac: Floats) -> Floats:
    """The most each node may draw: its cards' limits, and its part of what was learned of overhead."""
    snapshot, nodes = tick.snapshot, tick.snapshot.site.nodes
    caps_w = gpu_caps(snapshot, result.cap_w, spare_frac)
    configured_w = np.maximum(site_table(snapshot.site).overhead_w, 1.0)
    learned = (tick.known.overhead_w / configured_w)[nodes.scope]
    return np.bincount(snapshot.site.gpus.node, caps_w, len(nodes.id)) + nodes.overhead_w * learned


def _actions(
    tick: Tick, result: Outcome, power_w: Floats, left_w: Floats, scope: ScopePlan
) -> tuple[tuple[Action, ...], tuple[str, ...]]:
    """The changes, each with its sentence; `scope` is the tightest."""
    snapshot = tick.snapshot
    actions: list[Action] = []
    why: list[str] = []
    for j, action in changes(snapshot, tick.view, result):
        off = isinstance(action, Release | Resume)
        now_w = result.draw_w[j] if off else tick.known.job_draw_w[j]
        facts = Facts(
            draw_w=float(now_w * tick.view.gpus[j]) * (1.0 if off else float(tick.view.own_share[j])),
            free_w=float(left_w.min()) + (float(result.watts_w[j]) if isinstance(action, Release) else 0.0),
            lost_s=float(snapshot.jobs.checkpoint_age_s[j]),
            speed_frac=float(result.speed_frac[j]),
            ahead=int((snapshot.jobs.rank < snapshot.jobs.rank[j]).sum()),
        )
        actions.append(action)
        why.append(sentence(action, scope, facts))
    for action in storage_actions(snapshot, power_w):
        actions.append(action)
        why.append(sentence(action, scope, Facts()))
    return tuple(actions), tuple(why)


def _remember(tick: Tick, memory: Memory, plan: Plan, result: Outcome, chosen: Assigned, slow: bool) -> Memory:
    """What the next tick must know."""
    snapshot = tick.snapshot
    touched = {getattr(a, "job", "") for a in plan.actions}
    changed_s, kind, size = memory.jobs.changed_s, memory.jobs.meant_kind, memory.jobs.meant_size
    if touched:
        acted = np.array([name in touched for name in snapshot.jobs.id], bool)
        changed_s = np.where(acted, snapshot.now_s, changed_s)
        kind, size = np.where(acted, result.kind, kind), np.where(acted, result.size, size)
    jobs = replace(memory.jobs, changed_s=changed_s, meant_kind=kind, meant_size=size, cap_w=result.cap_w)
    aim_w = np.where(chosen.binds, tick.aim.aim_w, np.nan)
    return replace(
        memory,
        now_s=snapshot.now_s,
        slow_s=snapshot.now_s if slow else memory.slow_s,
        jobs=jobs,
        scopes=replace(memory.scopes, aim_w=aim_w, short_w=chosen.short_w),
        debts=_debts(snapshot, memory, result) if slow else memory.debts,
    )


def _debts(snapshot: Snapshot, memory: Memory, result: Outcome) -> dict[str, float]:
    """Money owed to owners for being cut: it decays by half in a day and grows with what the plan costs them."""
    since_s = 0.0 if np.isnan(memory.slow_s) else snapshot.now_s - memory.slow_s
    kept = 0.5 ** (since_s / DEBT_HALF_S)
    debts = {owner: debt * kept for owner, debt in memory.debts.items() if debt * kept > 0.01}
    for j in np.flatnonzero(result.cost_per_h > 0):
        owner = snapshot.jobs.owner[j]
        debts[owner] = debts.get(owner, 0.0) + float(result.cost_per_h[j]) * since_s / 3600.0
    return debts
