"""Every version that objects go through, as the API server's watches tell them, and which of their fields are whose."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.request import Request, urlopen

from kube_plane import ControlPlane

LONGEST_S = 1500
"""A watch ends after this; no test lasts as long."""


@dataclass(frozen=True, slots=True)
class Version:
    """An object as it was told, at a time of `time.monotonic`."""

    at_s: float
    plural: str
    namespace: str
    name: str
    body: Mapping[str, Any]


class Versions:
    """Of all objects at these paths (by plural) while the block lasts, those that were there before it among them."""

    def __init__(self, plane: ControlPlane, paths: Mapping[str, str]) -> None:
        self._plane, self._paths, self._over = plane, dict(paths), False
        self.all: list[Version] = []
        self.broken: list[str] = []
        """Watches that ended before the block did, and why: nothing they would have told is known."""

    def __enter__(self) -> Self:
        self._plane.until(self._served, "all kinds are served")
        for plural, path in self._paths.items():
            Thread(target=self._watch, args=(plural, path), daemon=True, name=f"watch-{plural}").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True

    def of(self, plural: str, name: str, from_s: float = 0.0, until_s: float = float("inf")) -> list[Mapping[str, Any]]:
        """The versions of one object that were told in a span, and the one that stood when it began."""
        found = [v for v in list(self.all) if (v.plural, v.name) == (plural, name) and v.at_s < until_s]
        before = [v.body for v in found if v.at_s < from_s][-1:]
        return before + [v.body for v in found if v.at_s >= from_s]

    def at(self, plural: str, name: str, *path: str) -> Any:
        """What stands at a path of the newest version of one object."""
        return values(self.of(plural, name)[-1:], *path)[0]

    def _served(self) -> bool:
        return all(self._plane.ask("GET", f"{path}?limit=1")[0] == HTTPStatus.OK for path in self._paths.values())

    def _watch(self, plural: str, path: str) -> None:
        try:
            for told in self._told(f"{path}?watch=1&timeoutSeconds={LONGEST_S}"):
                assert told["type"] != "ERROR", told
                body = told["object"]
                meta = body["metadata"]
                found = Version(time.monotonic(), plural, meta.get("namespace", ""), meta["name"], body)
                self.all.append(found)
            raise AssertionError("the server ended it")
        except (OSError, HTTPException, ValueError, AssertionError) as error:
            if not self._over:
                self.broken.append(f"{plural}: {error}")

    def _told(self, path: str) -> Iterator[Any]:
        asked = Request(f"{self._plane.url}{path}", headers={"Authorization": f"Bearer {self._plane.token}"})
        with urlopen(asked, timeout=LONGEST_S, context=self._plane.trust) as answer:
            for line in answer:
                if self._over:
                    return
                yield json.loads(line)


def owned(body: Mapping[str, Any], manager: str) -> set[str]:
    """The fields that are a manager's: an annotation by its name, anything else by its path as far as its list."""
    entries = body["metadata"].get("managedFields", ())
    ours = [entry["fieldsV1"] for entry in entries if entry["manager"] == manager]
    return {_named(path) for fields in ours for path in _paths(fields)}


def changed(before: Any, after: Any, path: tuple[str, ...] = ()) -> set[str]:
    """The fields, named likewise, in which two bodies differ."""
    if before == after:
        return set()
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return {_named(path)}
    names = before.keys() | after.keys()
    return {found for n in names for found in changed(before.get(n, {}), after.get(n, {}), (*path, n))}


def values(bodies: Sequence[Mapping[str, Any]], *path: str) -> list[Any]:
    """What stood at a path, one after the other, each once until it changed."""
    found: list[Any] = []
    for body in bodies:
        here: Any = body
        for name in path:
            here = here.get(name) if isinstance(here, Mapping) else None
        if not found or found[-1] != here:
            found.append(here)
    return found


def _paths(fields: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    below = {name.removeprefix("f:"): value for name, value in fields.items() if name.startswith("f:")}
    if not below:
        yield path
    for name, value in below.items():
        yield from _paths(value, (*path, name))


def _named(path: tuple[str, ...]) -> str:
    if path[:2] == ("metadata", "annotations") and len(path) > 2:
        return path[2]
    return ".".join(path)
