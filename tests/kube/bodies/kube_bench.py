"""The operator's workload at work on two nodes, with a clock of the test's own and a door for an API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from api_door import Door, at_the_door, until
from kube_bodies import RESOURCES, T0_S, cluster, pod

from wattlease.core.actions import Action, Plan
from wattlease.core.api import PowerBudget
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import GpuReadings, JobState, NodeReadings, Snapshot
from wattlease.runtime.site import site_of
from wattlease.runtime.site_words import Group
from wattlease_operator.workload import KubeWorkload

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

    def let_go(self) -> None:
        """Act as in shadow mode."""
        self.work.let_go(*self.tick())

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
