"""What the harness promises: a real scheduler and real controllers, pods on virtual nodes, kubelets, and Kueue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kube_program
import pytest
import yaml
from kube_kubelets import Kubelets
from kube_kueue import queue
from kube_kwok import GPUS
from kube_plane import ControlPlane
from kube_program import Program
from kube_work import job, pod

from wattlease.agent.jobs import Holding
from wattlease.agent.jobs.kubelet import pods as held

SOON_S = 60.0


@pytest.fixture
def kubelets(plane: ControlPlane, nodes: tuple[str, ...]) -> Iterator[Kubelets]:
    with Kubelets(plane, {node: [f"GPU-{node}-{i}" for i in range(GPUS)] for node in nodes}) as found:
        yield found


def running(plane: ControlPlane, namespace: str) -> list[str]:
    """The nodes of the pods that run."""
    found = plane.pods(namespace)
    return [body["spec"]["nodeName"] for body in found if body["status"]["phase"] == "Running"]


def test_a_job_runs_on_a_virtual_node_and_suspended_its_pods_go(
    plane: ControlPlane, nodes: tuple[str, ...], namespace: str
) -> None:
    plane.apply(job("train", 8, namespace, pods=2))
    plane.until(lambda: len(running(plane, namespace)) == 2, "both pods run", SOON_S)
    assert set(running(plane, namespace)) <= set(nodes)
    plane.kubectl("patch", "job", "train", "-n", namespace, "-p", '{"spec":{"suspend":true}}')
    plane.until(lambda: not plane.pods(namespace), "no pod is left", SOON_S)
    plane.kubectl("patch", "job", "train", "-n", namespace, "-p", '{"spec":{"suspend":false}}')
    plane.until(lambda: len(running(plane, namespace)) == 2, "both pods run again", SOON_S)


def test_the_scheduler_keeps_a_pod_waiting_that_finds_no_gpus(
    plane: ControlPlane, nodes: tuple[str, ...], namespace: str
) -> None:
    plane.apply(job("fill", GPUS, namespace, pods=len(nodes)))
    plane.until(lambda: len(running(plane, namespace)) == len(nodes), "all nodes are full", SOON_S)
    plane.apply(pod("late", 1, namespace))
    plane.until(lambda: "Insufficient nvidia.com/gpu" in json.dumps(plane.pods(namespace)), "it waits")
    plane.kubectl("delete", "job", "fill", "-n", namespace)
    plane.until(lambda: len(running(plane, namespace)) == 1, "it runs", SOON_S)


def test_a_pod_ends_when_its_work_is_done_and_takes_its_time_when_it_is_deleted(
    plane: ControlPlane, nodes: tuple[str, ...], namespace: str
) -> None:
    plane.apply(job("short", 1, namespace, lasts="2s"), job("long", 1, namespace, ends="4s"))
    plane.kubectl("wait", "--for=condition=complete", "job/short", "-n", namespace, "--timeout=20s")
    plane.until(lambda: len(running(plane, namespace)) == 1, "the long one runs", SOON_S)
    plane.kubectl("patch", "job", "long", "-n", namespace, "-p", '{"spec":{"suspend":true}}')
    took_s = plane.until(lambda: not running(plane, namespace), "the long one is gone", SOON_S)
    assert took_s > 2.0


def test_gpus_of_a_suspended_job_can_be_changed_even_after_it_ran(
    plane: ControlPlane, nodes: tuple[str, ...], namespace: str
) -> None:
    plane.apply(job("elastic", 8, namespace))
    plane.until(lambda: running(plane, namespace), "it runs", SOON_S)
    plane.kubectl("patch", "job", "elastic", "-n", namespace, "-p", '{"spec":{"suspend":true}}')
    plane.until(lambda: not plane.pods(namespace), "its pod is gone", SOON_S)
    plane.until(lambda: "startTime" not in plane.job(namespace, "elastic")["status"], "it is told so")
    path, four = "/spec/template/spec/containers/0/resources", {"limits": {"nvidia.com/gpu": "4"}}
    patch = [
        {"op": "replace", "path": path, "value": four | {"requests": four["limits"]}},
        {"op": "replace", "path": "/spec/suspend", "value": False},
    ]
    plane.kubectl("patch", "job", "elastic", "-n", namespace, "--type=json", "-p", json.dumps(patch))
    plane.until(lambda: running(plane, namespace), "it runs again", SOON_S)


async def test_a_kubelet_tells_who_holds_its_cards(plane: ControlPlane, kubelets: Kubelets, namespace: str) -> None:
    plane.apply(pod("one", 3, namespace))
    plane.until(lambda: kubelets.jobs, "the kubelet sees it", SOON_S)
    [seen] = kubelets.jobs
    assert seen.job == f"{namespace}/one"
    [node] = {node for node, _ in seen.cards}
    told = await held(kubelets.sockets[node])
    assert told == tuple(Holding(seen.job, f"GPU-{node}-{i}") for i in range(3))
    plane.kubectl("delete", "pod", "one", "-n", namespace)
    plane.until(lambda: not kubelets.jobs, "the cards are free", SOON_S)
    assert await held(kubelets.sockets[node]) == ()
    assert not kubelets.overfull


def test_a_kubelet_keeps_its_pods_while_the_api_server_is_dead(
    plane: ControlPlane, kubelets: Kubelets, namespace: str
) -> None:
    plane.apply(pod("one", 1, namespace))
    plane.until(lambda: kubelets.jobs, "the kubelet sees it", SOON_S)
    server = plane.programs["kube-apiserver"]
    server.kill()
    time.sleep(2.0)
    assert len(kubelets.jobs) == 1
    server.start()
    plane.until(plane.ready, "the API server is back")
    plane.until(lambda: running(plane, namespace), "the pod still runs", SOON_S)


def test_a_token_bound_to_a_pod_names_its_node(plane: ControlPlane, nodes: tuple[str, ...], namespace: str) -> None:
    plane.apply(pod("agent", 1, namespace))
    plane.until(lambda: running(plane, namespace), "it runs", SOON_S)
    token = plane.kubectl(
        "create", "token", "default", "-n", namespace, "--bound-object-kind=Pod", "--bound-object-name=agent",
        "--audience=wattlease",
    ).strip()  # fmt: skip
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": ["wattlease"]},
    }
    told = json.loads(plane.kubectl("create", "-f", "-", "-o", "json", stdin=yaml.safe_dump(review)))["status"]
    assert told["authenticated"]
    assert told["user"]["extra"]["authentication.kubernetes.io/node-name"] == running(plane, namespace)


KUEUE = "kueue.x-k8s.io/v1beta2"
CHECK = {
    "apiVersion": KUEUE,
    "kind": "AdmissionCheck",
    "metadata": {"name": "power"},
    "spec": {"controllerName": "wattlease.io/power"},
}


@pytest.fixture
def checked(plane: ControlPlane, queues: None, namespace: str) -> Iterator[str]:
    """A namespace with a queue whose jobs wait for an admission check that nobody answers yet."""
    plane.apply(CHECK)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    active = {"type": "Active", "status": "True", "reason": "Tried", "message": "", "lastTransitionTime": now}
    patch = json.dumps({"status": {"conditions": [active]}})
    plane.kubectl("patch", "admissioncheck", "power", "--subresource=status", "--type=merge", "-p", patch)
    plane.apply(*queue(8 * GPUS, name="checked", namespace=namespace, checks=("power",)))
    yield namespace
    plane.kubectl("delete", "jobs", "--all", "-n", namespace)
    plane.kubectl("delete", "localqueue/checked", "-n", namespace)
    plane.kubectl("delete", "clusterqueue/checked", "admissioncheck/power", "--wait=false")


def test_kueue_holds_a_job_until_its_check_is_ready_and_evicts_it_when_told_to_retry(
    plane: ControlPlane, checked: str
) -> None:
    plane.apply(job("queued", 4, checked, queue="checked"))
    plane.until(lambda: state(plane, checked) == "Pending", "the check is pending", SOON_S)
    time.sleep(2.0)
    assert not plane.pods(checked)

    answer(plane, checked, state="Ready", message="4 GPUs have their watts")
    plane.until(lambda: running(plane, checked), "it runs", SOON_S)

    answer(plane, checked, state="Retry", message="the limit fell", requeueAfterSeconds=3)
    plane.until(lambda: not plane.pods(checked), "it is evicted", 3.0 + SOON_S)
    assert plane.job(checked, "queued")["spec"]["suspend"]
    plane.until(lambda: state(plane, checked) == "Pending", "the check is asked again", SOON_S)


def workload(plane: ControlPlane, namespace: str) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = plane.read(f"/apis/{KUEUE}/namespaces/{namespace}/workloads")["items"]
    return found[0] if found else None


def state(plane: ControlPlane, namespace: str) -> str:
    body = workload(plane, namespace) or {}
    checks = body.get("status", {}).get("admissionChecks") or [{"state": ""}]
    return str(checks[0]["state"])


def answer(plane: ControlPlane, namespace: str, **check: Any) -> None:
    """Say it as a controller of the check would."""
    body = workload(plane, namespace)
    assert body is not None
    told = {"name": "power", "lastTransitionTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **check}
    meta = {"name": body["metadata"]["name"], "namespace": namespace}
    applied = {"apiVersion": body["apiVersion"], "kind": "Workload", "metadata": meta}
    words = ("apply", "--server-side", "--subresource=status", "--field-manager=tried", "--force-conflicts", "-f", "-")
    plane.kubectl(*words, stdin=yaml.safe_dump(applied | {"status": {"admissionChecks": [told]}}))


def test_a_program_ends_with_the_tests_even_when_these_are_killed(tmp_path: Path) -> None:
    """Its parent is a process that is killed as soon as the program runs."""
    parent = (
        "import sys, time, pathlib; sys.path.insert(0, sys.argv[1]); from kube_program import Program;"
        "p = Program(pathlib.Path(sys.argv[2]), 'sleeper', ['/bin/sleep', '60']); p.start(); print(p.pid, flush=True);"
        "time.sleep(60)"
    )
    folder = Path(kube_program.__file__).parent
    with subprocess.Popen(
        [sys.executable, "-c", parent, str(folder), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        _until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
        os.kill(tests.pid, signal.SIGKILL)
    _until(lambda: _gone(pid))


def test_a_program_can_be_killed_and_started_again(tmp_path: Path) -> None:
    program = Program(tmp_path, "sleeper", ["/bin/sleep", "60"])
    program.start()
    program.kill()
    assert not program.alive
    program.start()
    assert program.alive
    program.end()
    assert not program.alive


def _gone(pid: int) -> bool:
    """Dead, or buried already."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(") ")[2][0] in "ZX"


def _until(true: Any) -> None:
    end_s = time.monotonic() + 10.0
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.05)
