"""The operator's work as the loop sees it: jobs in columns, plans that become writes, and nothing while unsure."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "bodies"))  # bodies are shared with the other tests of the operator

from api_door import Door, at_the_door, until
from kube_bodies import RESOURCES, T0_S, cluster, hpa, job, node, pod

from wattlease.core.actions import Action, Downsize, Hold, Pause, Plan, Release, Restore, Resume
from wattlease.core.api import PowerBudget, PowerProfile
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import GpuReadings, JobState, NodeReadings, Snapshot
from wattlease.runtime.site import site_of
from wattlease.runtime.site_words import Group
from wattlease_operator.cache import Cache
from wattlease_operator.ordering import RAISE_S
from wattlease_operator.workload import STALE_S, KubeWorkload

OURS = "wattlease.io/"
RUNS = {"node": "n1", "phase": "Running"}


class Shelf:
    """A state that is kept in this process."""

    def __init__(self) -> None:
        self.data: Mapping[str, Any] = {}

    async def load(self) -> Mapping[str, Any]:
        return self.data

    async def save(self, data: Mapping[str, Any]) -> bool:
        self.data = data
        return True


class Bench:
    """A workload at work on a cluster of two nodes of four cards, with a clock of the test's own."""

    def __init__(self, door: Door, api: Any, shelf: Shelf, **objects: list[Any]) -> None:
        self.now_s, self.door, self.shelf = 0.0, door, shelf
        self.cache = cluster(lambda: self.now_s, **objects)
        self.work = KubeWorkload("c1", self.cache, api, shelf, now=lambda: self.now_s)
        budget = PowerBudget.model_validate({"metadata": {"name": "hall"}, "spec": {"limitWatts": 12_000}})
        group = {"name": "a", "cluster": "c1", "budget": "hall", "nodes": 2, "nodeNames": ["n1", "n2"]}
        group |= {"gpusPerNode": 4, "gpuModel": "H100", "nodeNameplateWatts": 6000}
        self.site = site_of("hall", (Group.model_validate(group),), (budget,), ())

    def put(self, plural: str, body: dict[str, Any]) -> None:
        known = self.cache.of(RESOURCES[plural]).get((body["metadata"].get("namespace", ""), body["metadata"]["name"]))
        version = int(known["metadata"]["resourceVersion"]) + 1 if known else 1
        body["metadata"]["resourceVersion"] = str(version)
        self.cache.put(RESOURCES[plural], body)

    def tick(self) -> tuple[Snapshot, Plan, Memory]:
        now_s = T0_S + self.now_s
        jobs, of = self.work.jobs(self.site, [None] * 8, np.full(8, 300.0), now_s)
        site = replace(self.site, terms=self.work.terms)
        gpus = GpuReadings(np.full(8, 300.0), np.zeros(8), site.gpus.max_cap_w, of)
        nodes = NodeReadings(np.full(2, np.nan), np.full(2, np.inf), site.nodes.nameplate_w)
        snapshot = Snapshot(now_s, site, gpus, nodes, jobs)
        return snapshot, *decide(snapshot, FRESH)

    def act(self, *actions: Action, state: str = "within") -> None:
        snapshot, plan, after = self.tick()
        scopes = tuple(replace(scope, state=state) for scope in plan.scopes)
        self.work.act(snapshot, replace(plan, actions=actions, scopes=scopes), after)

    def states(self) -> dict[str, JobState]:
        jobs = self.tick()[0].jobs
        return dict(zip(jobs.id, map(JobState, jobs.state.tolist()), strict=True))

    async def asked(self, name: str, *actions: Action, state: str = "within") -> Any:
        """Act until an object of this name was written; its last body."""
        before = len(self.of(name))

        def done() -> bool:
            if len(self.of(name)) > before:
                return True
            self.now_s += 0.01
            self.act(*actions, state=state)
            return False

        await until(done)
        self.now_s += 10.0
        self.cache.hear()
        return self.of(name)[-1]

    async def quiet(self, *actions: Action, state: str = "within", within_s: float = 0.3) -> bool:
        """Whether these actions make nobody write to anything but nodes and the book."""
        before = self.others()
        for _ in range(3):
            self.act(*actions, state=state)
            await asyncio.sleep(within_s / 3)
        return self.others() == before

    def others(self) -> int:
        return sum("/nodes/" not in path and "configmaps" not in path for _, path, _ in self.door.asked)

    def of(self, name: str) -> list[Any]:
        return [body for _, path, body in self.door.asked if path.endswith((f"/{name}", f"/{name}/status"))]


@asynccontextmanager
async def bench(shelf: Shelf | None = None, **objects: list[Any]) -> AsyncIterator[Bench]:
    async with at_the_door() as (door, api):
        made = Bench(door, api, shelf or Shelf(), **objects)
        task = asyncio.create_task(made.work.run())
        try:
            await until(lambda: made.work._book.read)
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def service(count: int) -> list[dict[str, Any]]:
    made = {"labels": {"pod-template-hash": "abc"}}
    return [pod(f"chat-{i}", 1, owner=("ReplicaSet", "chat-abc"), **made, **RUNS) for i in range(count)]


async def test_a_job_is_paused_by_its_switch_and_its_pods_are_told_before() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        written = await at.asked("a", Pause("ml/a"))
        assert written["spec"] == {"suspend": True}
        ask = at.work.asks["ml/a"]
        assert (ask.name, ask.checkpoint, ask.pause) == ("ml/a-1", True, True)
        at.put("jobs", job("a", suspend=True, annotations=written["metadata"]["annotations"]))
        assert at.states() == {"ml/a": JobState.RUNNING}  # its pod is still there
        at.cache.drop(RESOURCES["pods"], pod("a-1"))
        assert at.states() == {"ml/a": JobState.PAUSED}
        assert await at.quiet()
        resumed = await at.asked("a", Resume("ml/a"))
        assert "spec" not in resumed
        assert "annotations" not in resumed["metadata"]


async def test_a_gated_pod_is_held_and_let_go() -> None:
    async with bench(pods=[pod("p", gates=(f"{OURS}power",))]) as at:
        assert at.states() == {"pod/ml/p": JobState.HELD}
        assert await at.quiet(Hold("pod/ml/p"))
        assert (await at.asked("p", Release("pod/ml/p")))[-1] == {"op": "remove", "path": "/spec/schedulingGates/0"}


async def test_while_the_api_server_is_silent_nothing_is_changed_and_jobs_stand_as_they_were_seen() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        before = at.states()
        at.now_s += STALE_S + 1.0
        assert at.states() == before
        assert await at.quiet(Pause("ml/a"))
        at.cache.hear()
        assert await at.asked("a", Pause("ml/a"))


async def test_until_pods_nodes_and_jobs_are_listed_nothing_is_changed() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        at.cache.leave_out(RESOURCES["nodes"])
        assert await at.quiet(Pause("ml/a"))


async def test_who_comes_to_lead_wants_nothing_of_what_was_wanted_before() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        at.door.open.clear()
        at.act(Pause("ml/a"))
        assert at.work._intents.wanted == {"ml/a": JobState.PAUSED}
        at.work.begin()
        assert not at.work._intents.wanted
        at.door.open.set()


async def test_a_smaller_batch_is_asked_for_until_it_is_given_back_and_a_successor_knows_of_it() -> None:
    steps = {"batchSteps": [{"batchPercent": 50, "drawPercent": 70, "speedPercent": 80}]}
    profile = {"metadata": {"name": "p", "namespace": "ml"}, "spec": {"selector": {"names": ["a"]}, **steps}}
    objects: dict[str, list[Any]] = {"jobs": [job("a")], "pods": [pod("a-1", owner=("Job", "a"), **RUNS)]}
    shelf = Shelf()
    async with bench(shelf, **objects) as at:
        at.work.agree((PowerProfile.model_validate(profile),))
        at.act(Downsize("ml/a", 0.5, ""))
        assert at.work.asks["ml/a"].batch_frac == 0.5
        assert at.tick()[0].jobs.batch_frac.tolist() == [0.5]
        await until(lambda: "ml/a" in shelf.data)
        async with bench(shelf, **objects) as after:
            assert after.tick()[0].jobs.batch_frac.tolist() == [0.5]
        at.act(Restore("ml/a"))
        assert at.work.asks["ml/a"].batch_frac == 1.0


async def test_a_service_grows_no_further_while_watts_are_short_and_has_its_ceiling_back_after() -> None:
    async with bench(pods=service(4), horizontalpodautoscalers=[hpa("h", 9, least=2)]) as at:
        assert await at.quiet()
        lowered = await at.asked("h", state="shedding")
        assert lowered["spec"] == {"maxReplicas": 4}
        at.put("horizontalpodautoscalers", hpa("h", 4, least=2, annotations=lowered["metadata"]["annotations"]))
        assert await at.quiet(state="shedding")
        assert await at.quiet(state="within")  # not at once: what is left over moves with every tick
        at.now_s += RAISE_S
        at.cache.hear()
        restored = await at.asked("h", state="within")
        assert restored["spec"] == {"maxReplicas": 9}
        assert "annotations" not in restored["metadata"]


async def test_a_service_shrinks_to_what_its_owner_allows_and_no_further() -> None:
    async with bench(pods=service(4), horizontalpodautoscalers=[hpa("h", 9, least=2)]) as at:
        written = await at.asked("h", Downsize("deployment/ml/chat", 0.5, ""), state="shedding")
        assert written["spec"] == {"maxReplicas": 2}


async def test_nodes_that_are_said_to_be_off_are_asleep_and_others_that_are_silent_are_not() -> None:
    off = "node.cloudprovider.kubernetes.io/shutdown"
    silent = node("n2", "node.kubernetes.io/unreachable", ready=False)
    async with bench(nodes=[node("n1", off, ready=False), silent]) as at:
        assert at.work.asleep == {"n1"}


async def test_nodes_show_what_they_may_draw() -> None:
    async with bench(nodes=[node("n1"), node("n2")], jobs=[job("a")]) as at:
        written = await at.asked("n1")
        assert int(written["metadata"]["annotations"][f"{OURS}granted-watts"]) > 0
        assert set(written) == {"apiVersion", "kind", "metadata"}


async def test_terms_are_the_same_tuple_until_something_in_them_changes() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        at.tick()
        before = at.work.terms
        at.tick()
        assert at.work.terms is before
        at.put("pods", pod("bare", **RUNS))
        at.tick()
        assert at.work.terms is not before


@pytest.mark.parametrize(("marks", "age_s"), [({}, 100.0), ({f"{OURS}checkpoint-seconds": "60"}, 0.0)])
async def test_a_pause_loses_what_was_done_since_the_last_save(marks: dict[str, str], age_s: float) -> None:
    pods = [pod("a-1", owner=("Job", "a"), **RUNS)]
    async with bench(jobs=[job("a", annotations=marks)], pods=pods) as at:
        at.now_s = 100.0
        assert at.tick()[0].jobs.checkpoint_age_s.tolist() == [age_s]
        at.now_s = 1900.0  # it saves itself every half hour, as its profile says by default
        assert at.tick()[0].jobs.checkpoint_age_s.tolist() == [age_s]


def test_an_empty_cache_is_a_cluster_without_jobs() -> None:
    work = KubeWorkload("c1", Cache(), None, Shelf())  # type: ignore[arg-type]
    assert not work.asleep
