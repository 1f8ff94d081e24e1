"""Bodies of one kind as values, each read once for as long as it is the newest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from wattlease_operator.cache import Body, Cache, Key, Resource

T = TypeVar("T")


class Parsed(Generic[T]):
    """What `read` makes of the newest bodies: they are never changed in place, so the same object is the same value."""

    def __init__(self, cache: Cache, resource: Resource, read: Callable[[Resource, Body], T]) -> None:
        self._cache, self._resource, self._read = cache, resource, read
        self._known: dict[Key, tuple[Body, T]] = {}
        self._values: Mapping[Key, T] = {}
        self._revision: int | None = None

    def __call__(self) -> Mapping[Key, T]:
        """By namespace and name; the same object as before where nothing changed."""
        revision = self._cache.revision(self._resource)
        if revision != self._revision:
            self._known = {key: self._kept(key, body) for key, body in self._cache.of(self._resource).items()}
            self._values = {key: value for key, (_, value) in self._known.items()}
            self._revision = revision
        return self._values

    def _kept(self, key: Key, body: Body) -> tuple[Body, T]:
        known = self._known.get(key)
        return known if known is not None and known[0] is body else (body, self._read(self._resource, body))
