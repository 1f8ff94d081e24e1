"""Kueue's AdmissionCheck as queue and as pause.

Rule 1: shortage is `Retry`, never `Rejected`, which would deactivate the workload until its user notices.
Rule 2: a `Retry` always says after how long; without that Kueue would try again at once and for ever.
Rule 3: of a workload only our own entry among its checks is written, and the annotation that says that we paused it.
"""

from __future__ import annotations

from wattlease.core.model import JobState
from wattlease_operator.gathering import KubeJob
from wattlease_operator.reading import moment_text
from wattlease_operator.suspend import asked, saves
from wattlease_operator.words import CHECKPOINT_ASKED, PAUSED_BY, US, AdmissionCheck, QueueWorkload
from wattlease_operator.writes import Apply, Write, owning

RETRY_S = 5
"""Kueue leaves an admitted workload running for up to this long before it evicts it (seen on 0.19.2)."""


def admit(job: KubeJob, wanted: JobState, now_s: float) -> tuple[Write, ...]:
    """The writes that bring a job which waits for our check to a state; none where it is there, or on its way."""
    queue = job.queue
    if queue is None or not job.check:
        return ()
    state = job.check_state
    match wanted:
        case JobState.PAUSED if state == "Ready":
            return _pause(job, queue, now_s)
        case JobState.HELD if state == "Ready" and not job.placed:
            return (_check(job, queue, "Retry", "watts are short; the release was taken back", now_s),)
        case JobState.RUNNING | JobState.RELEASED if state == "Pending" and queue.reserved:
            unmarked = (owning(queue.ref, {}),) if queue.paused_by_us else ()
            return (*unmarked, _check(job, queue, "Ready", "there are watts for it", now_s))
        case JobState.RUNNING | JobState.RELEASED if state == "Ready" and queue.paused_by_us:
            return (owning(queue.ref, {}),)
    return ()


def activate(check: AdmissionCheck, now_s: float) -> tuple[Write, ...]:
    """Say that somebody answers for our check: until then every queue that asks for it stands still."""
    if check.active or not check.ours:
        return ()
    active = {
        "type": "Active",
        "status": "True",
        "reason": "Active",
        "message": "wattlease answers for this check",
        "lastTransitionTime": moment_text(now_s),
        "observedGeneration": check.generation,
    }
    return (Apply(check.ref, {"status": {"conditions": [active]}}, "status"),)


def _pause(job: KubeJob, queue: QueueWorkload, now_s: float) -> tuple[Write, ...]:
    if job.work and not asked(job):
        return (owning(job.work.ref, {CHECKPOINT_ASKED: moment_text(now_s)}),)
    if saves(job, now_s):
        return ()
    marked = () if queue.paused_by_us else (owning(queue.ref, {PAUSED_BY: US}),)
    return (*marked, _check(job, queue, "Retry", "watts are short; it is paused until there are enough", now_s))


def _check(job: KubeJob, queue: QueueWorkload, state: str, why: str, now_s: float) -> Write:
    entry: dict[str, object] = {"name": job.check, "state": state, "message": why}
    entry["lastTransitionTime"] = moment_text(now_s)
    if state == "Retry":
        entry["requeueAfterSeconds"] = RETRY_S
    return Apply(queue.ref, {"status": {"admissionChecks": [entry]}}, "status")
