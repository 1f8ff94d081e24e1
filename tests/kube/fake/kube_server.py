"""An API server in this process, on a real socket: versions, conflicts, uids, chunked lists, watches and 410 as etcd's.

It validates nothing and merges no applied fields: what needs that is tried on a real one.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio.client import Configuration

from wattlease_operator.api import path_of, version_of
from wattlease_operator.cache import Resource

KINDS = {
    Resource("", "v1", "configmaps"): "ConfigMap",
    Resource("", "v1", "namespaces", namespaced=False): "Namespace",
    Resource("", "v1", "pods"): "Pod",
    Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False): "CustomResourceDefinition",
    Resource("coordination.k8s.io", "v1", "leases"): "Lease",
    Resource("events.k8s.io", "v1", "events"): "Event",
}


@dataclass
class KubeServer:
    """Objects by their paths. `hangs` answers nobody, `loses` does what is asked and says that it did not, `refuses`
    are statuses by the beginning of a path, and `watch_status` is that of every watch."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: list[tuple[int, str, str, dict[str, Any]]] = field(default_factory=list)
    kinds: dict[Resource, str] = field(default_factory=lambda: dict(KINDS))
    version: int = 100
    oldest: int = 0
    url: str = ""
    hangs: bool = False
    loses: bool = False
    watch_status: int = 0
    refuses: dict[str, int] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def configuration(self) -> Configuration:
        found = Configuration(host=self.url)
        found.retries = None
        return found

    # What happens in the cluster

    def put(self, resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
        """Create or change an object from elsewhere."""
        meta = body["metadata"]
        path = path_of(resource, meta.get("namespace", ""), meta["name"])
        return self._store(path, body, resource)

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        path = path_of(resource, namespace, name)
        self.version += 1
        body = self.objects.pop(path)
        body["metadata"]["resourceVersion"] = str(self.version)
        self._tell("DELETED", path, body)

    def forget(self) -> None:
        """History is compacted, and every watch breaks: the next ones see 410."""
        self.oldest = self.version + 1
        self._wake()

    def _store(self, path: str, body: dict[str, Any], resource: Resource) -> dict[str, Any]:
        self.version += 1
        was = self.objects.get(path)
        meta = {"uid": str(uuid.uuid4())} if was is None else {"uid": was["metadata"]["uid"]}
        meta = {**body["metadata"], **meta, "resourceVersion": str(self.version)}
        head = {"apiVersion": version_of(resource), "kind": self.kinds[resource]}
        self.objects[path] = {**head, **body, "metadata": meta}
        self._tell("ADDED" if was is None else "MODIFIED", path, self.objects[path])
        return self.objects[path]

    def _tell(self, kind: str, path: str, body: dict[str, Any]) -> None:
        self.history.append((self.version, kind, path, json.loads(json.dumps(body))))
        self._wake()

    def _wake(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()

    # What is asked

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append((request.method, request.path_qs))
        while self.hangs:
            await asyncio.sleep(0.05)
        for start, status in self.refuses.items():
            if request.path.startswith(start):
                return web.json_response({"message": "refused"}, status=status)
        if request.path == "/version":
            return web.json_response({})
        if request.path in ("/api", "/apis") or (request.path.count("/") == 2 and request.path.startswith("/apis/")):
            return web.json_response(self._discovered(request.path))
        for resource in self.kinds:
            if request.path == path_of(resource).rpartition("/")[0]:
                return web.json_response(self._resources(resource))
            if found := self._placed(request.path, resource):
                answer = await self._on(request, resource, *found)
                return _status(503, "lost") if self.loses else answer
        return _status(404, "not found")

    def _discovered(self, path: str) -> dict[str, Any]:
        if path == "/api":
            return {"versions": ["v1"]}
        groups = sorted({(r.group, r.version) for r in self.kinds if r.group})
        told = [
            {"name": g, "versions": [{"groupVersion": f"{g}/{v}", "version": v}], "preferredVersion": {"version": v}}
            for g, v in groups
        ]
        return {"groups": told}

    def _resources(self, near: Resource) -> dict[str, Any]:
        here = [r for r in self.kinds if (r.group, r.version) == (near.group, near.version)]
        verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
        return {
            "resources": [
                {"name": r.plural, "kind": self.kinds[r], "namespaced": r.namespaced, "verbs": verbs,
                 "singularName": self.kinds[r].lower()} for r in here
            ]
        }  # fmt: skip

    def _placed(self, path: str, resource: Resource) -> tuple[str, str] | None:
        """Namespace and name that a path of this kind names."""
        root, _, plural = path_of(resource).rpartition("/")
        parts = path.removeprefix(root + "/").split("/") if path.startswith(root + "/") else []
        namespace = parts[1] if parts[:1] == ["namespaces"] and len(parts) > 2 else ""
        rest = parts[2:] if namespace else parts
        if rest[:1] != [plural]:
            return None
        return namespace, rest[1] if len(rest) > 1 else ""

    async def _on(self, request: web.Request, resource: Resource, namespace: str, name: str) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.bodies.append(body)
        if request.query.get("watch"):
            return await self._watch(request, resource)
        if request.method == "GET" and not name:
            return self._list(request, resource)
        if request.method == "POST":
            name = body["metadata"].get("name", "")
        path = path_of(resource, namespace, name)
        was = self.objects.get(path)
        match request.method:
            case "POST" if was is not None:
                return _status(409, "already exists")
            case "POST":
                return web.json_response(self._store(path, body, resource), status=201)
            case "GET" | "PUT" | "DELETE" if was is None:
                return _status(404, "not found")
            case "GET":
                return web.json_response(was)
            case "DELETE":
                self.remove(resource, namespace, name)
                return web.json_response({})
        meta, known = body.get("metadata", {}), was["metadata"] if was else {}
        if any(meta.get(key) not in (None, "", known.get(key)) for key in ("resourceVersion", "uid")):
            return _status(409, "the object has been modified")
        merged = body if request.method == "PUT" else {**(was or {}), **body}
        merged["metadata"] = {"name": name, "namespace": namespace, **known, **meta}
        return web.json_response(self._store(path, merged, resource))

    def _list(self, request: web.Request, resource: Resource) -> web.Response:
        end = path_of(resource).rpartition("/")[2]
        items = [b for p, b in sorted(self.objects.items()) if self._placed(p, resource) and f"/{end}/" in p]
        begin, limit = int(request.query.get("continue", "0")), int(request.query.get("limit", "500"))
        rest = {"continue": str(begin + limit)} if begin + limit < len(items) else {}
        meta = {"resourceVersion": str(self.version), **rest}
        told = {"kind": f"{self.kinds[resource]}List", "apiVersion": version_of(resource), "metadata": meta}
        bare = [{k: v for k, v in b.items() if k not in ("kind", "apiVersion")} for b in items[begin : begin + limit]]
        return web.json_response({**told, "items": bare})

    async def _watch(self, request: web.Request, resource: Resource) -> web.StreamResponse:
        if self.watch_status or not request.query.get("timeoutSeconds", "1").isdecimal():
            return _status(self.watch_status or 400, "this watch cannot be")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        since = int(request.query.get("resourceVersion", "0"))
        begun_oldest = self.oldest
        if since < self.oldest:
            gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
            await response.write(json.dumps(gone).encode() + b"\n")
            return response
        while not self.hangs and self.oldest == begun_oldest:
            news = self.news
            for version, kind, path, body in [h for h in self.history if h[0] > since]:
                since = version
                if self._placed(path, resource):
                    await response.write(json.dumps({"type": kind, "object": body}).encode() + b"\n")
            await asyncio.wait([asyncio.ensure_future(news.wait())], timeout=0.5)
        return response


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


@asynccontextmanager
async def kube_server() -> AsyncIterator[KubeServer]:
    """One that serves while the block runs."""
    server = KubeServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        yield server
    finally:
        server.hangs = False
        server.forget()
        await runner.cleanup()
