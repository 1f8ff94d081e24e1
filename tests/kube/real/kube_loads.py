"""A cluster's workloads of three priorities: services that nobody may touch, training, and batch work that can wait.

Four nodes' worth is one part: two services, four trainings and four batch jobs, 32 GPUs in all; larger clusters take
several. Every other training and batch job comes through Kueue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from kube_work import deployment, job
from slurm_work import Work

NAMESPACE, QUEUE, CHECK, LABEL = "team", "gpus", "power", "profile"
NODES_A_PART = 4
LIMIT_W_A_NODE = 6_400.0
"""Somewhat above what a node with all cards at work draws."""

Profile = Literal["serve", "train", "batch"]

PROFILES: dict[Profile, dict[str, Any]] = {
    "serve": {
        "kind": "Inference", "valuePerGpuHour": 12, "maxSlowdownPercent": 5, "pausable": False, "protected": True,
    },
    "train": {
        "kind": "Training", "valuePerGpuHour": 4, "maxSlowdownPercent": 30,
        "checkpoint": {"everySeconds": 60, "restartSeconds": 10},
    },
    "batch": {
        "kind": "Batch", "valuePerGpuHour": 0.5,  # a promised speed would be broken by a pause
        "checkpoint": {"everySeconds": 30, "restartSeconds": 5},
    },
}  # fmt: skip

PRIORITY: dict[Profile, int] = {"serve": 1000, "train": 100, "batch": 0}

SERVE_W = 380.0
WORKS = (
    Work("serve-*", SERVE_W, noise_frac=0.05),
    Work("train-*", 650.0, low_w=200.0, low_frac=0.05, period_s=90.0, noise_frac=0.04),
    Work("batch-*", 560.0, low_w=200.0, low_frac=0.1, period_s=45.0, noise_frac=0.05),
)


@dataclass(frozen=True, slots=True)
class Load:
    """One workload; with `queued` it comes through Kueue."""

    name: str
    profile: Profile
    gpus: int
    queued: bool = False

    @property
    def manifest(self) -> dict[str, Any]:
        marks = {LABEL: self.profile}
        if self.profile == "serve":
            return deployment(self.name, self.gpus, 1, NAMESPACE, labels=marks, priority=self.profile)
        queue = QUEUE if self.queued else ""
        return job(self.name, self.gpus, NAMESPACE, labels=marks, queue=queue, priority=self.profile, ends="1s")


def loads(nodes: int) -> Iterator[Load]:
    """Ten workloads for every four nodes, which fill them."""
    for part in range(nodes // NODES_A_PART):
        yield from (Load(f"serve-{part}-{i}", "serve", 2) for i in range(2))
        yield from (Load(f"train-{part}-{i}", "train", gpus, i % 2 == 0) for i, gpus in enumerate((8, 4, 4, 4)))
        yield from (Load(f"batch-{part}-{i}", "batch", 2, i % 2 == 0) for i in range(4))


def ground() -> list[dict[str, Any]]:
    """Namespace, priorities and profiles: what is there before anybody submits."""
    made: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}]
    for name, value in PRIORITY.items():
        meta = {"metadata": {"name": name}, "value": value, "preemptionPolicy": "Never"}
        made.append({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", **meta})
    for name, terms in PROFILES.items():
        spec = {"selector": {"matchLabels": {LABEL: name}}, **terms}
        meta = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
        made.append({"apiVersion": "wattlease.io/v1alpha1", "kind": "PowerProfile", **meta})
    return made


def admission_check() -> dict[str, Any]:
    """What a cluster's owner writes so that Kueue waits for watts."""
    spec = {"controllerName": "wattlease.io/power"}
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "AdmissionCheck",
        "metadata": {"name": CHECK},
        "spec": spec,
    }
