"""Work of which others write the objects too: autoscalers, a GitOps tool, Kueue; and the tool itself."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from kube_plane import ControlPlane
from kube_work import deployment, job, pod
from slurm_work import Work

NAMESPACE, QUEUE, CHECK, LABEL, FLUX, US = "team", "gpus", "power", "profile", "flux", "wattlease"
SYNC_S = 18.0
"""The autoscalers' controller looks every fifteen seconds."""

AGAIN_S = 2.0
"""The tool applies its manifests so often."""

DOCS = Path(__file__).parents[3] / "docs/kubernetes.md"
PLURALS = {
    "Job": "jobs", "HorizontalPodAutoscaler": "horizontalpodautoscalers", "ScaledObject": "scaledobjects",
    "Pod": "pods", "Workload": "workloads", "AdmissionCheck": "admissionchecks", "Node": "nodes",
    "HTTPRoute": "deployments",
}  # fmt: skip
"""The kinds of the documented table, by the first word of each row; of a swap only its Deployments are here."""

PATHS = {
    "jobs": f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs",
    "pods": f"/api/v1/namespaces/{NAMESPACE}/pods",
    "nodes": "/api/v1/nodes",
    "deployments": f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments",
    "horizontalpodautoscalers": f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers",
    "scaledobjects": f"/apis/keda.sh/v1alpha1/namespaces/{NAMESPACE}/scaledobjects",
    "workloads": f"/apis/kueue.x-k8s.io/v1beta2/namespaces/{NAMESPACE}/workloads",
    "admissionchecks": "/apis/kueue.x-k8s.io/v1beta2/admissionchecks",
    "localqueues": f"/apis/kueue.x-k8s.io/v1beta2/namespaces/{NAMESPACE}/localqueues",
    "services": f"/api/v1/namespaces/{NAMESPACE}/services",
    "configmaps": f"/api/v1/namespaces/{NAMESPACE}/configmaps",
    "powerprofiles": f"/apis/wattlease.io/v1alpha1/namespaces/{NAMESPACE}/powerprofiles",
}
"""What users of this cluster have; of the last four kinds nothing may ever be written."""

SERVE, BATCH = {LABEL: "serve"}, {LABEL: "batch"}
PROFILES: dict[str, dict[str, Any]] = {
    "serve": {"kind": "Inference", "valuePerGpuHour": 2, "pausable": False},
    "batch": {
        "kind": "Batch", "valuePerGpuHour": 0.5, "checkpoint": {"everySeconds": 30, "restartSeconds": 5},
    },
}  # fmt: skip
WORKS = (Work("train*", 560.0), Work("batch*", 560.0), Work("queued*", 560.0), Work("*", 500.0))

CEILINGS = {"chat": 6, "talk": 4, "answer": 3}
"""How far each service may grow by its owner's word."""


def without_ceiling(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The autoscaler as its owner has it applied who ignores its ceiling."""
    found = copy.deepcopy(dict(manifest))
    del found["spec"]["maxReplicas"]
    return found


def without_switch(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A Job as most people write it."""
    found = copy.deepcopy(dict(manifest))
    del found["spec"]["suspend"]
    return found


def hpa(name: str, least: int) -> dict[str, Any]:
    """The autoscaler of a Deployment, by a metric that nobody serves here."""
    target = {"type": "Utilization", "averageUtilization": 80}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "minReplicas": least,
            "maxReplicas": CEILINGS[name],
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        },
    }


def scaled_object(name: str) -> dict[str, Any]:
    spec = {"minReplicaCount": 1, "maxReplicaCount": CEILINGS[name], "scaleTargetRef": {"name": name}}
    meta = {"name": name, "namespace": NAMESPACE, "annotations": {"team.example.com/owner": "search"}}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": meta, "spec": spec}


def scaled_object_definition() -> dict[str, Any]:
    """ScaledObjects as far as our lever sees them: the definition alone, with nobody who follows them."""
    count = {"type": "integer", "format": "int32"}
    target = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    spec = {"scaleTargetRef": target, "minReplicaCount": count, "maxReplicaCount": count}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "scaledobjects", "singular": "scaledobject", "kind": "ScaledObject"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "scaledobjects.keda.sh"},
        "spec": {"group": "keda.sh", "names": names, "scope": "Namespaced", "versions": [version]},
    }


def profiles() -> Iterator[dict[str, Any]]:
    for name, terms in PROFILES.items():
        spec = {"selector": {"matchLabels": {LABEL: name}}, **terms}
        meta = {"name": name, "namespace": NAMESPACE}
        yield {"apiVersion": "wattlease.io/v1alpha1", "kind": "PowerProfile", "metadata": meta, "spec": spec}


def services() -> list[dict[str, Any]]:
    """Three services: `chat` under an autoscaler, `talk` under one that the tool applies too, `answer` under KEDA."""
    pods = {"chat": 6, "talk": 2, "answer": 2}
    made = [deployment(name, 1, count, NAMESPACE, labels=SERVE) for name, count in pods.items()]
    return [*made, hpa("chat", 2), hpa("talk", 1), scaled_object("answer")]


def jobs() -> list[dict[str, Any]]:
    """What nobody but its owner and Kueue writes."""
    queued = job("queued", 2, NAMESPACE, labels=BATCH, queue=QUEUE, ends="1s")
    return [without_switch(job("batch", 1, NAMESPACE, labels=BATCH, ends="1s")), queued]


def train() -> dict[str, Any]:
    """The Job that the tool applies."""
    return job("train", 2, NAMESPACE, labels=BATCH, ends="1s")


def gated() -> dict[str, Any]:
    """A pod that waits for watts, and has other gates than ours before it."""
    body = pod("alone", 1, NAMESPACE, labels=BATCH)
    body["spec"]["schedulingGates"] = [{"name": "wattlease.io/power"}]
    return body


def applied(plane: ControlPlane, *manifests: Mapping[str, Any], force: bool = False) -> None:
    """As the tool does it; raises KubectlError on a conflict."""
    forced = ("--force-conflicts",) if force else ()
    words = ("apply", "--server-side", f"--field-manager={FLUX}", *forced, "-f", "-")
    plane.kubectl(*words, stdin=yaml.safe_dump_all(manifests))


def applied_again(plane: ControlPlane, times: int, manifests: Sequence[Mapping[str, Any]], force: bool = False) -> None:
    """So many times, every two seconds."""
    for _ in range(times):
        begun_s = time.monotonic()
        applied(plane, *manifests, force=force)
        time.sleep(max(AGAIN_S - (time.monotonic() - begun_s), 0.0))


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """By plural, the fields that docs/kubernetes.md says may be written, and those of them that may stay."""
    table = DOCS.read_text().split("## What is written on your objects")[1].split("###")[0]
    rows = [line.strip("| ").split("|") for line in table.splitlines() if line.startswith("|")][2:]
    found = {}
    for row in rows:
        words, stays = (set(re.findall(r"`([^`]+)`", cell)) for cell in (row[1], row[2] if len(row) > 2 else ""))
        found[PLURALS[re.findall(r"\w+", row[0])[0]]] = words, stays
    return found


def allowed(field: str, words: set[str]) -> bool:
    """Whether a field is one of these, or below it."""
    return any(field == word or field.startswith(f"{word}.") for word in words)
