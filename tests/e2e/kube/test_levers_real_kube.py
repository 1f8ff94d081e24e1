"""The operator's levers on a real API server: what they move, and that they leave nothing of theirs behind."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import yaml
from kube_ground import JOBSETS, SOON_S, Ground, managers, own
from kube_kueue import queue
from kube_plane import KubectlError
from kube_work import deployment, job, pod

from wattlease.core.model import JobState
from wattlease_operator.cache import Ref
from wattlease_operator.kueue import activate
from wattlease_operator.ordering import lever
from wattlease_operator.scaling import bound
from wattlease_operator.words import GATE

pytestmark = pytest.mark.timeout(400)


async def test_a_job_is_paused_and_resumed_and_is_then_as_its_owner_made_it(ground: Ground) -> None:
    ground.plane.apply(job("train", 8, ground.namespace, pods=2))
    await ground.until(lambda: ground.running() == 2, "both pods run")
    before, name = ground.get("job", "train"), f"{ground.namespace}/train"
    await ground.bring(name, JobState.PAUSED)
    assert "wattlease" in managers(ground.get("job", "train"))
    assert ground.pods() == 0
    await ground.bring(name, JobState.RUNNING)
    after = ground.get("job", "train")
    assert own(after) == own(before)
    assert "wattlease" not in managers(after)


async def test_what_a_person_suspended_we_do_not_resume(ground: Ground) -> None:
    ground.plane.apply(job("train", 8, ground.namespace))
    await ground.until(lambda: ground.running() == 1, "its pod runs")
    name = f"{ground.namespace}/train"
    await ground.bring(name, JobState.PAUSED)
    ground.plane.apply(job("train", 8, ground.namespace, suspend=True))  # its owner wants that too
    found = await ground.job(name)
    assert found is not None
    await ground.write(*lever(found, JobState.RUNNING, time.time()))
    assert ground.get("job", "train")["spec"]["suspend"] is True
    assert await ground.stands(name) is None
    assert not lever((await ground.job(name)) or found, JobState.RUNNING, time.time())


async def test_what_a_person_resumed_is_not_paused_again(ground: Ground) -> None:
    ground.plane.apply(job("train", 8, ground.namespace))
    await ground.until(lambda: ground.running() == 1, "its pod runs")
    name = f"{ground.namespace}/train"
    await ground.bring(name, JobState.PAUSED)
    patch = '{"spec":{"suspend":false}}'
    ground.plane.kubectl("patch", "job", "train", "-n", ground.namespace, "-p", patch)
    found = await ground.job(name)
    assert found is not None
    assert not lever(found, JobState.PAUSED, time.time())


async def test_a_job_made_to_wait_for_watts_has_no_pod_until_it_is_let_go(ground: Ground) -> None:
    body = job("train", 8, ground.namespace, suspend=True)
    body["metadata"]["annotations"] = {"wattlease.io/held-by": "wattlease"}
    ground.plane.apply(body)
    name = f"{ground.namespace}/train"
    assert await ground.stands(name) == JobState.HELD
    assert ground.pods() == 0
    await ground.bring(name, JobState.RELEASED, JobState.RELEASED, JobState.RUNNING)
    await ground.until(lambda: ground.running() == 1, "its pod runs")


async def test_a_gated_pod_is_not_unschedulable_and_runs_once_its_gate_falls(ground: Ground) -> None:
    body = pod("alone", 8, ground.namespace)
    body["spec"]["schedulingGates"] = [{"name": "example.com/other"}, {"name": GATE}]
    ground.plane.apply(body)
    name = f"pod/{ground.namespace}/alone"
    assert await ground.stands(name) == JobState.HELD

    def reason() -> str:
        conditions = ground.get("pod", "alone")["status"].get("conditions", [])
        return next((c["reason"] for c in conditions if c["type"] == "PodScheduled"), "")

    await ground.until(reason, "the scheduler has seen it")
    assert reason() == "SchedulingGated"
    await ground.bring(name, JobState.RELEASED, None)
    assert [g["name"] for g in ground.get("pod", "alone")["spec"]["schedulingGates"]] == ["example.com/other"]
    drop = '[{"op":"remove","path":"/spec/schedulingGates/0"}]'
    ground.plane.kubectl("patch", "pod", "alone", "-n", ground.namespace, "--type=json", "-p", drop)
    await ground.until(lambda: ground.running() == 1, "it runs")


async def test_a_ceiling_is_lowered_and_given_back_exactly_and_nothing_of_ours_stays(ground: Ground) -> None:
    ground.plane.apply(deployment("chat", 1, 4, ground.namespace), scaler(ground.namespace, 9))
    await ground.until(lambda: ground.running() == 4, "the service runs")
    before = ground.get("hpa", "chat")
    await ground.look()
    [found] = [s for s in ground.gathering.scalers if s.ref.namespace == ground.namespace]
    await ground.write(*bound(found, 4))
    assert ground.get("hpa", "chat")["spec"]["maxReplicas"] == 4
    await ground.look()
    [lowered] = [s for s in ground.gathering.scalers if s.ref.namespace == ground.namespace]
    assert not bound(lowered, 4)
    await ground.write(*bound(lowered, 100))
    after = ground.get("hpa", "chat")
    assert own(after) == own(before)
    assert "wattlease" not in managers(after)
    ground.plane.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(scaler(ground.namespace, 12)))
    assert ground.get("hpa", "chat")["spec"]["maxReplicas"] == 12


async def test_another_kind_is_suspended_and_resumed_and_never_made_anew(ground: Ground) -> None:
    ground.plane.apply(jobset_definition())
    body = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": "set", "namespace": ground.namespace},
        "spec": {"replicatedJobs": [{"name": "w", "replicas": 2, "template": job("w", 8)}]},
    }
    await ground.until(lambda: taken(ground, body), "JobSets are served")
    name = f"jobset/{ground.namespace}/set"
    before = ground.get("jobset", "set")
    await ground.bring(name, JobState.PAUSED)
    assert ground.get("jobset", "set")["spec"]["suspend"] is True
    await ground.bring(name, JobState.RUNNING, JobState.RELEASED)
    assert own(ground.get("jobset", "set")) == own(before)
    uid = before["metadata"]["uid"]
    ground.plane.kubectl("delete", "jobset", "set", "-n", ground.namespace)
    trouble = await ground.api.apply(
        Ref(JOBSETS, ground.namespace, "set", uid), {"spec": {"suspend": True}}, force=True
    )
    assert trouble is not None
    assert not ground.plane.has("jobset", "set", "-n", ground.namespace)


async def test_kueue_holds_admits_and_takes_back_by_our_check(ground: Ground, queues: None) -> None:
    check = {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "AdmissionCheck",
        "metadata": {"name": "power"},
        "spec": {"controllerName": "wattlease.io/power"},
    }
    ground.plane.apply(check)
    await ground.look()
    await ground.write(*(w for c in ground.gathering.checks for w in activate(c, time.time())))
    ground.plane.apply(*queue(32, namespace=ground.namespace, checks=("power",)))
    ground.plane.apply(job("train", 8, ground.namespace, queue="gpus"))
    name, begun_s = f"{ground.namespace}/train", time.monotonic()
    while await ground.stands(name) != JobState.HELD:
        assert time.monotonic() - begun_s < SOON_S
        await asyncio.sleep(0.2)
    assert ground.pods() == 0
    await ground.bring(name, JobState.RELEASED, JobState.RUNNING)
    await ground.bring(name, JobState.PAUSED)
    assert ground.pods() == 0
    await ground.bring(name, JobState.RUNNING)
    workloads = ground.plane.get("workloads", "-n", ground.namespace, "--show-managed-fields")["items"]
    assert all(body["spec"].get("active", True) for body in workloads)
    assert "wattlease.io/paused-by" not in workloads[0]["metadata"].get("annotations", {})


def taken(ground: Ground, body: dict[str, Any]) -> bool:
    try:
        ground.plane.apply(body)
    except KubectlError:
        return False
    return True


def scaler(namespace: str, most: int) -> dict[str, Any]:
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": {
            "minReplicas": 2,
            "maxReplicas": most,
            "metrics": [metric],
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"},
        },
    }


def jobset_definition() -> dict[str, Any]:
    """JobSets as far as our levers see them: the definition alone, with nobody who runs them."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1alpha2",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}},
    }
    names = {"plural": "jobsets", "singular": "jobset", "kind": "JobSet", "listKind": "JobSetList"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "jobsets.jobset.x-k8s.io",
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/jobset"},
        },
        "spec": {"group": "jobset.x-k8s.io", "names": names, "scope": "Namespaced", "versions": [version]},
    }
