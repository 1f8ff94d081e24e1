"""Reads the values of `words` from bodies. Every body is a value, however much of it is missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from wattlease_operator.cache import Body, Ref, Resource
from wattlease_operator.kinds import GPU, JOBS, LEADER_WORKER_SET, Kind, Part
from wattlease_operator.reading import at, conditions, every, holds, maps, moment_s, quantity, text, texts, whole
from wattlease_operator.words import (
    CARDS,
    GATE,
    HELD_BY,
    MAX_BEFORE,
    MAX_NOW,
    OURS,
    PAUSED_BY,
    QUEUE_LABEL,
    SCALE_OUT_PAUSED,
    SHUT_DOWN,
    US,
    WHOLE,
    AdmissionCheck,
    Cards,
    Check,
    Holder,
    KubeNode,
    Owner,
    Pod,
    QueueWorkload,
    Scaler,
    Work,
)


def ref_of(resource: Resource, body: Body) -> Ref:
    """The object that a body is of."""
    meta = at(body, "metadata")
    return Ref(resource, text(at(meta, "namespace")), text(at(meta, "name")), text(at(meta, "uid")))


def owner_of(body: Body) -> Owner | None:
    """Its controller."""
    for owner in maps(at(body, "metadata", "ownerReferences")):
        if owner.get("controller") is True:
            return Owner(text(owner.get("kind")), text(owner.get("name")), text(owner.get("uid")))
    return None


def pod_of(resource: Resource, body: Body, cards: Cards = CARDS) -> Pod:
    """A pod."""
    ref, labels, spec = ref_of(resource, body), texts(at(body, "metadata", "labels")), at(body, "spec")
    return Pod(
        ref=ref,
        owner=_pods_owner(owner_of(body), labels),
        node=text(at(spec, "nodeName")),
        phase=text(at(body, "status", "phase")),
        terminating=bool(text(at(body, "metadata", "deletionTimestamp"))),
        gates=tuple(text(gate.get("name")) for gate in maps(at(spec, "schedulingGates"))),
        gpus=gpus_of(spec, cards),
        priority=whole(at(spec, "priority")),
        created_s=_created_s(body),
        labels=labels,
        annotations=_ours(body),
        product=_product(spec, cards),
    )


def work_of(kind: Kind, body: Body, cards: Cards = CARDS) -> Work:
    """An object of a kind in the table."""
    labels = texts(at(body, "metadata", "labels"))
    ref, parts = ref_of(kind.resource, body), list(_parts(kind, body))
    made = text(at(body, "metadata", "generateName")).rstrip("-")
    return Work(
        ref=ref,
        kind=kind.name,
        owner=owner_of(body),
        suspended=at(body, *kind.suspend) is True,
        ended=any(holds(body, c) for c in kind.ended) or text(at(body, *kind.state)) in kind.ends,
        queue=labels.get(QUEUE_LABEL, ""),
        gpus=sum(_wanted(part, there, cards) for part, there in parts),
        product=next((p for part, there in parts if (p := _product(at(there, *part.template, "spec"), cards))), ""),
        created_s=_created_s(body),
        labels=_pod_labels(parts) | labels,
        annotations=_ours(body),
        stem=made or ref.name,
        holder=_holder(at(body, "spec", "template", "spec"), cards) if kind.resource == JOBS else None,
        emptied=holds(body, "Suspended") and not whole(at(body, "status", "active")),
    )


def queue_workload_of(resource: Resource, body: Body) -> QueueWorkload:
    """A Workload of Kueue."""
    return QueueWorkload(
        ref=ref_of(resource, body),
        owner=owner_of(body),
        reserved=holds(body, "QuotaReserved"),
        admitted=holds(body, "Admitted"),
        finished=holds(body, "Finished"),
        priority=whole(at(body, "spec", "priority")),
        paused_by_us=_ours(body).get(PAUSED_BY) == US,
        checks=tuple(
            Check(text(c.get("name")), text(c.get("state"))) for c in maps(at(body, "status", "admissionChecks"))
        ),
        created_s=_created_s(body),
    )


def check_of(resource: Resource, body: Body) -> AdmissionCheck:
    """An AdmissionCheck of Kueue."""
    ours = text(at(body, "spec", "controllerName")) == GATE
    return AdmissionCheck(
        ref_of(resource, body), ours, holds(body, "Active"), whole(at(body, "metadata", "generation"))
    )


def scaler_of(resource: Resource, body: Body) -> Scaler:
    """A HorizontalPodAutoscaler or a ScaledObject."""
    keda, spec = resource.group == "keda.sh", at(body, "spec")
    words = texts(at(body, "metadata", "annotations"))
    return Scaler(
        ref=ref_of(resource, body),
        target=(text(at(spec, "scaleTargetRef", "kind")) or "Deployment", text(at(spec, "scaleTargetRef", "name"))),
        least=whole(at(spec, "minReplicaCount" if keda else "minReplicas"), 0 if keda else 1),
        most=whole(at(spec, "maxReplicaCount" if keda else "maxReplicas"), 100 if keda else 1),
        before=_number(words.get(MAX_BEFORE)),
        now=_number(words.get(MAX_NOW)),
        owner=owner_of(body),
        keda=keda,
        scale_out_paused=words.get(SCALE_OUT_PAUSED) == "true",
        ours=words.get(HELD_BY) == US,
    )


def node_of(resource: Resource, body: Body) -> KubeNode:
    """A node; `off` where it is said to be, and does not answer."""
    taints = {text(taint.get("key")) for taint in maps(at(body, "spec", "taints"))}
    ready = at(conditions(body), "Ready", "status") == "True"
    return KubeNode(ref_of(resource, body), bool(taints & SHUT_DOWN) and not ready, _ours(body))


def gpus_of(spec: object, cards: Cards = CARDS) -> int:
    """What a pod holds: its containers together, or its largest init container."""
    together = sum(_gpus(c, cards) for c in maps(at(spec, "containers")))
    return int(max([together, *(_gpus(c, cards) for c in maps(at(spec, "initContainers")))]))


def _gpus(container: Body, cards: Cards) -> float:
    """Requests and limits of a device are one number."""
    limits = at(container, "resources", "limits")
    held = limits if isinstance(limits, Mapping) else at(container, "resources", "requests")
    named = held.items() if isinstance(held, Mapping) else ()
    return sum(quantity(q) for name, q in named if name == cards.resource or text(name).startswith(cards.slices))


def _holder(spec: object, cards: Cards) -> Holder | None:
    """None where several containers hold cards, one that only begins does, or what is held are slices."""
    containers = maps(at(spec, "containers"))
    holding = [(i, c) for i, c in enumerate(containers) if _gpus(c, cards)]
    if len(holding) != 1 or any(_gpus(c, cards) for c in maps(at(spec, "initContainers"))):
        return None
    [(place, container)] = holding
    told = {k: at(container, "resources", k, cards.resource) for k in ("limits", "requests")}
    counts = {f"{count}" for count in told.values() if count is not None}
    if len(counts) != 1 or not WHOLE.fullmatch(count := counts.pop()) or int(count) != _gpus(container, cards):
        return None
    written = tuple(k for k, said in told.items() if said is not None)
    return Holder(place, text(container.get("name")), int(count), cards.resource, written)


def _pods_owner(owner: Owner | None, labels: Mapping[str, str]) -> Owner | None:
    """Seen through what lies between a service and its pods and is not watched."""
    if group := labels.get(LEADER_WORKER_SET):
        return Owner("LeaderWorkerSet", group, "")
    if owner and owner.kind == "ReplicaSet" and (made := labels.get("pod-template-hash")):
        return Owner("Deployment", owner.name.removesuffix(f"-{made}"), "")
    return owner


def _parts(kind: Kind, body: Body) -> Iterable[tuple[Part, object]]:
    return ((part, there) for part in kind.parts for there in every(body, *part.at))


def _wanted(part: Part, there: object, cards: Cards) -> int:
    if part.gpus:
        each = quantity(at(there, *(cards.resource if name == GPU else name for name in part.gpus)))
    else:
        each = gpus_of(at(there, *part.template, "spec"), cards)
    return int(each) * math.prod(max(whole(at(there, *count), 1), 0) for count in part.counts)


def _pod_labels(parts: Iterable[tuple[Part, object]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part, there in parts:
        found |= texts(at(there, *part.template, "metadata", "labels"))
    return found


def _product(spec: object, cards: Cards) -> str:
    return texts(at(spec, "nodeSelector")).get(cards.product_label, "")


def _created_s(body: Body) -> float:
    created_s = moment_s(at(body, "metadata", "creationTimestamp"))
    return created_s if math.isfinite(created_s) else 0.0


def _ours(body: Body) -> dict[str, str]:
    """Of annotations only those that concern us: others may be large."""
    words = texts(at(body, "metadata", "annotations"))
    return {name: word for name, word in words.items() if name.startswith(OURS)}


def _number(word: str | None) -> int | None:
    return int(word) if word is not None and word.isdecimal() and len(word) < 10 else None
