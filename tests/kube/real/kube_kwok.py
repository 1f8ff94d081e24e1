"""Nodes that are only told of: KWOK answers for them to the API server, as kubelets would.

Their pods run at once and for as long as their annotations say: a job's pod that names no span runs on until it is
deleted. KWOK's own stages are kept but for that; by these every job's pod would end as soon as it began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from kube_plane import ControlPlane
from kube_program import Program

GPUS = 8
GPU = "nvidia.com/gpu"
PRODUCT = "NVIDIA-H100-80GB-HBM3"

LASTS = "test.wattlease.io/lasts"
"""A pod's annotation: after such a span ("90s") its work is done."""

ENDS = "test.wattlease.io/ends"
"""A pod's annotation: when deleted it takes such a span to write its checkpoint; absent: none."""


def node(name: str, gpus: int = GPUS) -> dict[str, Any]:
    """A node of eight H100, labelled as NVIDIA's device plugin and its feature discovery would have it."""
    room = {"cpu": "128", "memory": "2Ti", "pods": "110", GPU: str(gpus)}
    labels = {
        "type": "kwok",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "nvidia.com/gpu.product": PRODUCT,
        "nvidia.com/gpu.count": str(gpus),
        "nvidia.com/gpu.present": "true",
    }
    meta = {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": {"capacity": room, "allocatable": room}}


@contextmanager
def kwok(plane: ControlPlane, nodes: Sequence[str]) -> Iterator[Program]:
    """These nodes, ready and answered for while the block lasts."""
    config = plane.folder / "kwok.yaml"
    config.write_text("\n---\n".join(yaml.safe_dump(stage) for stage in _stages(plane)))
    words: list[str | Path] = [
        plane.binaries.path("kwok"), "--kubeconfig", plane.kubeconfig, "--manage-nodes-with-label-selector",
        "type=kwok", "--config", config, "--node-lease-duration-seconds", "40",
    ]  # fmt: skip
    program = Program(plane.log, "kwok", words)
    plane.programs["kwok"] = program
    program.start()
    try:
        plane.apply(*map(node, nodes))
        plane.until(lambda: all(_ready(body) for body in plane.read("/api/v1/nodes")["items"]), "all nodes are ready")
        yield program
    finally:
        program.end()
        del plane.programs["kwok"]


def _stages(plane: ControlPlane) -> Iterator[dict[str, Any]]:
    for stage in yaml.safe_load_all(plane.binaries.share("kwok-stages.yaml").read_text()):
        spec = stage["spec"]
        if stage["metadata"]["name"] == "pod-complete":
            spec["selector"]["matchExpressions"].append(
                {"key": f'.metadata.annotations["{LASTS}"]', "operator": "Exists"}
            )
            spec["delay"] = _after(LASTS)
        if stage["metadata"]["name"] == "pod-delete":
            spec["delay"] = _after(ENDS)
        yield stage


def _after(annotation: str) -> dict[str, Any]:
    return {"durationMilliseconds": 0, "durationFrom": {"jq": {"expression": f'.metadata.annotations["{annotation}"]'}}}


def _ready(body: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in body["status"].get("conditions", ()))
