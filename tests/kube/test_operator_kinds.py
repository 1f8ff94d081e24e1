"""The table of kinds: each row finds its switch, its end and the GPUs it wants; jobs are gathered by their owners."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "bodies"))  # bodies are shared with the other tests of the operator

from kube_bodies import check, cluster, hpa, job, meta, owned_by, pod, pod_spec, workload

from wattlease_operator.bodies import work_of
from wattlease_operator.gathering import Gathering
from wattlease_operator.kinds import KIND, KINDS, WATCHED
from wattlease_operator.writes import nested

TEMPLATE = {"spec": pod_spec(4)}
REPLICAS = {
    "Launcher": {"replicas": 1, "template": {"spec": pod_spec(0)}},
    "Worker": {"replicas": 3, "template": TEMPLATE},
}
RAY = {
    "headGroupSpec": {"template": {"spec": pod_spec(0)}},
    "workerGroupSpecs": [{"replicas": 3, "template": TEMPLATE}, {"replicas": 0, "template": TEMPLATE}],
}

WANTS_12: dict[str, dict[str, Any]] = {
    "Job": {"parallelism": 3, "template": TEMPLATE},
    "JobSet": {"replicatedJobs": [{"replicas": 3, "template": {"spec": {"parallelism": 1, "template": TEMPLATE}}}]},
    "TrainJob": {"trainer": {"numNodes": 3, "resourcesPerNode": {"limits": {"nvidia.com/gpu": 4}}}},
    "RayJob": {"rayClusterSpec": RAY},
    "RayCluster": RAY,
    "MPIJob": {"mpiReplicaSpecs": REPLICAS},
    "PyTorchJob": {
        "pytorchReplicaSpecs": {"Master": {"template": TEMPLATE}, "Worker": {"replicas": 2, "template": TEMPLATE}}
    },
    "SparkApplication": {"driver": {}, "executor": {"instances": 3, "gpu": {"name": "nvidia.com/gpu", "quantity": 4}}},
}


def body_of(kind: str, name: str = "x", *, suspend: bool | None = None, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"metadata": meta(name, **more), "spec": dict(WANTS_12[kind])}
    if suspend is not None:
        *above, last = KIND[kind].suspend[1:]
        body["spec"] |= nested((*above, last), suspend)
    return body


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_says_how_many_gpus_it_wants_before_it_has_a_pod(kind: Any) -> None:
    assert work_of(kind, body_of(kind.name)).gpus == 12


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_suspended_by_its_switch_and_by_nothing_else(kind: Any) -> None:
    assert [work_of(kind, body_of(kind.name, suspend=s)).suspended for s in (None, False, True)] == [False, False, True]


@pytest.mark.parametrize("kind", [k for k in KINDS if k.name != "RayCluster"], ids=lambda kind: kind.name)
def test_every_kind_that_ends_says_so(kind: Any) -> None:
    body = body_of(kind.name)
    assert not work_of(kind, body).ended
    for condition in kind.ended:
        assert work_of(kind, {**body, "status": {"conditions": [{"type": condition, "status": "True"}]}}).ended
    for word in kind.ends:
        assert work_of(kind, body | nested(kind.state, word)).ended


def test_each_kind_is_watched_once() -> None:
    assert len(WATCHED) == len(set(WATCHED)) == len(KINDS) + 6


def test_a_jobset_is_one_job_with_the_pods_of_all_its_jobs() -> None:
    cache = cluster(
        jobsets=[body_of("JobSet", "set")],
        jobs=[job(f"set-{i}", ownerReferences=owned_by("JobSet", "set")) for i in range(3)],
        pods=[pod(f"set-{i}-p", owner=("Job", f"set-{i}"), node="n1", phase="Running") for i in range(3)],
    )
    jobs = Gathering(cache).jobs()
    assert list(jobs) == ["jobset/ml/set"]
    assert len(jobs["jobset/ml/set"].placed) == 3
    assert jobs["jobset/ml/set"].gpus == 12


def test_names_are_of_the_namespace_and_the_kind_but_for_a_job() -> None:
    made = "6c9f7d"
    cache = cluster(
        jobs=[job("train")],
        pods=[
            pod("alone"),
            pod("chat-1", owner=("ReplicaSet", f"chat-{made}"), labels={"pod-template-hash": made}),
            pod("lws-0", owner=("StatefulSet", "lws"), labels={"leaderworkerset.sigs.k8s.io/name": "big"}),
            pod("note-0", owner=("StatefulSet", "note")),
            pod("drive", owner=("SparkApplication", "sum")),
            pod("exec-1", owner=("Pod", "drive")),
        ],
        sparkapplications=[body_of("SparkApplication", "sum")],
    )
    assert set(Gathering(cache).jobs()) == {
        "ml/train", "pod/ml/alone", "deployment/ml/chat", "leaderworkerset/ml/big", "statefulset/ml/note",
        "sparkapplication/ml/sum",
    }  # fmt: skip


def test_an_owner_that_is_gone_or_in_a_circle_ends_the_climb() -> None:
    cache = cluster(
        pods=[pod("a", owner=("Pod", "b")), pod("b", owner=("Pod", "a")), pod("late", owner=("Job", "gone"))]
    )
    assert "ml/gone" in Gathering(cache).jobs()


def test_a_job_of_another_controller_is_not_ours_to_suspend_but_a_cronjobs_is() -> None:
    cache = cluster(
        jobs=[
            job("free"),
            job("nightly", ownerReferences=owned_by("CronJob", "night")),
            job("step", ownerReferences=owned_by("Workflow", "flow")),
            job("queued", labels={"kueue.x-k8s.io/queue-name": "gpus"}),
        ]
    )
    jobs = Gathering(cache).jobs()
    assert {name for name, found in jobs.items() if found.suspendable} == {"ml/free", "ml/nightly"}


def test_a_workload_of_kueue_goes_with_its_object_and_our_check_is_known_by_its_controller() -> None:
    cache = cluster(
        jobs=[job("a"), job("b")],
        workloads=[
            workload("w-a", ("Job", "a"), checks=("slow", "power")),
            workload("w-b", ("Job", "b"), checks=("slow",)),
        ],
        admissionchecks=[check("power"), check("slow", "example.com/slow")],
    )
    jobs = Gathering(cache).jobs()
    assert (jobs["ml/a"].check, jobs["ml/a"].check_state, jobs["ml/a"].priority) == ("power", "Pending", 7)
    assert (jobs["ml/b"].check, jobs["ml/b"].managed, jobs["ml/b"].pausable) == ("", True, False)


def test_an_autoscaler_goes_with_its_service_unless_keda_made_it() -> None:
    made = "abc"
    chat = [pod("chat-1", owner=("ReplicaSet", f"chat-{made}"), labels={"pod-template-hash": made})]
    keda = {"metadata": meta("so"), "spec": {"scaleTargetRef": {"name": "chat"}, "maxReplicaCount": 9}}
    behind = hpa("keda-hpa-so", 9, ownerReferences=owned_by("ScaledObject", "so"))
    cache = cluster(pods=chat, horizontalpodautoscalers=[behind], scaledobjects=[keda])
    scaler = Gathering(cache).jobs()["deployment/ml/chat"].scaler
    assert scaler is not None
    assert scaler.keda


def test_a_job_that_nothing_happened_to_stays_the_same_value() -> None:
    cache = cluster(jobs=[job("a"), job("b")])
    gathering = Gathering(cache)
    before = gathering.jobs()
    assert gathering.jobs() is before
    changed = job("b")
    changed["metadata"]["resourceVersion"] = "2"
    cache.put(KIND["Job"].resource, changed)
    after = gathering.jobs()
    assert after["ml/a"] is before["ml/a"]
    assert after["ml/b"] is not before["ml/b"]
