"""From what is wanted to orders: which writes each job still needs, the most urgent first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from wattlease.core.actions import Plan
from wattlease.core.memory import Memory
from wattlease.core.model import JobState, Snapshot
from wattlease_operator.agreements import Agreements
from wattlease_operator.columns import state_of
from wattlease_operator.gates import ungate
from wattlease_operator.gathering import Gathering, KubeJob
from wattlease_operator.intents import Intents
from wattlease_operator.kueue import activate, admit
from wattlease_operator.resizing import own_gpus, resize
from wattlease_operator.scaling import ceilings, raises
from wattlease_operator.suspend import left_alone, recalled, suspend
from wattlease_operator.words import Scaler
from wattlease_operator.writes import Write
from wattlease_operator.yielding import Yielding

AT_EASE = frozenset({"within", "preparing"})
"""States of a site in which what the plan leaves over is free for services to grow."""

RAISE_S = 60.0
"""A ceiling that was moved is not raised sooner: what is left over moves with every tick, and pods start slowly."""


STRANGE_S = 60.0
"""By then the watch has told of the pods that a workload stands for, if they are jobs of their own."""


class Urgency(IntEnum):
    """Less is sooner: what frees watts comes first."""

    PAUSE = 0
    HOLD = 1
    BOUND = 2
    RESUME = 3
    RELEASE = 4
    NOTE = 5


@dataclass(frozen=True, slots=True)
class Order:
    """Writes for one object, to be done one after the other; `what` is the verb for people."""

    about: str
    what: str
    urgency: Urgency
    writes: tuple[Write, ...]


URGENCY = {
    JobState.PAUSED: ("pause", Urgency.PAUSE),
    JobState.HELD: ("hold", Urgency.HOLD),
    JobState.RUNNING: ("resume", Urgency.RESUME),
    JobState.RELEASED: ("release", Urgency.RELEASE),
}


SHRINK, GROW = "shrink", "give back the GPUs of"
"""What is done to a Job whose pods are to have another number of GPUs."""


def lever(job: KubeJob, wanted: JobState, now_s: float) -> tuple[Write, ...]:
    """The writes of the one lever that moves this job."""
    if job.managed:
        return admit(job, wanted, now_s)
    return (*suspend(job, wanted, now_s), *ungate(job, wanted))


def job_orders(jobs: Mapping[str, KubeJob], intents: Intents, now_s: float) -> Iterator[Order]:
    """What each job still needs; one without GPUs, that it waits for nothing of ours."""
    yield from _resize_orders(jobs, intents, now_s)
    for name, wanted in intents.wanted.items():
        if name in jobs and name not in intents.gpus and (writes := lever(jobs[name], wanted, now_s)):
            yield Order(name, *URGENCY[wanted], writes)
    for name, job in jobs.items():
        if name in intents.wanted or name in intents.gpus:
            continue
        if job.gpus == 0 and (writes := lever(job, JobState.RELEASED, now_s)):
            yield Order(name, *URGENCY[JobState.RELEASED], writes)
        elif writes := left_alone(job) or recalled(job):
            yield Order(name, "leave alone", Urgency.NOTE, writes)
        elif state_of(job) == JobState.RUNNING and (writes := ungate(job, JobState.RUNNING)):
            yield Order(name, "release the rest", Urgency.RELEASE, writes)


def _resize_orders(jobs: Mapping[str, KubeJob], intents: Intents, now_s: float) -> Iterator[Order]:
    for name, gpus in intents.gpus.items():
        if name in jobs and (writes := resize(jobs[name], gpus, now_s)):
            grows = gpus == own_gpus(jobs[name])
            yield Order(name, GROW if grows else SHRINK, Urgency.RESUME if grows else Urgency.PAUSE, writes)


def stranger_orders(gathering: Gathering, now_s: float, least_age_s: float = STRANGE_S) -> Iterator[Order]:
    """Our word on workloads of objects of which nobody here knows what they draw: they would wait for ever, and their
    cards' limits hold whatever comes."""
    for job in gathering.strangers:
        old = job.queue is not None and now_s - job.queue.created_s >= least_age_s
        if old and (writes := admit(job, JobState.RELEASED, now_s)):
            yield Order(job.id, *URGENCY[JobState.RELEASED], writes)


def check_orders(gathering: Gathering, now_s: float) -> Iterator[Order]:
    """What our AdmissionChecks need to be asked at all."""
    for check in gathering.checks:
        if writes := activate(check, now_s):
            yield Order(f"admissioncheck/{check.ref.name}", "activate", Urgency.NOTE, writes)


def scaler_orders(
    jobs: Mapping[str, KubeJob],
    intents: Intents,
    agreements: Agreements,
    yielding: Yielding,
    snapshot: Snapshot,
    plan: Plan,
    after: Memory,
) -> Iterator[Order]:
    """How far services may grow: while the site is at ease, into what the plan leaves over; else no further."""
    each_w = dict(zip(after.jobs.id, after.jobs.full_w.tolist(), strict=True))
    services = [
        (job.id, job.scaler, len(job.alive), _replica_w(job, each_w, snapshot))
        for job in jobs.values()
        if job.scaler is not None and job.gpus
    ]
    services = [s for s in services if not _protected(jobs[s[0]], agreements)]
    for name, most in ceilings(services, _room_w(plan)).items():
        if scaler := jobs[name].scaler:
            most = min(most, intents.replicas.get(name, most))
            yield from _bounding(scaler, most, yielding, intents.ceiling_age_s(name, snapshot.now_s))


def _bounding(scaler: Scaler, most: float, yielding: Yielding, age_s: float) -> Iterator[Order]:
    """What holds it to so many, unless it is to be left alone, or was moved just now."""
    more = raises(scaler, most)
    if yielding.yields(scaler):
        what, urgency = "leave alone", Urgency.NOTE
    elif more and age_s < RAISE_S:
        return
    else:
        what, urgency = "bound", Urgency.RELEASE if more else Urgency.BOUND
    if writes := yielding.bound(scaler, most):
        yield Order(_named(scaler), what, urgency, writes)


def orphan_orders(gathering: Gathering, jobs: Mapping[str, KubeJob], yielding: Yielding) -> Iterator[Order]:
    """Ceilings that we lowered for services that hold no GPUs any more go back."""
    bounded = {job.scaler.ref for job in jobs.values() if job.scaler is not None and job.gpus}
    for scaler in gathering.scalers:
        if scaler.ref not in bounded and (writes := yielding.bound(scaler, np.inf)):
            yield Order(_named(scaler), "restore", Urgency.RELEASE, writes)


def _named(scaler: Scaler) -> str:
    return f"{scaler.ref.resource.plural}/{scaler.ref.namespace}/{scaler.ref.name}"


def _protected(job: KubeJob, agreements: Agreements) -> bool:
    return agreements.of(job).protected


def _room_w(plan: Plan) -> float:
    root = plan.scopes[0]
    return root.free_w if root.state in AT_EASE else 0.0


def _replica_w(job: KubeJob, per_gpu_w: Mapping[str, float], snapshot: Snapshot) -> float:
    """Watts of one more replica, at rated power where nothing is known of the service."""
    full_w = per_gpu_w.get(job.id, np.nan)
    if not np.isfinite(full_w):
        full_w = max(model.rated_w for model in snapshot.site.models)
    return full_w * job.gpus / max(len(job.alive), 1)
