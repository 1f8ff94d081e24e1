"""An HTTP server that answers as an API server would, for tests of what goes over the wire to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from kubernetes.aio.client import Configuration

from wattlease_operator.api import Api

KINDS = {
    "jobs": "Job",
    "pods": "Pod",
    "nodes": "Node",
    "configmaps": "ConfigMap",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler",
    "scaledobjects": "ScaledObject",
    "workloads": "Workload",
    "admissionchecks": "AdmissionCheck",
}


class Door:
    """Answers as an API server would, notes what it was asked, and holds the door shut while told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.status: dict[str, int] = {}
        self.bodies: dict[str, Any] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.inside = self.most_inside = 0

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.count("/") == (2 if request.path.startswith("/api/") else 3):
            return web.json_response({"resources": [{"name": plural, "kind": kind} for plural, kind in KINDS.items()]})
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        await self.open.wait()
        self.inside -= 1
        body = await request.json() if request.can_read_body else None
        name = request.path.rsplit("/", 1)[-1]
        if request.method == "GET":
            found = self.bodies.get(name)
            return web.json_response(found or {"message": "gone"}, status=200 if found else 404)
        self.asked.append((request.method, request.path, body))
        status = self.status.get(name, 200)
        if status == 200 and name == "wattlease-book":
            self.bodies[name] = body
        return web.json_response({"message": "as told"}, status=status)


@asynccontextmanager
async def at_the_door() -> AsyncIterator[tuple[Door, Api]]:
    door = Door()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", door.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found = Configuration()
    found.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    api = Api(found)
    try:
        yield door, api
    finally:
        door.open.set()
        await api.close()
        await runner.cleanup()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(10.0):
        while not true():
            await asyncio.sleep(0.01)
