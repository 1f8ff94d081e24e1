"""Suspending by an object's own switch: held before it begins, let go, paused after a checkpoint, resumed.

Rule 1: who suspended it is written on the object, in the same write. What we did not suspend we do not resume.
Rule 2: resuming is letting go of what we own. The API server then drops the switch, unless somebody else has turned it
too; a user's own suspension stands.
"""

from __future__ import annotations

import math

from wattlease.core.model import JobState
from wattlease_operator.gathering import KubeJob
from wattlease_operator.kinds import KIND
from wattlease_operator.reading import moment_text
from wattlease_operator.words import (
    CHECKPOINT_ASKED,
    GPUS_BEFORE,
    GPUS_NOW,
    HELD_BY,
    LEFT_ALONE,
    PAUSED_BY,
    RELEASED_AT,
    US,
    Work,
    asked_s,
    save_s,
    saved_s,
)
from wattlease_operator.writes import Write, owning


def suspend(job: KubeJob, wanted: JobState, now_s: float) -> tuple[Write, ...]:
    """The writes that bring a job which is ours to suspend to a state; none where it is there, or not ours."""
    work = job.work
    if work is None or not job.suspendable or work.ended:
        return ()
    match wanted:
        case JobState.PAUSED if not work.suspended and not work.resumed_by_others:
            return _pause(job, work, now_s)
        case JobState.HELD if not work.suspended and not job.placed and not work.resumed_by_others:
            return (_switch(work, {**shrunk(work), HELD_BY: US}, True),)
        case JobState.RUNNING if work.paused_by_us:
            return (let_go(work),)
        case JobState.RELEASED if work.held_by_us:
            return (_switch(work, {**shrunk(work), RELEASED_AT: moment_text(now_s)}, False),)
    return ()


def saves(job: KubeJob, now_s: float) -> bool:
    """Whether a job that was asked for a checkpoint may still be at it; never longer than it said that it takes."""
    asked = asked_s(job.annotations)
    if math.isnan(asked):
        return False
    done = max((s for pod in job.alive if not math.isnan(s := saved_s(pod.annotations))), default=-math.inf)
    own = saved_s(job.annotations)
    return max(done, own if not math.isnan(own) else done) < asked and 0.0 <= now_s - asked < save_s(job.annotations)


def asked(job: KubeJob) -> bool:
    """Whether it was asked, or need not be as it never said that it can save itself."""
    return save_s(job.annotations) <= 0.0 or not math.isnan(asked_s(job.annotations))


def _pause(job: KubeJob, work: Work, now_s: float) -> tuple[Write, ...]:
    """First asked to save itself, then suspended once it has, or has had the time."""
    if not asked(job):
        return (owning(work.ref, {**kept(work), CHECKPOINT_ASKED: moment_text(now_s)}, *_held_open(work)),)
    if saves(job, now_s):
        return ()
    told = {name: word for name in (CHECKPOINT_ASKED,) if (word := work.annotations.get(name))}
    return (_switch(work, {**kept(work), **told, PAUSED_BY: US}, True),)


def let_go(work: Work) -> Write:
    """Resume it. Of a job that was held at birth the switch stays ours: whoever made it wrote that it is to be
    suspended."""
    return _switch(work, kept(work), False) if RELEASED_AT in work.annotations else owning(work.ref, shrunk(work))


def overruled(job: KubeJob) -> bool:
    """Whether someone resumed what we had paused, and nobody has written that down yet."""
    return job.work is not None and job.suspendable and job.work.to_be_left_alone


def left_alone(job: KubeJob) -> tuple[Write, ...]:
    """Write down that someone resumed what we had paused, so that his next suspension is not taken for ours."""
    work = job.work
    if work is None or not overruled(job):
        return ()
    return (owning(work.ref, {**kept(work), LEFT_ALONE: "true"}),)


def recalled(job: KubeJob) -> tuple[Write, ...]:
    """Take back the request for a checkpoint from a job that is not to be paused after all, and marks of GPUs that are
    not as we left them."""
    work = job.work
    if work is None or work.suspended:
        return ()
    marked = GPUS_BEFORE in work.annotations and not work.gpus_before
    if CHECKPOINT_ASKED not in work.annotations and not marked:
        return ()
    return (owning(work.ref, kept(work), *_held_open(work)),)


def kept(work: Work) -> dict[str, str]:
    """What goes on being ours from one state to the next."""
    names = (RELEASED_AT, LEFT_ALONE)
    return shrunk(work) | {name: word for name in names if (word := work.annotations.get(name))}


def shrunk(work: Work) -> dict[str, str]:
    """How many GPUs each of its pods had and has, where we took some."""
    return {name: work.annotations[name] for name in (GPUS_BEFORE, GPUS_NOW)} if work.gpus_before else {}


def _held_open(work: Work) -> tuple[tuple[str, ...], bool] | tuple[()]:
    """The switch of a job that we let go, which must stay as it is while other fields become ours."""
    return (KIND[work.kind].suspend, False) if RELEASED_AT in work.annotations else ()


def _switch(work: Work, annotations: dict[str, str], value: bool) -> Write:
    return owning(work.ref, annotations, KIND[work.kind].suspend, value)
