"""One table of kinds: what may run on GPUs, how it is suspended, and what in it says how many GPUs it wants.

Adding a kind is adding a row. A path is the names on the way down a body; `*` stands for every entry of a list or map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from wattlease_operator.cache import Resource

Path: TypeAlias = tuple[str, ...]

PODS = Resource("", "v1", "pods")
NODES = Resource("", "v1", "nodes", namespaced=False)
JOBS = Resource("batch", "v1", "jobs")
WORKLOADS = Resource("kueue.x-k8s.io", "v1beta2", "workloads")
CHECKS = Resource("kueue.x-k8s.io", "v1beta2", "admissionchecks", namespaced=False)
HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers")
SCALED_OBJECTS = Resource("keda.sh", "v1alpha1", "scaledobjects")

GPU = "nvidia.com/gpu"
"""In a path it stands for whatever the site's cards are called."""


@dataclass(frozen=True, slots=True)
class Part:
    """Pods of one shape inside a body: where they stand, by what they are multiplied, and their template.

    `counts` and `template` are below `at`. Where a kind has no pod template, `gpus` leads to the number itself.
    """

    at: Path
    counts: tuple[Path, ...] = ()
    template: Path = ("template",)
    gpus: Path = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind whose objects are jobs of their own.

    `suspend` leads to the boolean that stops it. An object has ended where a condition of `ended` is true, or where the
    word at `state` is one of `ends`.
    """

    name: str
    resource: Resource
    suspend: Path
    parts: tuple[Part, ...]
    ended: tuple[str, ...] = ()
    state: Path = ()
    ends: tuple[str, ...] = ()


_REPLICAS = (("replicas",),)


def _ray(*above: str) -> tuple[Part, ...]:
    return (
        Part((*above, "headGroupSpec")),
        Part((*above, "workerGroupSpecs", "*"), (("replicas",), ("numOfHosts",))),
    )


KINDS: tuple[Kind, ...] = (
    Kind("Job", JOBS, ("spec", "suspend"), (Part(("spec",), (("parallelism",),)),), ("Complete", "Failed")),
    Kind(
        "JobSet",
        Resource("jobset.x-k8s.io", "v1alpha2", "jobsets"),
        ("spec", "suspend"),
        (
            Part(
                ("spec", "replicatedJobs", "*"),
                (("replicas",), ("template", "spec", "parallelism")),
                ("template", "spec", "template"),
            ),
        ),
        ("Completed", "Failed"),
    ),
    Kind(
        "TrainJob",
        Resource("trainer.kubeflow.org", "v1alpha1", "trainjobs"),
        ("spec", "suspend"),
        (Part(("spec", "trainer"), (("numNodes",),), (), ("resourcesPerNode", "limits", GPU)),),
        ("Complete", "Failed"),
    ),
    Kind(
        "RayJob",
        Resource("ray.io", "v1", "rayjobs"),
        ("spec", "suspend"),
        _ray("spec", "rayClusterSpec"),
        state=("status", "jobDeploymentStatus"),
        ends=("Complete", "Failed"),
    ),
    Kind("RayCluster", Resource("ray.io", "v1", "rayclusters"), ("spec", "suspend"), _ray("spec")),
    Kind(
        "MPIJob",
        Resource("kubeflow.org", "v2beta1", "mpijobs"),
        ("spec", "runPolicy", "suspend"),
        (Part(("spec", "mpiReplicaSpecs", "*"), _REPLICAS),),
        ("Succeeded", "Failed"),
    ),
    Kind(
        "PyTorchJob",
        Resource("kubeflow.org", "v1", "pytorchjobs"),
        ("spec", "runPolicy", "suspend"),
        (Part(("spec", "pytorchReplicaSpecs", "*"), _REPLICAS),),
        ("Succeeded", "Failed"),
    ),
    Kind(
        "SparkApplication",
        Resource("sparkoperator.k8s.io", "v1beta2", "sparkapplications"),
        ("spec", "suspend"),
        (
            Part(("spec", "driver"), (), (), ("gpu", "quantity")),
            Part(("spec", "executor"), (("instances",),), (), ("gpu", "quantity")),
        ),
        state=("status", "applicationState", "state"),
        ends=("COMPLETED", "FAILED"),
    ),
)

KIND = {kind.name: kind for kind in KINDS}

SERVICES = frozenset({"Deployment", "StatefulSet", "LeaderWorkerSet"})
"""Known by their pods alone: nothing suspends them, an autoscaler of theirs may be bounded."""

LEADER_WORKER_SET = "leaderworkerset.sigs.k8s.io/name"
"""Label by which pods of a LeaderWorkerSet name it."""

STARTERS = frozenset({"CronJob"})
"""Owners of a kind's object that leave it be once it is made; under any other controller its fields are not ours."""

WATCHED: tuple[Resource, ...] = (
    PODS,
    NODES,
    *(kind.resource for kind in KINDS),
    WORKLOADS,
    CHECKS,
    HPAS,
    SCALED_OBJECTS,
)
"""What must be watched to know jobs. Pods, nodes and Jobs are served by every cluster, the others where installed."""

ALWAYS = (PODS, NODES, JOBS)
"""Until these are listed nothing is known of jobs."""
