"""Scheduling gates: a pod made with the gate `wattlease.io/power` waits, and is no autoscaler's business, until its
job is let go. All gates of a job fall together, since a job that has half its pods holds cards and does nothing."""

from __future__ import annotations

from collections.abc import Iterator

from wattlease.core.model import JobState
from wattlease_operator.gathering import KubeJob
from wattlease_operator.words import GATE, Pod
from wattlease_operator.writes import Steps, Write


def ungate(job: KubeJob, wanted: JobState) -> tuple[Write, ...]:
    """The removal of our gate from each pod that has it. A gate cannot be put back: what was let go stays so."""
    if wanted not in (JobState.RELEASED, JobState.RUNNING):
        return ()
    return tuple(_removals(job))


def _removals(job: KubeJob) -> Iterator[Write]:
    return (_removal(pod, pod.gates.index(GATE)) for pod in job.alive if GATE in pod.gates and not pod.terminating)


def _removal(pod: Pod, i: int) -> Write:
    """Others may have removed theirs meanwhile: the test fails then, and the next look finds the place."""
    here = f"/spec/schedulingGates/{i}"
    return Steps(pod.ref, ({"op": "test", "path": f"{here}/name", "value": GATE}, {"op": "remove", "path": here}))
