"""Fewer GPUs for a Job's pods: changed only while we have it suspended, never below its owner's word, and restored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "bodies"))  # bodies are shared with the other tests of the operator

from kube_bench import OURS, RUNS
from kube_bodies import GPU, T0_S, Server, cluster, job, pod, workload

from wattlease.core.model import JobState, Terms, Variant
from wattlease_operator.api import Trouble, Why
from wattlease_operator.columns import state_of
from wattlease_operator.gathering import Gathering, KubeJob
from wattlease_operator.ordering import lever
from wattlease_operator.resizing import REFUSED_S, Refusals, least_gpus, own_gpus, resize, resizes, smaller
from wattlease_operator.suspend import recalled
from wattlease_operator.writes import Apply, Disown, Steps

LEAST = f"{OURS}least-gpus-per-pod"
BEFORE, NOW = f"{OURS}gpus-per-pod-before", f"{OURS}gpus-per-pod"
LIMIT = ("spec", "template", "spec", "containers", "[main]", "resources", "limits", GPU)
SUSPEND = ("spec", "suspend")
SUSPENDED = {"conditions": [{"type": "Suspended", "status": "True"}]}
ASKS = {LEAST: "2"}


class World:
    """A Job, its controller, and its pods, which take their time to go."""

    def __init__(self, gpus: int = 8, pods: int = 2, **marks: str) -> None:
        self.server = Server(job("a", gpus, pods=pods, annotations=ASKS | marks))
        released = ("metadata", "annotations", f"{OURS}released-at")
        if released in self.server.leaves:  # made suspended, and let go by us
            self.server.owners |= {SUSPEND: {"wattlease/"}, released: {"wattlease/"}}
        else:
            del self.server.leaves[SUSPEND], self.server.owners[SUSPEND]
        self.count, self.alive = pods, [gpus] * pods
        self.status: dict[str, Any] = {}

    @property
    def gpus(self) -> int:
        return int(self.server.leaves[LIMIT])

    @property
    def suspended(self) -> bool:
        return self.server.leaves.get(SUSPEND) is True

    def seen(self) -> KubeJob:
        body = self.server.body() | {"status": self.status}
        pods = [pod(f"a-{i}", n, owner=("Job", "a"), **RUNS) for i, n in enumerate(self.alive)]
        [found] = Gathering(cluster(jobs=[body], pods=pods)).jobs().values()
        return found

    def write(self, *writes: Any) -> None:
        for write in writes:
            before = self.gpus
            if isinstance(write, Steps):
                assert self.suspended, "the API server lets nobody change the template of a Job that runs"
                assert not self.alive
                assert self.status == SUSPENDED
            self.server.write(write)
            assert isinstance(write, Steps) or self.gpus == before
            if isinstance(write, Apply):
                told = {k for k in write.fields.get("metadata", {}).get("annotations", {}) if not k.startswith(OURS)}
                assert not told
                assert set(write.fields) <= {"metadata", "spec"}
                assert set(write.fields.get("spec", {})) <= {"suspend"}

    def controller(self) -> None:
        """The Job's controller sees what was written."""
        if self.suspended:
            self.alive, self.status = [], SUSPENDED
        elif not self.alive:
            self.alive, self.status = [self.gpus] * self.count, {}

    def bring(self, gpus: int, now_s: float = T0_S) -> None:
        for _ in range(4):
            self.write(*resize(self.seen(), gpus, now_s))
            self.controller()
        assert not resizes(self.seen(), gpus)
        assert not resize(self.seen(), gpus, now_s)


STEPS = st.sampled_from(["shrink", "grow", "pause", "resume", "controller", "person resumes", "person writes"])


@settings(max_examples=60, deadline=None)
@given(gpus=st.integers(3, 8), pods=st.integers(1, 3), steps=st.lists(STEPS, max_size=14))
def test_a_number_is_its_owners_or_his_least_and_what_stood_before_is_never_lost(
    gpus: int, pods: int, steps: list[str]
) -> None:
    world, allowed, written = World(gpus, pods), {gpus, 2}, gpus
    for step in steps:
        job = world.seen()
        match step:
            case "shrink":
                world.write(*resize(job, least_gpus(job), T0_S) if least_gpus(job) else ())
            case "grow":
                world.write(*resize(job, own_gpus(job), T0_S) if own_gpus(job) else ())
            case "pause" | "resume":
                world.write(*lever(job, JobState.PAUSED if step == "pause" else JobState.RUNNING, T0_S))
            case "controller":
                world.controller()
            case "person resumes" if world.suspended:
                world.server.update(SUSPEND, False)
            case "person writes" if world.suspended and not world.alive:
                written = gpus + 1
                world.server.update(LIMIT, str(written))
                allowed |= {written}
        assert world.gpus in allowed
        job = world.seen()
        if job.resizable:
            assert own_gpus(job) == written
            assert world.gpus == written or job.shrunk_from == written


@settings(max_examples=20, deadline=None)
@given(gpus=st.integers(3, 16), pods=st.integers(1, 3), held=st.booleans())
def test_what_was_shrunk_and_restored_is_as_it_was_and_owned_by_nobody_of_ours(
    gpus: int, pods: int, held: bool
) -> None:
    marks = {f"{OURS}released-at": "2026-11-21T10:00:00Z"} if held else {}
    world = World(gpus, pods, **marks)
    before = world.server.body()
    world.bring(2)
    assert (world.gpus, world.suspended, world.alive) == (2, False, [2] * pods)
    assert world.seen().gpus == gpus * pods
    world.bring(own_gpus(world.seen()))
    assert world.server.body() == before
    ours = {path for path, owners in world.server.owners.items() if any("wattlease" in who for who in owners)}
    assert ours == ({SUSPEND, ("metadata", "annotations", f"{OURS}released-at")} if held else set())


def test_a_checkpoint_is_asked_for_and_awaited_before_the_gpus_are_changed() -> None:
    world = World(**{f"{OURS}checkpoint-seconds": "60"})
    world.write(*resize(world.seen(), 2, T0_S))
    assert not world.suspended
    assert not resize(world.seen(), 2, T0_S + 59)
    [paused] = resize(world.seen(), 2, T0_S + 60)
    world.write(paused)
    assert world.suspended


def test_until_its_pods_are_gone_and_its_controller_says_so_nothing_is_changed() -> None:
    world = World()
    world.write(*resize(world.seen(), 2, T0_S))
    assert state_of(world.seen()) == JobState.RUNNING
    assert not resize(world.seen(), 2, T0_S)
    world.alive = []
    assert not resize(world.seen(), 2, T0_S)
    world.status = SUSPENDED | {"active": 1}
    assert not resize(world.seen(), 2, T0_S)
    world.status = SUSPENDED
    assert len(resize(world.seen(), 2, T0_S)) == 4


def test_a_writer_that_died_between_two_writes_leaves_what_the_next_one_mends() -> None:
    world = World()
    before = world.server.body()
    world.write(*resize(world.seen(), 2, T0_S))
    world.controller()
    [_, marks, change, _] = resize(world.seen(), 2, T0_S)
    world.write(marks)
    assert world.seen().shrunk_from == 0  # the marks alone mean nothing
    world.write(*lever(world.seen(), JobState.RUNNING, T0_S))
    assert world.server.body() == before
    world.write(*resize(world.seen(), 2, T0_S))
    world.controller()
    world.write(marks, change)
    assert world.seen().shrunk_from == 8
    world.write(*lever(world.seen(), JobState.RUNNING, T0_S))
    world.controller()
    assert (world.gpus, world.seen().shrunk_from) == (2, 8)
    world.write(*resize(world.seen(), 8, T0_S))
    world.controller()
    [change, resumed, disowned] = resize(world.seen(), 8, T0_S)
    world.write(change)
    assert world.seen().shrunk_from == 0
    assert lever(world.seen(), JobState.RUNNING, T0_S) == (resumed,)
    world.write(resumed)
    assert world.server.body() == before
    assert disowned == Disown(world.seen().work.ref, "Update")  # type: ignore[union-attr]


def test_marks_of_a_number_that_somebody_else_wrote_are_taken_back() -> None:
    world = World()
    world.bring(2)
    world.server.update(LIMIT, "5")
    assert (world.seen().shrunk_from, own_gpus(world.seen())) == (0, 5)
    world.write(*recalled(world.seen()))
    assert not {BEFORE, NOW} & {path[-1] for path in world.server.leaves}
    assert not recalled(world.seen())


def test_a_job_that_a_person_resumed_keeps_the_gpus_that_it_has() -> None:
    world = World()
    world.write(*resize(world.seen(), 2, T0_S))
    world.server.update(SUSPEND, False)
    assert not least_gpus(world.seen())
    assert not resize(world.seen(), 2, T0_S)


def test_a_person_who_resumed_it_since_it_was_seen_is_not_overruled() -> None:
    world = World()
    world.write(*resize(world.seen(), 2, T0_S))
    world.controller()
    first, *_ = resize(world.seen(), 2, T0_S)
    assert isinstance(first, Steps)
    world.server.update(SUSPEND, False)
    with pytest.raises(AssertionError):  # as the API server refuses what its tests do not hold for
        world.server.write(first)


def unlike(**changes: Any) -> dict[str, Any]:
    body = job("a", 8, annotations=ASKS)
    body["spec"]["template"]["spec"] |= changes
    return body


HOLDS = {"resources": {"limits": {GPU: "8"}}}


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (job("a", 8), {}),
        *((job("a", 8, annotations={LEAST: word}), {}) for word in ("8", "9", "0", "-1", "2.5", "two", "")),
        (job("a", 8, annotations=ASKS, labels={"kueue.x-k8s.io/queue-name": "gpus"}), {}),
        (job("a", 8, annotations=ASKS), {"workloads": [workload("w", ("Job", "a"))]}),
        (job("a", 8, annotations=ASKS, ownerReferences=[{"kind": "JobSet", "name": "s", "controller": True}]), {}),
        (unlike(containers=[{"name": "main", **HOLDS}, {"name": "other", **HOLDS}]), {}),
        (unlike(initContainers=[{"name": "begins", **HOLDS}]), {}),
        (unlike(containers=[{"name": "main", "resources": {"limits": {"nvidia.com/mig-1g.10gb": "4"}}}]), {}),
    ],
)
def test_whoever_did_not_agree_or_is_not_ours_to_suspend_keeps_its_gpus(body: Any, more: dict[str, list[Any]]) -> None:
    [found] = Gathering(cluster(jobs=[body], **more)).jobs().values()
    assert least_gpus(found) == 0
    assert smaller(found, Terms(name="t")) is None


def test_fewer_gpus_cost_the_work_that_is_lost_and_the_restart() -> None:
    found = smaller(World().seen(), Terms(name="t", restart_s=100.0, checkpoint_every_s=600.0))
    assert found is not None
    assert found == Variant("2 of 8 GPUs a pod", 0.25, 0.25, 1.0, 400.0, 0.25)
    saves = smaller(World(**{f"{OURS}checkpoint-seconds": "60"}).seen(), Terms(name="t", restart_s=100.0))
    assert saves is not None
    assert saves.swap_s == 160.0
    assert smaller(World().seen(), Terms(name="t", checkpoint_every_s=0.0)) is None


def test_a_server_that_lets_nobody_change_it_is_not_asked_for_another_job_either() -> None:
    now_s = [0.0]
    for text, others in (("422 spec.template: Invalid value: field is immutable", True), ("403 not this one", False)):
        refusals = Refusals(lambda: now_s[0])
        assert not refusals.hold("ml/a")
        refusals.take("ml/a", Trouble("PATCH", Why.REFUSED, text))
        assert (refusals.hold("ml/a"), refusals.hold("ml/b")) == (True, others)
        now_s[0] += REFUSED_S
        assert not refusals.hold("ml/a")
