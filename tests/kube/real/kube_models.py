"""Model servers behind a cluster's Services: what a kubelet would run in the pods of a Deployment, as one server each.

A server answers as OpenAI's API does, token by token. It listens once its pod has run for `starts_s`, is in its
Service's EndpointSlice from then on, and is gone with its pod: who was being answered is cut.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import aiohttp
import numpy as np
from aiohttp import web
from kube_gateway import own_address
from kube_plane import ControlPlane
from slurm_placed import Placed

from wattlease.core.model import Floats

LOG = logging.getLogger(__name__)

LOOK_S, TOKEN_S, TOKENS = 0.25, 0.05, 16
FIRST_S = 0.2
"""Till the first token. Go's reverse proxies cut a stream now and then whose answer begins while they are still at the
end of the request's body; no model answers that fast."""

PORT = 8000
FULL = 4
"""Requests at once that keep a model's cards busy."""


@dataclass
class Server:
    """One model. What a test turns: `broken` answers 500 to all, `starts_s` may be never. `told` is whether its Service
    has it among its endpoints; None where nobody could be told yet."""

    namespace: str
    name: str
    starts_s: float = 3.0
    broken: bool = False
    under_way: int = 0
    failed: int = 0
    answered: int = 0
    since_s: float | None = None
    told: bool | None = None
    runner: web.AppRunner | None = None

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "chat", "object": "model"}]})

    async def _metrics(self, _: web.Request) -> web.Response:
        counted = {"2xx": self.answered, "5xx": self.failed}
        lines = [f'vllm:num_requests_running{{model_name="chat"}} {float(self.under_way)}']
        lines += [
            f'http_requests_total{{handler="/v1/completions",status="{s}"}} {float(n)}' for s, n in counted.items()
        ]
        return web.Response(text="\n".join(lines))

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        if self.broken:
            self.failed += 1
            return web.json_response({"error": "broken"}, status=500)
        self.under_way += 1
        try:
            await asyncio.sleep(FIRST_S)
            answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Model": self.name})
            await answer.prepare(request)
            for _ in range(min(int(asked.get("max_tokens", TOKENS)), TOKENS)):
                await answer.write(b'data: {"choices": [{"text": "a"}]}\n\n')
                await asyncio.sleep(TOKEN_S)
            await answer.write(b"data: [DONE]\n\n")
            await answer.write_eof()
            self.answered += 1
            return answer
        finally:
            self.under_way -= 1


@dataclass(frozen=True, slots=True)
class Serving:
    """What the cards of a model's pods want: by the requests under way, and a little while none is."""

    pattern: str
    models: Models
    busy_w: Mapping[str, float]
    idle_w: float = 90.0

    def watts(self, job: Placed, at_s: float, chance: np.random.Generator) -> Floats:
        name = job.name.rsplit("-", 2)[0]
        namespace = job.job.split("/")[0]
        server = self.models.servers.get((namespace, name))
        busy = min((server.under_way if server else 0) / FULL, 1.0)
        level_w = self.idle_w + busy * (self.busy_w[name] - self.idle_w)
        return level_w * (1.0 + 0.02 * chance.uniform(-1.0, 1.0, len(job.cards)))


class Models:
    """Servers of the Deployments that were added, as their pods come and go, while the block lasts."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane, self.host = plane, own_address()
        self.servers: dict[tuple[str, str], Server] = {}
        self._gone: list[Server] = []
        self._over, self._thread = Event(), Thread(target=lambda: asyncio.run(self._run()), daemon=True, name="models")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(10.0)

    def add(self, namespace: str, name: str, **how: Any) -> Server:
        """A Service of a model, with an EndpointSlice that follows its pods."""
        server = Server(namespace, name, **how)
        meta = {"name": name, "namespace": namespace}
        spec = {"ports": [{"name": "http", "port": PORT, "protocol": "TCP"}]}
        self.plane.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        self.servers[namespace, name] = server
        return server

    async def _run(self) -> None:
        while not self._over.is_set():
            for server in list(self.servers.values()):
                try:
                    await self._follow(server)
                except Exception:  # an API server too busy to answer; the others are followed all the same
                    LOG.warning("%s in %s: again in a moment", server.name, server.namespace, exc_info=True)
            await asyncio.sleep(LOOK_S)
        for server in (*self.servers.values(), *self._gone):
            if server.runner:
                await server.runner.cleanup()

    async def _follow(self, server: Server) -> None:
        runs = await asyncio.to_thread(self._pod_runs, server)
        now_s = time.monotonic()
        if not runs:
            server.since_s = None
        elif server.since_s is None:
            server.since_s = now_s
        up = server.since_s is not None and now_s - server.since_s >= server.starts_s
        if up and server.runner is None:
            await self._open(server)
        if server.told != up:
            await asyncio.to_thread(self._tell, server, ready=up)
            server.told = up
        if not up and server.runner is not None:
            runner, server.runner = server.runner, None
            await runner.cleanup()

    async def _open(self, server: Server) -> None:
        runner = web.AppRunner(server.application(), shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, self.host, 0).start()
        server.runner = runner

    def _pod_runs(self, server: Server) -> bool:
        pods = self.plane.pods(server.namespace)
        mine = [p for p in pods if p["metadata"].get("labels", {}).get("app") == server.name]
        return any(p["status"]["phase"] == "Running" and "deletionTimestamp" not in p["metadata"] for p in mine)

    def forget(self, namespace: str) -> None:
        """The namespace is deleted: nobody is to write in it any more."""
        for key in [key for key in self.servers if key[0] == namespace]:
            self._gone.append(self.servers.pop(key))

    def _tell(self, server: Server, *, ready: bool) -> None:
        port = server.runner.addresses[0][1] if server.runner else PORT
        meta = {
            "name": f"{server.name}-1",
            "namespace": server.namespace,
            "labels": {"kubernetes.io/service-name": server.name},
        }
        self.plane.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": meta,
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
                "endpoints": [{"addresses": [self.host], "conditions": {"ready": ready}}],
            }
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """One request of the client: `whole` where the stream came to its end."""

    at_s: float
    status: int
    model: str
    whole: bool
    why: str = ""


class Client:
    """Asks through the gateway at a constant rate while the block lasts, and reads every stream to its end."""

    def __init__(self, gateway: str, host: str, every_s: float = 0.25) -> None:
        self._url, self._host, self._every_s = f"{gateway}/v1/completions", host, every_s
        self.answers: list[Answer] = []
        self._over, self._thread = Event(), Thread(target=lambda: asyncio.run(self._run()), daemon=True, name="client")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(20.0)

    def bad(self) -> list[Answer]:
        """Requests that failed or were cut."""
        return [answer for answer in self.answers if answer.status != 200 or not answer.whole]

    def models(self, last_s: float = 5.0) -> set[str]:
        """Who answered lately."""
        return {a.model for a in self.answers if a.at_s >= time.monotonic() - last_s}

    async def _run(self) -> None:
        asks: set[asyncio.Task[None]] = set()
        async with aiohttp.ClientSession() as session:
            while not self._over.is_set():
                task = asyncio.create_task(self._ask(session))
                asks.add(task)
                task.add_done_callback(asks.discard)
                await asyncio.sleep(self._every_s)
            await asyncio.gather(*asks, return_exceptions=True)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        at_s, status, model, whole, why = time.monotonic(), 0, "", False, ""
        body = {"model": "chat", "prompt": "Hello", "max_tokens": TOKENS, "stream": True}
        try:
            async with session.post(self._url, json=body, headers={"Host": self._host}) as answer:
                status, model = answer.status, answer.headers.get("X-Model", "")
                told = await answer.read()
                whole, why = told.endswith(b"data: [DONE]\n\n"), "" if status == 200 else told[:200].decode()
        except aiohttp.ClientError as trouble:
            why = repr(trouble)
        self.answers.append(Answer(at_s, status, model, whole, why))
