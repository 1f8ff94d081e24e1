"""Reads bodies that others wrote: whatever is missing or of another shape reads as nothing, never as an error."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from wattlease_operator.cache import Body

QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(m|k|M|G|Ki|Mi|Gi)?")
SCALE = {None: 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}


def at(body: Any, *path: str) -> Any:
    """What stands at the end of the path, `None` where there is no such way."""
    for name in path:
        if not isinstance(body, Mapping):
            return None
        body = body.get(name)
    return body


def every(body: Any, *path: str) -> Iterator[Any]:
    """What stands at the ends of a path in which `*` is every entry of a list or a map."""
    if not path:
        if body is not None:
            yield body
        return
    if path[0] != "*":
        yield from every(at(body, path[0]), *path[1:])
        return
    for entry in body.values() if isinstance(body, Mapping) else entries(body):
        yield from every(entry, *path[1:])


def entries(value: Any) -> tuple[Any, ...]:
    """A list's entries."""
    return tuple(value) if isinstance(value, list | tuple) else ()


def maps(value: Any) -> tuple[Body, ...]:
    """Those entries of a list that are maps."""
    return tuple(entry for entry in entries(value) if isinstance(entry, Mapping))


def text(value: Any) -> str:
    """A string, or the empty one."""
    return value if isinstance(value, str) else ""


def texts(value: Any) -> dict[str, str]:
    """A map's strings: labels, annotations."""
    if not isinstance(value, Mapping):
        return {}
    return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, str)}


def whole(value: Any, default: int = 0) -> int:
    """A whole number, `default` for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def quantity(value: Any) -> float:
    """A Kubernetes quantity such as `8`, `"8"` or `"1k"`; 0 for what is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) and value > 0 else 0.0
    found = QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(found[1]) * SCALE[found[2]] if found else 0.0


def moment_s(value: Any) -> float:
    """A time such as `2026-11-21T10:00:00Z` in unix seconds, NaN for what is none."""
    try:
        moment = datetime.fromisoformat(text(value))
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def moment_text(unix_s: float) -> str:
    """Unix seconds as Kubernetes writes times."""
    return datetime.fromtimestamp(int(unix_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def conditions(body: Any) -> dict[str, Body]:
    """An object's conditions by type."""
    return {text(c.get("type")): c for c in maps(at(body, "status", "conditions"))}


def holds(body: Any, condition: str) -> bool:
    """Whether a condition is there and true."""
    return at(conditions(body), condition, "status") == "True"
