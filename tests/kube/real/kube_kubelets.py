"""What kubelets know: which pod holds which card, served on a pod-resources socket of every node's own.

A pod gets the lowest cards that are free when it is first seen on its node, and keeps them until it is done or gone,
as a device plugin's would. Pods stay as they were told last while the API server is away: nobody stops them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import aiohttp
import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import orjson
from kube_kwok import GPU
from kube_plane import ControlPlane
from slurm_placed import Placed

from wattlease.agent.jobs.podresources import LIST, ListResponse

LOOK_S = 0.25
DONE = frozenset({"Succeeded", "Failed"})
JOB_NAME = "batch.kubernetes.io/job-name"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod on its node, as far as a kubelet's device manager cares. `work` names what it does: its job, or itself."""

    uid: str
    namespace: str
    name: str
    node: str
    phase: str
    gpus: int
    work: str


class Kubelets:
    """All nodes' while the block lasts; `uuids` are each node's cards by their indexes."""

    def __init__(self, plane: ControlPlane, uuids: Mapping[str, Sequence[str]]) -> None:
        self.plane, self.uuids = plane, {node: tuple(cards) for node, cards in uuids.items()}
        self.sockets = {node: plane.folder / "kubelets" / f"{node}.sock" for node in uuids}
        self.jobs: tuple[Placed, ...] = ()
        self.overfull: list[str] = []
        """Pods that the scheduler put where no card is free; a law of the scheduler's, so it stays empty."""
        self._held: dict[str, tuple[int, ...]] = {}
        self._pods: dict[str, Pod] = {}
        self._up, self._over = Event(), Event()
        self._thread = Thread(target=self._run, daemon=True, name="kubelets")

    def __enter__(self) -> Self:
        next(iter(self.sockets.values())).parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        assert self._up.wait(20.0), "the kubelets' sockets did not open"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        trust = ssl.create_default_context(cafile=str(self.plane.authority))
        headers = {"Authorization": f"Bearer {self.plane.token}"}
        patience = aiohttp.ClientTimeout(total=2.0)
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(
                aiohttp.ClientSession(
                    self.plane.url, headers=headers, timeout=patience, connector=aiohttp.TCPConnector(ssl=trust)
                )
            )
            for node in self.sockets:
                server = self._server(node)
                await server.start()
                stack.push_async_callback(server.stop, None)
            while not self._over.is_set():
                await self._look(session)
                self._up.set()
                await asyncio.sleep(LOOK_S)

    def _server(self, node: str) -> Any:
        async def asked(request: bytes, context: object) -> bytes:
            return self._told(node)

        service, method = LIST.strip("/").split("/")
        server = grpc.aio.server()
        handlers = {method: grpc.unary_unary_rpc_method_handler(asked)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        server.add_insecure_port(f"unix:{self.sockets[node]}")
        return server

    async def _look(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get("/api/v1/pods", params={"resourceVersion": "0"}) as answer:
                if answer.status != 200:
                    return
                told = orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError):
            return
        self._take([pod for body in told["items"] if (pod := _pod(body))])

    def _take(self, pods: Iterable[Pod]) -> None:
        """Cards of who is done or gone are free first."""
        now = {pod.uid: pod for pod in pods if pod.node in self.uuids and pod.phase not in DONE and pod.gpus}
        self._held = {uid: cards for uid, cards in self._held.items() if uid in now}
        for pod in now.values():
            if pod.uid not in self._held:
                self._admit(pod, now)
        self._pods = {uid: pod for uid, pod in now.items() if uid in self._held}
        self.jobs = tuple(
            Placed(
                f"{pod.namespace}/{pod.name}", pod.work, pod.namespace, pod.phase.upper(),
                tuple((pod.node, index) for index in self._held[uid]), computes=pod.phase == "Running",
            )
            for uid, pod in self._pods.items()
        )  # fmt: skip

    def _admit(self, pod: Pod, now: Mapping[str, Pod]) -> None:
        taken = {i for uid, cards in self._held.items() if now[uid].node == pod.node for i in cards}
        free = [i for i in range(len(self.uuids[pod.node])) if i not in taken][: pod.gpus]
        if len(free) < pod.gpus:
            self.overfull.append(f"{pod.namespace}/{pod.name} on {pod.node}")
        else:
            self._held[pod.uid] = tuple(free)

    def _told(self, node: str) -> bytes:
        answer = ListResponse()
        for uid, pod in self._pods.items():
            if pod.node == node:
                said = answer.pod_resources.add(name=pod.name, namespace=pod.namespace)
                cards = [self.uuids[node][index] for index in self._held[uid]]
                said.containers.add(name="main").devices.add(resource_name=GPU, device_ids=cards)
        return bytes(answer.SerializeToString())


def _pod(body: Mapping[str, Any]) -> Pod | None:
    """None where the scheduler has not placed it."""
    meta, spec = body["metadata"], body["spec"]
    if not spec.get("nodeName"):
        return None
    wanted = (c.get("resources", {}).get("limits", {}).get(GPU, 0) for c in spec["containers"])
    work = meta.get("labels", {}).get(JOB_NAME) or meta["name"]
    phase = body.get("status", {}).get("phase", "Pending")
    return Pod(meta["uid"], meta["namespace"], meta["name"], spec["nodeName"], phase, sum(map(int, wanted)), work)
