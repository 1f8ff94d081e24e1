"""The chart at work on a cluster with real kubelets: `examples/kubernetes/kind.sh` makes one and calls this."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "kube/chart"))

from given_cluster import VARIABLE, GivenCluster, given

NAMESPACE = "wattlease"
TTL_S = 10.0


@pytest.fixture
def cluster() -> GivenCluster:
    found = given()
    if found is None:
        pytest.skip(f"{VARIABLE} names no cluster; examples/kubernetes/kind.sh makes one")
    return found


def agents(cluster: GivenCluster) -> dict[str, str]:
    """The agents' pods by their nodes."""
    pods = cluster.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=agent")["items"]
    return {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in pods}


def metric(cluster: GivenCluster, pod: str, name: str) -> float:
    told = cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8945/proxy/metrics")
    found = re.search(rf"^{name} (\S+)$", told, re.MULTILINE)
    assert found is not None, told
    return float(found[1])


def in_force_w(cluster: GivenCluster) -> float:
    """The most that all nodes may draw, by their cards' limits as read back."""
    return sum(metric(cluster, pod, "wattlease_node_in_force_watts") for pod in agents(cluster).values())


@pytest.fixture
def enforced(cluster: GivenCluster) -> Iterator[dict[str, Any]]:
    """The hall's spec, in Enforce while the test lasts."""
    spec: dict[str, Any] = cluster.get("powerbudget", "hall")["spec"]
    patch(cluster, {"mode": "Enforce"})
    yield spec
    patch(cluster, {"mode": spec["mode"], "limitWatts": spec["limitWatts"]})


def patch(cluster: GivenCluster, spec: dict[str, Any]) -> None:
    cluster.kubectl("patch", "powerbudget", "hall", "--type=merge", "-p", json.dumps({"spec": spec}))


def test_every_gpu_node_of_a_given_cluster_has_an_agent_that_is_ready(cluster: GivenCluster) -> None:
    nodes = {n["metadata"]["name"] for n in cluster.get("nodes", "-l", "nvidia.com/gpu.present=true")["items"]}
    cluster.until(lambda: agents(cluster).keys() == nodes, "an agent on every node")
    for pod in agents(cluster).values():
        cluster.until(lambda pod=pod: metric(cluster, pod, "wattlease_node_ready") == 1.0, f"{pod} is ready")  # type: ignore[misc]


def test_nodes_of_a_given_cluster_fit_under_a_limit_that_falls_within_one_time_to_live(
    cluster: GivenCluster, enforced: dict[str, Any]
) -> None:
    cluster.until(lambda: in_force_w(cluster) <= enforced["limitWatts"], "all limits together fit", 2 * TTL_S)
    lower_w = enforced["guaranteedWatts"]
    patch(cluster, {"limitWatts": lower_w})
    took_s = cluster.until(lambda: in_force_w(cluster) <= lower_w, "they fit under the lower one", 2 * TTL_S)
    assert took_s <= TTL_S + 2.0, "the proxy's own time comes on top"
    cluster.until(lambda: "WithinLimit" in str(cluster.get("powerbudget", "hall")["status"]), "its status is written")
