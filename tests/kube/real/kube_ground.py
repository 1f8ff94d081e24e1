"""A namespace of a real cluster on which the operator's levers are tried one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from kube_plane import ControlPlane

from wattlease.core.model import JobState
from wattlease_operator.api import Api, Trouble
from wattlease_operator.cache import Cache
from wattlease_operator.columns import state_of
from wattlease_operator.connection import connection
from wattlease_operator.gathering import Gathering, KubeJob
from wattlease_operator.hands import Hands
from wattlease_operator.kinds import CHECKS, HPAS, JOBS, KIND, PODS, WORKLOADS
from wattlease_operator.ordering import SHRINK, Order, Urgency, lever
from wattlease_operator.resizing import resize, resizes
from wattlease_operator.writes import Write

SOON_S = 90.0
"""Virtual kubelets on a busy machine take half a minute to let a pod go."""

JOBSETS = KIND["JobSet"].resource
LOOKED_AT = (PODS, JOBS, JOBSETS, WORKLOADS, CHECKS, HPAS)


class Ground:
    """A namespace of a real cluster, looked at by listing it and written to by the operator's own hands."""

    def __init__(self, plane: ControlPlane, api: Api, namespace: str) -> None:
        self.plane, self.api, self.hands, self.namespace = plane, api, Hands(api), namespace
        self.cache = Cache()
        self.gathering = Gathering(self.cache)

    async def look(self) -> None:
        for resource in LOOKED_AT:
            since = self.cache.moment()
            bodies = await self.api.list(resource)
            if not isinstance(bodies, Trouble):
                self.cache.replace(resource, bodies, since)

    async def job(self, name: str) -> KubeJob | None:
        await self.look()
        return self.gathering.jobs().get(name)

    async def stands(self, name: str) -> JobState | None:
        found = await self.job(name)
        return state_of(found) if found else None

    async def until(self, true: Callable[[], Any], what: str, patience_s: float = SOON_S) -> None:
        begun_s = time.monotonic()
        while not await asyncio.to_thread(true):
            assert time.monotonic() - begun_s < patience_s, f"not within {patience_s:g} s: {what}; {self.seen()}"
            await asyncio.sleep(0.2)

    async def bring(self, name: str, wanted: JobState, *reached: JobState | None) -> None:
        """Order what is missing until the job stands as wanted, or as one of `reached`, and nothing is missing."""
        begun_s = time.monotonic()
        while True:
            found = await self.job(name)
            assert found is not None
            writes = lever(found, wanted, time.time())
            if not writes and state_of(found) in (reached or (wanted,)):
                return
            assert time.monotonic() - begun_s < SOON_S, f"{name} is {state_of(found)}, not {wanted.name}: {found}"
            self.hands.order([Order(name, wanted.name, Urgency.PAUSE, writes)] if writes else [])
            await asyncio.sleep(0.3)

    async def size(self, name: str, gpus: int) -> None:
        """Order what is missing until each pod of the job runs on so many GPUs."""
        begun_s = time.monotonic()
        while True:
            found = await self.job(name)
            assert found is not None
            writes = resize(found, gpus, time.time())
            if not resizes(found, gpus) and found.placed and {p.gpus for p in found.alive} == {gpus}:
                return
            assert time.monotonic() - begun_s < SOON_S, f"{name} has not {gpus} GPUs a pod: {found}"
            self.hands.order([Order(name, SHRINK, Urgency.PAUSE, writes)] if writes else [])
            await asyncio.sleep(0.3)

    async def write(self, *writes: Write) -> None:
        for write in writes:
            assert await self.hands._do(write) is None

    def get(self, kind: str, name: str) -> Any:
        return self.plane.get(kind, name, "-n", self.namespace, "--show-managed-fields")

    def seen(self) -> list[Any]:
        """What there is of pods, for whoever reads why a test failed."""
        return [(body["spec"].get("nodeName"), body["status"]) for body in self.plane.get("pods", "-A")["items"]]

    def running(self) -> int:
        found = self.plane.get("pods", "-n", self.namespace)["items"]
        return sum(body["status"]["phase"] == "Running" for body in found)

    def pods(self) -> int:
        return len(self.plane.get("pods", "-n", self.namespace)["items"])


@asynccontextmanager
async def ground_of(plane: ControlPlane, namespace: str) -> AsyncIterator[Ground]:
    """With hands at work while the block lasts."""
    api = Api(await connection(str(plane.kubeconfig)))
    found = Ground(plane, api, namespace)
    task = asyncio.create_task(found.hands.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await api.close()


def managers(body: Any) -> set[str]:
    return {entry["manager"] for entry in body["metadata"].get("managedFields", ())}


def own(body: Any) -> Any:
    """What its owner wrote."""
    return body["spec"], body["metadata"].get("annotations", {}), body["metadata"].get("labels", {})
