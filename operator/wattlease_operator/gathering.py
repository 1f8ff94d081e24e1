"""From the cache to jobs: each top object with all the pods that are its own, and what queues or scales it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from wattlease_operator.bodies import check_of, pod_of, queue_workload_of, scaler_of, work_of
from wattlease_operator.cache import Body, Cache, Ref, Resource
from wattlease_operator.kinds import (
    CHECKS,
    HPAS,
    KIND,
    KINDS,
    PODS,
    SCALED_OBJECTS,
    SERVICES,
    STARTERS,
    WORKLOADS,
    Kind,
)
from wattlease_operator.parsed import Parsed
from wattlease_operator.words import (
    CARDS,
    AdmissionCheck,
    Cards,
    Owner,
    Pod,
    QueueWorkload,
    Scaler,
    Work,
)

Top = tuple[str, str, str]
"""Kind, namespace and name."""

_Made = tuple[Work | None, tuple[Pod, ...], QueueWorkload | None, frozenset[str], Scaler | None, int]
"""Of what a job is made."""

MOST_OWNERS = 8
"""Longer chains of owners are someone's mistake."""


@dataclass(frozen=True, slots=True)
class StandIns:
    """While services change their models: whose pods count as whose (`tops`), whose sleep and hold cards that nobody
    uses, and how many cards a job holds with its own model."""

    tops: Mapping[Top, Top] = field(default_factory=dict)
    asleep: frozenset[Top] = frozenset()
    gpus: Mapping[Top, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KubeJob:
    """One job of the core.

    Of its pods `alive` wait, run or terminate, and `placed` are those on a node. `gpus` is what it holds, or would hold
    once it runs, at its own size. `check` names our AdmissionCheck among those that its workload waits for.
    """

    top: Top
    work: Work | None = None
    alive: tuple[Pod, ...] = ()
    placed: tuple[Pod, ...] = ()
    gpus: int = 0
    queue: QueueWorkload | None = None
    check: str = ""
    scaler: Scaler | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`namespace/name` of a Job, `kind/namespace/name` of all others."""
        kind, namespace, name = self.top
        return f"{namespace}/{name}" if kind == "Job" else f"{kind.lower()}/{namespace}/{name}"

    @property
    def kind(self) -> str:
        """Its kind."""
        return self.top[0]

    @property
    def namespace(self) -> str:
        """Its namespace: the owner, as far as the core asks."""
        return self.top[1]

    @property
    def name(self) -> str:
        """Its name without what tells one run from the next, where the cluster has made that up."""
        return self.work.stem if self.work else self.top[2]

    @property
    def priority(self) -> int:
        """As Kueue or the scheduler counts."""
        return self.queue.priority if self.queue else max((pod.priority for pod in self.alive), default=0)

    @property
    def created_s(self) -> float:
        """Unix seconds."""
        return self.work.created_s if self.work else min((pod.created_s for pod in self.alive), default=0.0)

    @property
    def started_s(self) -> float:
        """When the first of its pods was made, unix seconds."""
        return min((pod.created_s for pod in self.placed), default=self.created_s)

    @property
    def managed(self) -> bool:
        """Kueue suspends and resumes it, and nobody else does."""
        return self.queue is not None or bool(self.work and self.work.queue)

    @property
    def check_state(self) -> str:
        """What our AdmissionCheck says, empty where there is none."""
        checks = self.queue.checks if self.queue and self.check else ()
        return next((c.state for c in checks if c.name == self.check), "")

    @property
    def suspendable(self) -> bool:
        """Its own switch is ours to turn: nobody made it who would turn it back, and Kueue has no part in it."""
        return self.work is not None and not self.managed and _left_alone(self.work)

    @property
    def pausable(self) -> bool:
        """Something can take its pods away and bring them back."""
        return self.suspendable or bool(self.check)

    @property
    def resizable(self) -> bool:
        """It may be suspended to have the GPUs of its pods changed."""
        work = self.work
        ours = work is not None and self.suspendable and not work.ended and not work.resumed_by_others
        return ours and work is not None and work.holder is not None

    @property
    def shrunk_from(self) -> int:
        """How many GPUs each of its pods had before we took some that we can give back, 0 where there are none such."""
        return self.work.gpus_before if self.work and self.resizable else 0


class Gathering:
    """The jobs of a cluster, gathered anew when anything that they are made of has changed."""

    def __init__(self, cache: Cache, cards: Cards = CARDS) -> None:
        self._pods = Parsed(cache, PODS, partial(pod_of, cards=cards))
        self._works = [Parsed(cache, kind.resource, partial(_work, kind, cards)) for kind in KINDS]
        self._queue = Parsed(cache, WORKLOADS, queue_workload_of)
        self._checks = Parsed(cache, CHECKS, check_of)
        self._scalers = [Parsed(cache, resource, scaler_of) for resource in (HPAS, SCALED_OBJECTS)]
        self._seen: tuple[object, ...] = ()
        self._made: dict[Top, tuple[_Made, KubeJob]] = {}
        self._jobs: Mapping[str, KubeJob] = {}
        self._stand_ins = StandIns()

    def stand_in(self, stand_ins: StandIns) -> None:
        """Count pods so from now on."""
        if stand_ins != self._stand_ins:
            self._stand_ins, self._seen = stand_ins, ()

    def jobs(self) -> Mapping[str, KubeJob]:
        """By id; the same object as before where nothing changed."""
        sources: tuple[Callable[[], object], ...] = (
            self._pods,
            *self._works,
            self._queue,
            self._checks,
            *self._scalers,
        )
        seen = tuple(source() for source in sources)
        if len(seen) != len(self._seen) or any(a is not b for a, b in zip(seen, self._seen, strict=True)):
            self._seen, self._jobs = seen, {job.id: job for job in self._gather()}
        return self._jobs

    @property
    def checks(self) -> tuple[AdmissionCheck, ...]:
        """Our AdmissionChecks."""
        return tuple(check for check in self._checks().values() if check.ours)

    @property
    def asking(self) -> frozenset[Ref]:
        """Kueue's workloads that wait for our word and for nothing before it."""
        ours = self._ours()
        return frozenset(
            w.ref
            for w in self._queue().values()
            if w.reserved and any(c.name in ours and c.state == "Pending" for c in w.checks)
        )

    @property
    def strangers(self) -> tuple[KubeJob, ...]:
        """What Kueue queues for nobody, or for objects of kinds that are not known here, by its own workloads.

        An object of a known kind that is not there is only not told of yet.
        """
        known, ours = {job.top for job in self.jobs().values()}, self._ours()
        tops = ((w, (w.owner.kind, w.ref.namespace, w.owner.name) if w.owner else None) for w in self._queue().values())
        return tuple(
            KubeJob(("Workload", w.ref.namespace, w.ref.name), queue=w, check=_check_of(w, ours))
            for w, top in tops
            if not w.finished and (top is None or (top[0] not in KIND and top not in known))
        )

    def _ours(self) -> frozenset[str]:
        return frozenset(check.ref.name for check in self.checks)

    @property
    def scalers(self) -> tuple[Scaler, ...]:
        """Autoscalers; those that KEDA made for itself are KEDA's."""
        found = (scaler for source in self._scalers for scaler in source().values())
        return tuple(s for s in found if s.owner is None or s.owner.kind != "ScaledObject")

    def _gather(self) -> Iterable[KubeJob]:
        works = {(w.kind, w.ref.namespace, w.ref.name): w for source in self._works for w in source().values()}
        pods = self._pods()
        mine: dict[Top, list[Pod]] = {}
        instead: list[tuple[Top, Pod]] = []
        for pod in pods.values():
            top = top_of(pod, works, pods)
            if top in self._stand_ins.tops:
                instead.append((self._stand_ins.tops[top], pod))
            if top not in self._stand_ins.tops and top not in self._stand_ins.asleep:
                mine.setdefault(top, []).append(pod)
        for top, pod in instead:  # after a job's own pods, whose words come first
            mine.setdefault(top, []).append(pod)
        queued = _by_owner(self._queue().values())
        ours = self._ours()
        scaled = {(s.target[0], s.ref.namespace, s.target[1]): s for s in self.scalers}
        made, self._made = self._made, {}
        for top in {**mine, **{top: None for top, w in works.items() if _is_top(w, works)}}:
            own = self._stand_ins.gpus.get(top, 0)
            parts = works.get(top), tuple(mine.get(top, ())), queued.get(top), ours, scaled.get(top), own
            kept = made.get(top)
            self._made[top] = kept if kept and _same(kept[0], parts) else (parts, _job(top, *parts))
            yield self._made[top][1]


def top_of(pod: Pod, works: Mapping[Top, Work], pods: Mapping[tuple[str, str], Pod]) -> Top:
    """Whose pod it is: up its owners for as long as they are known kinds; a bare pod is its own."""
    here: Top = ("Pod", pod.ref.namespace, pod.ref.name)
    owner = pod.owner
    for _ in range(MOST_OWNERS):
        above = _above(owner, pod.ref.namespace, here)
        if above is None:
            return here
        here = above
        owner = works[here].owner if here in works else _owner_of_pod(here, pods)
    return here


def _above(owner: Owner | None, namespace: str, here: Top) -> Top | None:
    """The owner as a top, unless what is here stands by itself already."""
    if owner is None or not owner.name:
        return None
    known = owner.kind in KIND or owner.kind == "Pod"
    return (owner.kind, namespace, owner.name) if known or here[0] == "Pod" else None


def _owner_of_pod(here: Top, pods: Mapping[tuple[str, str], Pod]) -> Owner | None:
    """A driver pod's owner, for the executors that it owns."""
    pod = pods.get(here[1:]) if here[0] == "Pod" else None
    return pod.owner if pod else None


def _is_top(work: Work, works: Mapping[Top, Work]) -> bool:
    owner = work.owner
    return owner is None or (owner.kind, work.ref.namespace, owner.name) not in works


def _same(made: _Made, parts: _Made) -> bool:
    """Whether two are the same objects: a job that nothing happened to stays the same value."""
    same_pods = len(made[1]) == len(parts[1]) and all(a is b for a, b in zip(made[1], parts[1], strict=True))
    return same_pods and made[0] is parts[0] and made[2] is parts[2] and made[3] == parts[3] and made[4:] == parts[4:]


def _job(
    top: Top,
    work: Work | None,
    pods: tuple[Pod, ...],
    queue: QueueWorkload | None,
    ours: frozenset[str],
    scaler: Scaler | None,
    own_gpus: int,
) -> KubeJob:
    labels: dict[str, str] = dict(work.labels) if work else {}
    annotations: dict[str, str] = dict(work.annotations) if work else {}
    for pod in pods:
        labels, annotations = {**pod.labels, **labels}, {**pod.annotations, **annotations}
    alive = tuple(sorted((pod for pod in pods if not pod.over), key=lambda pod: pod.ref.name))
    placed = tuple(pod for pod in alive if pod.placed)
    held = sum(pod.gpus for pod in alive)
    job = KubeJob(
        top=top,
        work=work,
        alive=alive,
        placed=placed,
        gpus=own_gpus or (held if placed or work is None else max(held, work.gpus)),
        queue=queue,
        check=_check_of(queue, ours),
        scaler=scaler if top[0] in SERVICES else None,
        labels=labels,
        annotations=annotations,
    )
    return replace(job, gpus=_with_its_own(job)) if job.shrunk_from else job


def _with_its_own(job: KubeJob) -> int:
    """The cards that it would hold had we not taken some."""
    holder = job.work.holder if job.work else None
    return job.gpus * job.shrunk_from // holder.gpus if holder else job.gpus


def _check_of(queue: QueueWorkload | None, ours: frozenset[str]) -> str:
    return next((c.name for c in queue.checks if c.name in ours), "") if queue else ""


def _by_owner(workloads: Iterable[QueueWorkload]) -> dict[Top, QueueWorkload]:
    """The unfinished workload of each object; of several, as while it is resized, one that has its quota."""
    found: dict[Top, QueueWorkload] = {}
    for workload in sorted(workloads, key=lambda w: (w.reserved, w.ref.name)):
        if workload.owner and not workload.finished:
            found[workload.owner.kind, workload.ref.namespace, workload.owner.name] = workload
    return found


def _work(kind: Kind, cards: Cards, _: Resource, body: Body) -> Work:
    return work_of(kind, body, cards)


def _left_alone(work: Work) -> bool:
    return work.owner is None or work.owner.kind in STARTERS
