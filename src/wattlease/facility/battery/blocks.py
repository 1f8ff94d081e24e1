"""SunSpec models as blocks of registers: where each point stands, how it is scaled, and what means "not there".

Places come from the models' own definitions (JSON that pysunspec2 brings), so none is written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

SIGNED = ("int16", "int32", "int64", "sunssf")
"""Types below zero too; their lowest number means "not there", that of the others is the highest."""


@dataclass(frozen=True, slots=True)
class Point:
    """A number's place, in registers from its model's ID, and the name of what scales it."""

    at: int
    words: int
    kind: str
    scale: str | None


@lru_cache
def layout(model: int) -> dict[str, Point]:
    """The points of a model that do not repeat."""
    definition = json.loads((files("sunspec2") / "models" / "json" / f"model_{model}.json").read_text("utf-8"))
    return dict(_placed(definition["group"]["points"]))


def _placed(points: list[dict[str, Any]]) -> Iterator[tuple[str, Point]]:
    at = 0
    for point in points:
        yield point["name"], Point(at, point["size"], point["type"], point.get("sf"))
        at += point["size"]


@dataclass(frozen=True, slots=True)
class Write:
    """Registers to be written in one request."""

    address: int
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One model of a device as read: `words` from its ID on, which stands at `address`."""

    model: int
    address: int
    words: tuple[int, ...]

    def raw(self, name: str) -> int | None:
        """A point as it stands, without scale; `None` where the device does not have it."""
        point = layout(self.model)[name]
        words = self.words[point.at : point.at + point.words]
        if len(words) < point.words:
            return None
        bits = 16 * point.words
        number = int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words), "big")
        if point.kind not in SIGNED:
            return None if number == (1 << bits) - 1 else number
        return None if number == 1 << (bits - 1) else number - ((number >> (bits - 1)) << bits)

    def value(self, name: str) -> float | None:
        """A point in its unit."""
        raw = self.raw(name)
        return None if raw is None else raw * self.step(name)

    def step(self, name: str) -> float:
        """The smallest difference that the point can tell, in its unit; a factor that is not there counts as 1."""
        scale = layout(self.model)[name].scale
        return 10.0 ** ((self.raw(scale) or 0) if scale else 0)

    def text(self, name: str) -> str:
        """A point of characters, without what fills it up."""
        point = layout(self.model)[name]
        words = self.words[point.at : point.at + point.words]
        data = b"".join(word.to_bytes(2, "big") for word in words)
        return data.split(b"\0")[0].decode("utf-8", "replace").strip()

    def write(self, first: str, *values: float) -> Write:
        """Points that stand side by side, from `first` on, in their units, cut towards zero; raises OverflowError."""
        points = list(layout(self.model).items())
        start = next(i for i, (name, _) in enumerate(points) if name == first)
        words: list[int] = []
        for (name, point), value in zip(points[start:], values, strict=False):
            number = int(value / self.step(name) + (1e-9 if value > 0 else -1e-9))
            data = number.to_bytes(2 * point.words, "big", signed=point.kind in SIGNED)
            words += [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
        return Write(self.address + points[start][1].at, tuple(words))
