"""Work for a cluster: jobs, bare pods and services that want GPUs, as their owners would write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_kwok import ENDS, GPU, LASTS

QUEUE = "kueue.x-k8s.io/queue-name"


def pod(
    name: str, gpus: int, namespace: str = "default", *, labels: Mapping[str, str] | None = None,
    lasts: str = "", ends: str = "", priority: str = "",
) -> dict[str, Any]:  # fmt: skip
    """A bare pod; `lasts` and `ends` are spans such as 90s."""
    meta = {"name": name, "namespace": namespace, "labels": dict(labels or {}), "annotations": _spans(lasts, ends)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": _containers(gpus, priority)}


def job(
    name: str, gpus: int, namespace: str = "default", *, pods: int = 1, queue: str = "", suspend: bool = False,
    labels: Mapping[str, str] | None = None, lasts: str = "", ends: str = "", priority: str = "",
) -> dict[str, Any]:  # fmt: skip
    """A batch Job of so many pods at once, each of so many GPUs; Kueue starts those of a queue."""
    marks = dict(labels or {}) | ({QUEUE: queue} if queue else {})
    template = {
        "metadata": {"labels": dict(labels or {}), "annotations": _spans(lasts, ends)},
        "spec": _containers(gpus, priority),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": marks},
        "spec": {
            "parallelism": pods,
            "completions": pods,
            "suspend": suspend or bool(queue),
            "backoffLimit": 1000,
            "template": template,
        },
    }


def deployment(
    name: str, gpus: int, replicas: int, namespace: str = "default", *, labels: Mapping[str, str] | None = None,
    priority: str = "",
) -> dict[str, Any]:  # fmt: skip
    """A service that answers: as many pods as replicas, and no end."""
    marks = {"app": name, **(labels or {})}
    spec = _containers(gpus, priority) | {"restartPolicy": "Always"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": marks},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": marks}, "spec": spec},
        },
    }


def _containers(gpus: int, priority: str) -> dict[str, Any]:
    wanted = {GPU: str(gpus), "cpu": "1"}
    container = {
        "name": "main",
        "image": "registry.example/work:1",
        "resources": {"limits": wanted, "requests": wanted},
    }
    return {"containers": [container], "restartPolicy": "Never"} | ({"priorityClassName": priority} if priority else {})


def _spans(lasts: str, ends: str) -> dict[str, str]:
    return {name: span for name, span in ((LASTS, lasts), (ENDS, ends)) if span}
