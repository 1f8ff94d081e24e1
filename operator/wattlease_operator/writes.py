"""What a lever asks to be written: values that say which fields of which object, and carry nothing else.

A lever is a function from a job and what it is to become to the writes that are still missing; where the cluster shows
that it has become that, there are none. What is applied under our name is always all that we mean to own of an object:
what is left out we let go of, and the API server drops it unless somebody else owns it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from wattlease_operator.api import MANAGER
from wattlease_operator.cache import Body, Ref
from wattlease_operator.kinds import Path
from wattlease_operator.reading import at, maps


@dataclass(frozen=True, slots=True)
class Apply:
    """Own exactly these fields, by server-side apply."""

    ref: Ref
    fields: Mapping[str, Any]
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Steps:
    """A JSON patch, whose tests make it fail where the object has changed meanwhile."""

    ref: Ref
    steps: tuple[Mapping[str, Any], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Disown:
    """Leave every value as it is and own none: for fields that an object cannot be without. With an `operation` only
    what was written by that: `Apply`, or `Update` for a JSON patch."""

    ref: Ref
    operation: str = ""


Write: TypeAlias = Apply | Steps | Disown


def owning(
    ref: Ref, annotations: Mapping[str, str], path: Path = (), value: object = None, *, subresource: str = ""
) -> Apply:
    """Own these annotations, and the value at a path if one is given."""
    fields: dict[str, Any] = {"metadata": {"annotations": dict(annotations)}} if annotations else {}
    return Apply(ref, fields | (nested(path, value) if path else {}), subresource)


def nested(path: Path, value: object) -> dict[str, Any]:
    """The body that has this value at the path and nothing else."""
    for name in reversed(path):
        value = {name: value}
    return dict(value) if isinstance(value, dict) else {}


def disowning(body: Body, operation: str = "") -> tuple[Mapping[str, Any], ...]:
    """The steps that strike us from a body's field managers; none where we are not among them."""
    managers = enumerate(maps(at(body, "metadata", "managedFields")))
    ours = [i for i, m in managers if m.get("manager") == MANAGER and operation in ("", m.get("operation"))]
    steps: list[Mapping[str, Any]] = []
    for i in reversed(ours):  # from the end, so that those before keep their places
        steps.append({"op": "test", "path": f"/metadata/managedFields/{i}/manager", "value": MANAGER})
        steps.append({"op": "remove", "path": f"/metadata/managedFields/{i}"})
    return tuple(steps)
