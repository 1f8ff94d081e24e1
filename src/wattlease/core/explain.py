"""The sentence for each action and each job's present state: one text for events, logs, comments and the page."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wattlease.core.actions import (
    Action,
    Cap,
    Charge,
    Discharge,
    Downsize,
    Hold,
    Pause,
    Plan,
    Release,
    Restore,
    Resume,
    ScopePlan,
)  # fmt: skip
from wattlease.core.model import JobState, Snapshot


@dataclass(frozen=True, slots=True)
class Facts:
    """Numbers of one job that a sentence may name; `ahead` is how many jobs stand before it in the queue."""

    draw_w: float = 0.0
    free_w: float = 0.0
    lost_s: float = 0.0
    speed_frac: float = 1.0
    ahead: int = 0


def watts(value_w: float) -> str:
    """Watts as a person says them: 870 W, 5.6 kW, 1.25 MW."""
    size = abs(value_w)
    if size < 999.5:
        return f"{value_w:.0f} W"
    if size < 999_500:
        return f"{value_w / 1e3:.{1 if size < 99_950 else 0}f} kW"
    return f"{value_w / 1e6:.2f} MW"


def span(seconds: float) -> str:
    """A length of time as a person says it: 40 s, 12 min, 2.5 h; nothing is known to be lost where it is NaN."""
    if math.isnan(seconds) or seconds < 90:
        return f"{0.0 if math.isnan(seconds) else seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def under(scope: ScopePlan) -> str:
    """What binds, in words: "under rack r2's 120 kW (breaker)"."""
    return f"under {scope.scope}'s {watts(scope.limit_w)} ({scope.source})"


def sentence(action: Action, scope: ScopePlan, facts: Facts) -> str:
    """Why an action is taken; `scope` is the one that binds."""
    match action:
        case Pause(job):
            return (
                f"paused: {job} drew {watts(facts.draw_w)}, {under(scope)} this frees a watt at the least harm; "
                f"it loses {span(facts.lost_s)} of work"
            )
        case Resume(job):
            return f"resumed: {watts(facts.draw_w)} for {job} fit {under(scope)} again"
        case Release(job):
            return f"released: {job} needs {watts(facts.draw_w)}, {watts(facts.free_w)} were left {under(scope)}"
        case Hold(job):
            return held(job, scope, facts)
        case Downsize(job, batch_frac, variant):
            what = variant or f"{batch_frac:.0%} of its batch"
            return f"downsized: {job} runs with {what} and keeps {facts.speed_frac:.0%}, {under(scope)}"
        case Restore(job):
            return f"restored: {job} runs at its own size again, {watts(facts.draw_w)} fit {under(scope)}"
        case Discharge(storage, power_w):
            return f"{storage} gives {watts(power_w)}, {under(scope)}"
        case Charge(storage, power_w):
            return f"{storage} takes {watts(power_w)}, {under(scope)}"
        case Cap(job, cap_w):
            return f"capped: {job} at {watts(cap_w)} a GPU, keeps {facts.speed_frac:.0%}, {under(scope)}"


def held(job: str, scope: ScopePlan, facts: Facts) -> str:
    """Why a job waits for watts."""
    ahead = f", {facts.ahead} jobs ahead" if facts.ahead else ""
    return f"held: {job} needs {watts(facts.draw_w)}, {watts(facts.free_w)} left {under(scope)}{ahead}"


def job(snapshot: Snapshot, plan: Plan, j: int, full_w: float = math.nan) -> str:
    """What a job is told now: how it runs or why it does not.

    `full_w` is what the whole job would draw if nothing held it; where it is not known its cards' rated power counts.
    """
    jobs, scope = snapshot.jobs, tightest(plan.scopes)
    name, state = jobs.id[j], JobState(int(jobs.state[j]))
    waits = state == JobState.HELD
    rated_w = snapshot.site.models[int(jobs.model[j])].rated_w
    needs_w = rated_w * float(jobs.gpus[j]) if math.isnan(full_w) else full_w
    ahead = int((jobs.rank[jobs.state == JobState.HELD] < jobs.rank[j]).sum()) if waits else 0
    facts = Facts(
        needs_w if waits else float(plan.job_w[j]),
        scope.free_w,
        speed_frac=float(plan.speed_frac[j]),
        ahead=ahead,
    )
    acted = next(
        (why for action, why in zip(plan.actions, plan.why, strict=True) if getattr(action, "job", "") == name), ""
    )
    if acted:
        return acted
    if state == JobState.HELD:
        return _waits(name, scope, facts)
    if state == JobState.PAUSED:
        return f"paused: waits until its watts fit {under(scope)}"
    if state == JobState.RELEASED:
        return f"released: starts when its scheduler finds {int(jobs.gpus[j])} GPUs"
    if plan.speed_frac[j] < 0.9995 and plan.cap_w[j] < rated_w - 0.5:
        return f"capped at {watts(plan.cap_w[j])} a GPU, keeps {plan.speed_frac[j]:.1%}, {under(scope)}"
    return f"runs at full power, {watts(facts.draw_w)}"


def _waits(name: str, scope: ScopePlan, facts: Facts) -> str:
    """Watts are named as the cause only where they are: a queue with power to spare waits for GPUs."""
    if scope.state in ("shedding", "over", "releasing", "blind", "preparing"):
        return held(name, scope, facts)
    ahead = f", {facts.ahead} jobs ahead" if facts.ahead else ""
    return f"waits for GPUs{ahead}; {watts(facts.free_w)} are free {under(scope)}"


def tightest(scopes: tuple[ScopePlan, ...]) -> ScopePlan:
    """The scope with the least left, as a share of its limit."""
    return min(scopes, key=lambda s: ((s.limit_w - s.planned_w) / max(s.limit_w, 1.0), s.scope))
