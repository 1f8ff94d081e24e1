"""Fewer GPUs for the pods of a Job: it is suspended, changed and resumed; and its own number comes back the same way.

From 1.36 on Kubernetes lets the resources of a suspended Job's template be changed (KEP-5440), once the Job's
controller has seen the suspension and none of its pods is active.

Rule 1: the number that was there before stands on the Job for as long as ours holds, and is what is given back.
Rule 2: a number that somebody else has written since is theirs.
Rule 3: what the API server refuses is not asked for again soon; the Job is resumed with the GPUs that it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from wattlease.core.model import JobState, Terms, Variant
from wattlease.runtime.lease.clock import Now
from wattlease_operator.api import Trouble
from wattlease_operator.gathering import KubeJob
from wattlease_operator.kinds import KIND
from wattlease_operator.suspend import kept, let_go, suspend
from wattlease_operator.words import GPUS_BEFORE, GPUS_NOW, PAUSED_BY, US, Holder, Work, save_s
from wattlease_operator.writes import Disown, Steps, Write, owning

REFUSED_S = 21_600.0
"""A Job of which the API server refused the change is not suspended for another for so long; no Job is where it said
that the field cannot be changed at all, as servers before 1.36 do."""

IMMUTABLE = "field is immutable"
"""The words of an API server for a field that nobody may change."""

FIELDS = ("spec", "template", "spec", "containers")


def why_refused(trouble: Trouble) -> str:
    """For people: the API server's own words are about a whole template."""
    if IMMUTABLE in trouble.text:
        return "this API server lets nobody change the template of a suspended Job; Kubernetes does from 1.36 on"
    return str(trouble)


def own_gpus(job: KubeJob) -> int:
    """How many GPUs each of its pods has by its owner's word, 0 where nobody may change that."""
    holder = job.work.holder if job.work and job.resizable else None
    return (job.shrunk_from or holder.gpus) if holder else 0


def least_gpus(job: KubeJob) -> int:
    """How many GPUs each of its pods has now if we took some, else may be left with; 0 where it keeps its own."""
    if job.work is None or job.work.holder is None or not job.resizable:
        return 0
    least = job.work.holder.gpus if job.shrunk_from else job.work.least_gpus
    return least if least < own_gpus(job) else 0


def smaller(job: KubeJob, terms: Terms) -> Variant | None:
    """The Job on fewer GPUs as the core weighs it, by as much slower as it has fewer. None where it has none to spare,
    or could not go on from a checkpoint.

    No step of the terms, which costs nothing to come to and keeps the job's cards: a variant has a number of its own.
    """
    least = least_gpus(job)
    saves_s = save_s(job.annotations) or terms.checkpoint_every_s / 2.0
    if not least or not saves_s:
        return None
    share = least / own_gpus(job)
    return Variant(named(job), share, share, 1.0, terms.restart_s + saves_s, share)


def named(job: KubeJob) -> str:
    """What running so is called."""
    return f"{least_gpus(job)} of {own_gpus(job)} GPUs a pod"


def resize(job: KubeJob, gpus: int, now_s: float) -> tuple[Write, ...]:
    """The writes that bring each of its pods to so many GPUs; none where they have those, or something is awaited."""
    work = job.work
    if work is None or work.holder is None or not job.resizable:
        return ()
    if not work.suspended:
        return suspend(job, JobState.PAUSED, now_s) if work.holder.gpus != gpus else ()
    if not work.paused_by_us:
        return ()
    if work.holder.gpus == gpus:
        return (let_go(work),)
    return _changed(work, work.holder, gpus) if work.emptied and not job.placed else ()


def resizes(job: KubeJob, gpus: int) -> bool:
    """Whether it is still on its way to so many GPUs for each of its pods."""
    work = job.work
    if work is None or work.holder is None or not job.resizable:
        return False
    return work.paused_by_us or (work.holder.gpus != gpus and not work.suspended)


def _changed(work: Work, holder: Holder, gpus: int) -> tuple[Write, ...]:
    """The marks that say what was there, before the change; then the change, and the resumption."""
    before = work.gpus_before or holder.gpus
    marks = {GPUS_BEFORE: str(before), GPUS_NOW: str(gpus)} if gpus != before else {}
    rest = {name: word for name, word in work.annotations.items() if name not in (GPUS_BEFORE, GPUS_NOW)}
    tests, replaced = tuple(_tests(work, holder)), tuple(_replaced(holder, gpus))
    changed = Steps(work.ref, (*tests, *replaced))
    resumed = let_go(replace(work, holder=replace(holder, gpus=gpus), annotations=rest | marks))
    if not marks:
        return (changed, resumed, Disown(work.ref, "Update"))
    paused = {**kept(work), **marks, PAUSED_BY: US}
    marked = owning(work.ref, paused, KIND[work.kind].suspend, True)
    return (Steps(work.ref, tests), marked, changed, resumed)  # who resumed it meanwhile is not overruled by the marks


def _tests(work: Work, holder: Holder) -> Iterator[Mapping[str, Any]]:
    """Somebody may have resumed it, or written another number or container, since it was seen: these fail then."""
    yield {"op": "test", "path": "/" + "/".join(KIND[work.kind].suspend), "value": True}
    yield {"op": "test", "path": f"{_path(holder)}/name", "value": holder.name}
    for path in _numbers(holder):
        yield {"op": "test", "path": path, "value": str(holder.gpus)}


def _replaced(holder: Holder, gpus: int) -> Iterator[Mapping[str, Any]]:
    return ({"op": "replace", "path": path, "value": str(gpus)} for path in _numbers(holder))


def _numbers(holder: Holder) -> Iterator[str]:
    name = holder.resource.replace("~", "~0").replace("/", "~1")
    return (f"{_path(holder)}/resources/{kind}/{name}" for kind in holder.written)


def _path(holder: Holder) -> str:
    return "/" + "/".join((*FIELDS, str(holder.place)))


class Refusals:
    """Which Jobs are not to be suspended for a change that the API server would refuse again."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._until_s: dict[str, float] = {}
        self._all_until_s = float("-inf")

    def take(self, job: str, trouble: Trouble) -> None:
        """A change of this Job was refused."""
        until_s = self._now() + REFUSED_S
        self._until_s = {name: s for name, s in self._until_s.items() if s > self._now()} | {job: until_s}
        if IMMUTABLE in trouble.text:
            self._all_until_s = until_s

    def hold(self, job: str) -> bool:
        """Whether it is one of them."""
        return self._now() < max(self._until_s.get(job, float("-inf")), self._all_until_s)

    def among(self, jobs: Iterable[KubeJob]) -> frozenset[str]:
        """Those of these Jobs, by id."""
        if not self._until_s:
            return frozenset()
        return frozenset(job.id for job in jobs if job.resizable and self.hold(job.id))
