"""Who agents are in a cluster: pods of a DaemonSet, whose bound tokens the API server vouches for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from kube_plane import ControlPlane

NAMESPACE, ACCOUNT, AUDIENCE = "wattlease", "wattlease-agent", "wattlease"
LASTS = "2h"


def tokens(plane: ControlPlane, nodes: Collection[str], folder: Path) -> dict[str, Path]:
    """A token for the agent of each node, as its pod would find it mounted."""
    plane.apply(*_daemon_set())
    plane.until(lambda: _pods(plane).keys() >= set(nodes), "an agent's pod runs on every node")
    folder.mkdir(parents=True, exist_ok=True)
    pods, found = _pods(plane), {}
    for node in nodes:
        found[node] = folder / f"{node}.token"
        found[node].write_text(
            plane.kubectl(
                "create", "token", ACCOUNT, "-n", NAMESPACE, "--bound-object-kind=Pod",
                f"--bound-object-name={pods[node]}", f"--audience={AUDIENCE}", f"--duration={LASTS}",
            )
        )  # fmt: skip
        found[node].chmod(0o600)
    return found


def _pods(plane: ControlPlane) -> dict[str, str]:
    """Running ones by their nodes."""
    running = (p for p in plane.pods(NAMESPACE) if p["status"]["phase"] == "Running")
    return {p["spec"]["nodeName"]: p["metadata"]["name"] for p in running}


def _daemon_set() -> list[dict[str, Any]]:
    labels, meta = {"app": ACCOUNT}, {"name": ACCOUNT, "namespace": NAMESPACE}
    spec = {"serviceAccountName": ACCOUNT, "containers": [{"name": "agent", "image": "registry.example/agent:1"}]}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": meta,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
    ]
