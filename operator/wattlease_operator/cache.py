"""The newest body of every object that watches told of, and how long ago the API server last spoke.

Watches and lists race: a list may carry what a watch has just told to be gone, and what a watch has told since the list
began is newer than the list. So bodies are compared by their resource versions, and who was told to be gone stays gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from wattlease.runtime.lease.clock import Now, steady_s

Body: TypeAlias = Mapping[str, Any]
"""An object as the API server tells it, less its managed fields; never changed in place."""

Key: TypeAlias = tuple[str, str]
"""Namespace (empty where the kind has none) and name."""

GONE_S = 600.0
"""How long it is remembered that an object is gone: far longer than any list takes."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of objects, by its place in the API; `group` is empty for the core's own."""

    group: str
    version: str
    plural: str
    namespaced: bool = True


@dataclass(frozen=True, slots=True)
class Ref:
    """One object; with a `uid` none that was created later under the same name."""

    resource: Resource
    namespace: str
    name: str
    uid: str = ""


@dataclass(slots=True)
class _Shelf:
    """The objects of one kind."""

    bodies: dict[Key, Body] = field(default_factory=dict)
    told: dict[Key, int] = field(default_factory=dict)
    gone_s: dict[str, float] = field(default_factory=dict)
    complete: bool = False
    revision: int = 0


class Cache:
    """The newest body of every object that watches told of.

    `put`, `drop`, `replace` and `leave_out` are for whoever watches; all others only read.
    """

    def __init__(self, now: Now = steady_s) -> None:
        self._now = now
        self._shelves: dict[Resource, _Shelf] = {}
        self._heard_s = float("-inf")
        self._moment = 0

    def of(self, resource: Resource) -> Mapping[Key, Body]:
        """By namespace and name; empty where the kind is not served. A view: it moves with the cluster."""
        return MappingProxyType(self._shelf(resource).bodies)

    def complete(self, resource: Resource) -> bool:
        """Whether it was listed once since the watch began."""
        return self._shelf(resource).complete

    def revision(self, resource: Resource) -> int:
        """Another number after each change of any of its objects."""
        return self._shelf(resource).revision

    def age_s(self) -> float:
        """Seconds since anything proved that the API server still speaks to us; infinite before it ever did."""
        return self._now() - self._heard_s

    def hear(self) -> None:
        """The API server spoke, whatever it said."""
        self._heard_s = self._now()

    def moment(self) -> int:
        """A mark for `replace`: what is put or dropped after it is newer than it."""
        return self._moment

    def put(self, resource: Resource, body: Body) -> None:
        """A watch told of this body; one older than what is known, or of an object that is gone, is passed over."""
        self.hear()
        self._take(self._shelf(resource), body)

    def drop(self, resource: Resource, body: Body) -> None:
        """A watch told that this object is gone."""
        self.hear()
        shelf, key, uid = self._shelf(resource), key_of(body), uid_of(body)
        shelf.gone_s[uid] = self._now()
        if key in shelf.bodies and uid_of(shelf.bodies[key]) == uid:
            self._remove(shelf, key)

    def replace(self, resource: Resource, bodies: Iterable[Body], since: int) -> None:
        """All objects of the kind, as one list told that began at the moment `since`: what it lacks is gone."""
        self.hear()
        shelf = self._shelf(resource)
        listed = set()
        for body in bodies:
            listed.add(key_of(body))
            self._take(shelf, body)
        for key in [k for k, told in shelf.told.items() if k not in listed and told <= since]:
            shelf.gone_s[uid_of(shelf.bodies[key])] = self._now()
            self._remove(shelf, key)
        shelf.gone_s = {uid: at for uid, at in shelf.gone_s.items() if self._now() - at < GONE_S}
        shelf.complete = True

    def leave_out(self, resource: Resource) -> None:
        """The kind is not served any more: it has no objects, and is listed anew once it is."""
        if shelf := self._shelves.pop(resource, None):
            self._moment += 1
            self._shelves[resource] = _Shelf(revision=shelf.revision + 1)

    def _shelf(self, resource: Resource) -> _Shelf:
        return self._shelves.setdefault(resource, _Shelf())

    def _take(self, shelf: _Shelf, body: Body) -> None:
        key = key_of(body)
        if uid_of(body) in shelf.gone_s or not _newer(body, shelf.bodies.get(key)):
            return
        self._moment += 1
        shelf.bodies[key], shelf.told[key] = _lean(body), self._moment
        shelf.revision += 1

    def _remove(self, shelf: _Shelf, key: Key) -> None:
        self._moment += 1
        del shelf.bodies[key], shelf.told[key]
        shelf.revision += 1


def key_of(body: Body) -> Key:
    """Under what an object is kept."""
    meta = body["metadata"]
    return meta.get("namespace", ""), meta["name"]


def uid_of(body: Body) -> str:
    """By what an object differs from another of the same name before or after it."""
    return str(body["metadata"].get("uid", ""))


def ref_of(resource: Resource, body: Body) -> Ref:
    """The object that this is the body of."""
    return Ref(resource, *key_of(body), uid_of(body))


def _newer(body: Body, known: Body | None) -> bool:
    """Whether a body is news beside what is known; versions that cannot be compared count as news."""
    if known is None:
        return True
    one, other = (b["metadata"].get("resourceVersion", "") for b in (body, known))
    if one.isdecimal() and other.isdecimal():
        return int(one) > int(other)
    return bool(one != other)


def _lean(body: Body) -> Body:
    """Without what fills half of each object and nobody here reads."""
    meta = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
    return {**body, "metadata": meta}
