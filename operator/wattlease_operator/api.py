"""What is asked of the API server, each question once and in a bounded time; trouble is a value.

Whoever asks decides whether to ask again. An object's `uid` goes with every change of it, so that nothing is done to
another that was created since under the same name, and an apply never creates what is gone.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeAlias
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio.client import ApiClient, ApiException, Configuration

from wattlease_operator.cache import Body, Ref, Resource

CALL_S = 10.0
"""The longest that one call takes; a webhook between may take as long by itself."""

CHUNK = 500
"""Objects in one answer to a list."""

MANAGER = "wattlease"
"""Under which name the fields that we write are ours."""

TEXT_MAX = 500
NOTE_MAX = 1000
"""Of an event's sentence: the API server takes 1024 bytes."""

EVENTS = Resource("events.k8s.io", "v1", "events")


class Why(Enum):
    """What to make of trouble."""

    GONE = "gone"
    """The object, its kind, or what a list began with, is not there."""

    CONFLICT = "conflict"
    """It is another than was thought: read it again."""

    REFUSED = "refused"
    """It will be refused again: not permitted, or not valid."""

    UNREACHABLE = "unreachable"
    """No answer, or one that says to come back; it may have been done all the same."""

    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What was asked, what to make of the answer, and its words."""

    what: str
    why: Why
    text: str

    def __str__(self) -> str:
        return f"{self.what}: {self.text}"


Patch: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Api:
    """One API server, asked from one event loop. `heard` is called whenever it answers, whatever it says."""

    def __init__(
        self, configuration: Configuration, heard: Callable[[], None] = lambda: None, call_s: float = CALL_S
    ) -> None:
        self._client = ApiClient(configuration)
        self._client.user_agent = MANAGER
        self._heard, self._call_s = heard, call_s
        self._instance = socket.gethostname()[:128] or MANAGER
        self._kinds: dict[Resource, str] = {}

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    # One object

    async def read(self, ref: Ref) -> Trouble | Body:
        """The object as it is now."""
        return await self._ask("GET", path_of(ref.resource, ref.namespace, ref.name))

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Trouble | Body:
        """Make a new object; CONFLICT where one of the name is there."""
        return await self._ask("POST", path_of(resource, namespace), body)

    async def replace(self, ref: Ref, body: Mapping[str, Any]) -> Trouble | Body:
        """Write a whole object; CONFLICT unless the body's `resourceVersion` is the newest."""
        return await self._ask("PUT", path_of(ref.resource, ref.namespace, ref.name), body)

    async def apply(
        self,
        ref: Ref,
        body: Mapping[str, Any],
        *,
        subresource: str = "",
        force: bool = False,
        manager: str = MANAGER,
    ) -> Trouble | None:
        """Own these fields of an object, and no longer those that were applied before; server-side apply.

        Without a `uid` an object that is not there is created.
        """
        kind = await self.kind(ref.resource)
        if isinstance(kind, Trouble):
            return kind
        meta = {"name": ref.name} | ({"namespace": ref.namespace} if ref.namespace else {})
        meta |= {"uid": ref.uid} if ref.uid else {}
        whole = {"apiVersion": version_of(ref.resource), "kind": kind, **body}
        whole["metadata"] = {**body.get("metadata", {}), **meta}
        path = path_of(ref.resource, ref.namespace, ref.name, subresource)
        query = [("fieldManager", manager), ("force", "true" if force else "false")]
        return _no_body(await self._ask("PATCH", path, whole, "application/apply-patch+yaml", query))

    async def patch(self, ref: Ref, patch: Patch, *, subresource: str = "") -> Trouble | None:
        """A merge patch for a mapping, a JSON patch for a sequence."""
        path = path_of(ref.resource, ref.namespace, ref.name, subresource)
        query = [("fieldManager", MANAGER)]
        if isinstance(patch, Mapping):
            meta = {**patch.get("metadata", {}), **({"uid": ref.uid} if ref.uid else {})}
            whole = {**patch, "metadata": meta} if meta else patch
            return _no_body(await self._ask("PATCH", path, whole, "application/merge-patch+json", query))
        steps = [{"op": "test", "path": "/metadata/uid", "value": ref.uid}] if ref.uid else []
        answer = await self._ask("PATCH", path, [*steps, *patch], "application/json-patch+json", query)
        return _no_body(_tested(answer))

    async def delete(self, ref: Ref) -> Trouble | None:
        """Remove an object."""
        options = {"preconditions": {"uid": ref.uid}} if ref.uid else {}
        return _no_body(await self._ask("DELETE", path_of(ref.resource, ref.namespace, ref.name), options))

    async def event(self, about: Ref, reason: str, text: str, *, warning: bool = False) -> Trouble | None:
        """Tell people who look at the object; of a kind without namespaces, in `default`."""
        kind = await self.kind(about.resource)
        if isinstance(kind, Trouble):
            return kind
        namespace = about.namespace or "default"
        regarding = {"apiVersion": version_of(about.resource), "kind": kind, "name": about.name}
        regarding |= {k: v for k, v in (("namespace", about.namespace), ("uid", about.uid)) if v}
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{about.name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": "wattlease.io/operator",
            "reportingInstance": self._instance,
            "action": reason,
            "reason": reason,
            "regarding": regarding,
            "note": text[:NOTE_MAX],
            "type": "Warning" if warning else "Normal",
        }
        return _no_body(await self.create(EVENTS, namespace, body))

    # Kinds

    async def kind(self, resource: Resource) -> Trouble | str:
        """What the objects of a resource are called, as in `kind: Job`; GONE where it is not served."""
        if known := self._kinds.get(resource):
            return known
        return await self.look_up(resource)

    async def groups(self) -> Trouble | frozenset[tuple[str, str]]:
        """The groups that are served with their versions; the core's is nameless."""
        found = await self._ask("GET", "/apis")
        if isinstance(found, Trouble):
            return found
        versions = ((group["name"], v["version"]) for group in found["groups"] for v in group["versions"])
        return frozenset((("", "v1"), *versions))

    async def look_up(self, resource: Resource) -> Trouble | str:
        """The same, asked anew."""
        self._kinds.pop(resource, None)
        found = await self._ask("GET", _root(resource))
        if isinstance(found, Trouble):
            return found
        kinds = {entry["name"]: entry["kind"] for entry in found.get("resources", ())}
        if resource.plural not in kinds:
            return Trouble(f"GET {_root(resource)}", Why.GONE, f"{resource.plural} are not served")
        self._kinds[resource] = kinds[resource.plural]
        return self._kinds[resource]

    async def served(self, resource: Resource) -> bool:
        """Whether the API server has such objects; False too where it does not answer."""
        return isinstance(await self.look_up(resource), str)

    async def alive(self) -> bool:
        """Whether it answers at all."""
        return not isinstance(await self._ask("GET", "/version"), Trouble)

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        chunk: int = CHUNK,
        most: int | None = None,
    ) -> Trouble | Sequence[Body]:
        """All objects of the kind that the selectors leave, of a namespace or of all, or the first `most` of them."""
        found: list[Body] = []
        query = [(k, v) for k, v in (("labelSelector", labels), ("fieldSelector", fields)) if v]
        proceed = ""
        while True:
            here = [*query, ("limit", str(most or chunk)), *([("continue", proceed)] if proceed else [])]
            page = await self._ask("GET", path_of(resource, namespace), query=here)
            if isinstance(page, Trouble):
                return page
            head = {"apiVersion": version_of(resource), "kind": page["kind"].removesuffix("List")}
            found += [{**head, **item} for item in page.get("items") or ()]
            proceed = page["metadata"].get("continue", "")
            if not proceed or (most is not None and len(found) >= most):
                return found

    # The wire

    async def _ask(
        self,
        verb: str,
        path: str,
        body: Any = None,
        media: str = "application/json",
        query: Sequence[tuple[str, str]] = (),
    ) -> Trouble | Body:
        what = f"{verb} {path}"
        try:
            async with asyncio.timeout(self._call_s):
                status, data = await self._send(verb, path, body, media, query)
        except (TimeoutError, aiohttp.ClientError, ssl.SSLError, OSError, ApiException) as trouble:
            text = str(trouble) or f"no answer within {self._call_s:g} s"
            return Trouble(what, Why.UNREACHABLE, f"{type(trouble).__name__}: {text}"[:TEXT_MAX])
        self._heard()
        return _believed(what, status, data)

    async def _send(
        self, verb: str, path: str, body: Any, media: str, query: Sequence[tuple[str, str]]
    ) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "Content-Type": media}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, verb, body)
        url = f"{self._client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        response = await self._client.call_api(
            verb,
            url,
            headers | self._client.default_headers,
            body,
            _request_timeout=aiohttp.ClientTimeout(self._call_s),
        )
        return response.status, await response.read()  # type: ignore[no-untyped-call]


def path_of(resource: Resource, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """Where the API server keeps a kind's objects, or one of them."""
    parts = [_root(resource), *(["namespaces", namespace] if namespace else []), resource.plural, name, subresource]
    return "/".join(part for part in parts if part)


def version_of(resource: Resource) -> str:
    """What `apiVersion` says of such an object."""
    return f"{resource.group}/{resource.version}" if resource.group else resource.version


def _root(resource: Resource) -> str:
    return f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"


_WHY = {404: Why.GONE, 410: Why.GONE, 409: Why.CONFLICT, 412: Why.CONFLICT, 429: Why.UNREACHABLE}


def _believed(what: str, status: int, data: bytes) -> Trouble | Body:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        body = None
    if status < 300 and isinstance(body, dict):
        return body
    why = _WHY.get(status, Why.UNREACHABLE if status >= 500 else Why.REFUSED if status >= 400 else Why.UNKNOWN)
    said = body.get("message", "") if isinstance(body, dict) else data[:TEXT_MAX].decode(errors="replace")
    return Trouble(what, why, _cut(f"{status} {said}"))


def _cut(text: str) -> str:
    """Its beginning and its end, for the values that it is about stand between: a whole template, where that is it."""
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 103]}...{text[-100:]}"


def _tested(answer: Trouble | Body) -> Trouble | Body:
    """A step of a JSON patch that does not fit the object is a conflict, whatever the API server calls it."""
    if isinstance(answer, Trouble) and answer.text.startswith("422 the server rejected our request"):
        return Trouble(answer.what, Why.CONFLICT, answer.text)
    return answer


def _no_body(answer: Trouble | Body) -> Trouble | None:
    return answer if isinstance(answer, Trouble) else None
