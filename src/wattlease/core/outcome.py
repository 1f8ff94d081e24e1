"""From the chosen points to a plan: caps, grants, and the actions that change something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wattlease.core.actions import Action, Charge, Discharge, Downsize, Hold, Pause, Release, Restore, Resume
from wattlease.core.assign import Assigned, Table
from wattlease.core.columns import terms_table
from wattlease.core.model import NONE, Bools, Floats, Ints, JobState, Snapshot
from wattlease.core.offers import Kind, Tier, View
from wattlease.core.sites import site_table


@dataclass(frozen=True, slots=True)
class Outcome:
    """Columns of jobs under the plan. `cap_w` and `draw_w` are of one GPU, `watts_w` counts for the whole job."""

    kind: Ints
    size: Ints
    whole: Bools
    watts_w: Floats
    draw_w: Floats
    cap_w: Floats
    speed_frac: Floats
    cost_per_h: Floats


def outcome(view: View, offered: Table, chosen: Assigned) -> Outcome:
    """Read the chosen points as columns, every cap as low as its point needs it."""
    n = offered.jobs
    column, watts_w = chosen.column[:n], chosen.watts_w[:n]
    at = (column, np.arange(n))
    kind, size = offered.kinds[column], offered.sizes[column]
    runs = kind == int(Kind.RUN)
    first = ~offered.points.chain[column]
    whole = runs & first & (np.abs(watts_w - offered.points.watts_w[at]) < 1e-6)
    cards = np.maximum(view.gpus * view.ready_frac, 1.0 / 64)
    left_frac = view.left_frac(view.sizes[at[1], size, 3])
    counted_w = watts_w / cards - np.where(runs, view.idle_w * left_frac, 0.0)
    draw_w = np.where(whole, offered.draw_w[at], counted_w * view.track_frac if view.counts_limits else counted_w)
    cap_w = counted_w if view.counts_limits else counted_w / view.track_frac
    if not view.counts_limits:  # a job in a lull wakes to what its contract needs
        kept = offered.points.tier[at] < int(Tier.BREACH)
        cap_w = np.where(kept, np.maximum(cap_w, view.floor_w / view.track_frac), cap_w)
    cap_w = np.where(whole, view.alone_w(draw_w), cap_w)
    counted = runs & (view.ready_frac >= 1.0)  # a job whose watts are still others' begins at the lowest cap
    cap_w = np.where(counted, np.minimum(np.maximum(cap_w, view.min_cap_w), view.max_cap_w), view.min_cap_w)
    cap_w = np.where(view.own_share == 1.0, cap_w, np.minimum(cap_w / view.own_share, view.max_cap_w))
    speed = _speed(offered, column, draw_w, whole)
    lost = np.minimum(np.maximum(1.0 - speed, 0.0), 1.0)
    cost_per_h = np.where(kind == int(Kind.WAIT), 0.0, view.worth_per_h * lost)
    return Outcome(kind, size, whole, watts_w, draw_w, cap_w, speed, cost_per_h)


def relaxed(view: View, bare: Outcome, spare_frac: Floats) -> Floats:
    """The caps, those of jobs that are left alone raised by their share of the slack that there is room for."""
    slack_w = np.where(bare.whole & (view.ready_frac >= 1.0), view.max_cap_w - bare.cap_w, 0.0)
    return bare.cap_w + slack_w * spare_frac


def _speed(offered: Table, column: Ints, draw_w: Floats, whole: Bools) -> Floats:
    """Speed x quality kept, between two levels where the point was blended."""
    rows = np.arange(len(column))
    blended = offered.points.chain[column] & ~whole
    kept = offered.speed_frac[column, rows]
    low, up = np.flatnonzero(blended), np.maximum(column - 1, 0)
    if not len(low):
        return kept
    low_w, high_w = offered.draw_w[column[low], low], offered.draw_w[up[low], low]
    rise = high_w > low_w
    share = np.where(rise, (draw_w[low] - low_w) / np.where(rise, high_w - low_w, 1.0), 0.0)
    more = offered.speed_frac[up[low], low] - kept[low]
    kept[low] += np.minimum(np.maximum(share, 0.0), 1.0) * more
    return kept


def changes(snapshot: Snapshot, view: View, result: Outcome) -> Iterator[tuple[int, Action]]:
    """The actions on jobs whose state changes, with the job's index."""
    state, running = view.state, ~view.off
    runs, paused = result.kind == int(Kind.RUN), result.kind == int(Kind.PAUSE)
    still = (state == int(JobState.PAUSED)) | (state == int(JobState.HELD))
    changed = running & (paused | (runs & (result.size != view.size)))
    changed |= (still & runs) | ((state == int(JobState.RELEASED)) & ~runs & ~paused)
    for j in np.flatnonzero(changed & ~view.pending):  # what was told already is not told again while it is under way
        yield int(j), _change(snapshot, int(j), JobState(int(state[j])), Kind(int(result.kind[j])), int(result.size[j]))


def _change(snapshot: Snapshot, j: int, state: JobState, kind: Kind, size: int) -> Action:
    job = snapshot.jobs.id[j]
    if state == JobState.RUNNING:
        return Pause(job) if kind == Kind.PAUSE else _resize(snapshot, j, size)
    if state == JobState.PAUSED:
        return Resume(job)
    return Release(job) if kind == Kind.RUN else Hold(job)


def _resize(snapshot: Snapshot, j: int, size: int) -> Action:
    job, terms = snapshot.jobs.id[j], snapshot.site.terms[int(snapshot.jobs.terms[j])]
    if size == 0:
        return Restore(job)
    step = size - 1
    if step < len(terms.steps):
        return Downsize(job, terms.steps[step].batch_frac, "")
    return Downsize(job, 1.0, terms.variants[step - terms_table(snapshot.site.terms).steps].name)


def storage_actions(snapshot: Snapshot, power_w: Floats) -> Iterator[Action]:
    """A set point for every battery that can be set, renewed each tick: a controller that dies leaves it idle."""
    for unit, state, watts in zip(snapshot.site.storages, snapshot.storages, power_w.tolist(), strict=True):
        if state.available:
            yield Discharge(unit.id, watts) if watts >= 0 else Charge(unit.id, -watts)


def spare(snapshot: Snapshot, room_w: Floats, slack_w: Floats) -> Floats:
    """For each scope the share of its cards' slack that fits in the room left over, no more than its parents'."""
    share = np.clip(np.divide(room_w, slack_w, out=np.ones_like(room_w), where=slack_w > 0), 0.0, 1.0)
    for s, scope in enumerate(snapshot.site.scopes):
        if scope.parent != NONE:
            share[s] = min(share[s], share[scope.parent])
    return share


def gpu_caps(snapshot: Snapshot, cap_w: Floats, spare_frac: Floats | None = None) -> Floats:
    """A cap for every card: its job's, or for an idle card the least of its range plus its share of what is spare."""
    cards, job = snapshot.site.gpus, snapshot.gpus.job
    caps_w = np.minimum(np.maximum(np.append(cap_w, 0.0)[job], cards.min_cap_w), cards.max_cap_w)
    if spare_frac is not None:
        idle = np.flatnonzero(job == NONE)
        low_w = cards.min_cap_w[idle]
        share = spare_frac[site_table(snapshot.site).leaf[idle]]
        caps_w[idle] = low_w + share * (cards.max_cap_w[idle] - low_w)
    return caps_w
