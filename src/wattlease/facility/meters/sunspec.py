"""A SunSpec device: where its power stands and how it is scaled is found by walking its models.

Places come from the models' own definitions (JSON that pysunspec2 brings), so none is written here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from wattlease.core.api_reach import SunSpecMeter
from wattlease.facility.meters.modbus import FORMATS, number
from wattlease.facility.meters.modbus_line import Line
from wattlease.facility.meters.reading import Measured, Refusal, Trouble

STARTS = (40000, 0, 50000)
"""Where the mark of a SunSpec map may stand."""

MARK = [0x5375, 0x6E53]
END = 0xFFFF
MODELS_MAX = 100
"""Models walked at most; a device that has more walks in a circle."""

METERS = (201, 202, 203, 204, 211, 212, 213, 214, 701)
"""Models that tell an AC power: meters by wiring, in integers and in floats; and a generator's own measurement."""

GENERATES = 701
"""Counts what is generated as positive."""

JOULES = 3600.0
POINTS = ("W", "PF", "TotWhImp", "TotWhExp", "TotWhAbs", "TotWhInj")
ABSENT = {
    "int16": -0x8000,
    "uint16": 0xFFFF,
    "uint32": 0xFFFFFFFF,
    "acc32": 0,
    "uint64": 0xFFFFFFFFFFFFFFFF,
    "acc64": 0,
}
AS = {"sunssf": "int16", "acc32": "uint32", "acc64": "uint64"}


@dataclass(frozen=True, slots=True)
class Point:
    """Where a number stands in its model, in registers from its ID, how it is written and what scales it."""

    at: int
    kind: str
    words: int
    scale: str | None


@lru_cache
def points(model: int) -> dict[str, Point]:
    """The points of interest of a model and their scale factors."""
    definition = json.loads((files("sunspec2") / "models" / "json" / f"model_{model}.json").read_text("utf-8"))
    every = dict(_placed(definition["group"]["points"]))
    wanted = [name for name in POINTS if name in every]
    scales = [scale for name in wanted if (scale := every[name].scale) is not None]
    return {name: every[name] for name in (*wanted, *scales)}


def _placed(listed: list[dict[str, Any]]) -> Iterator[tuple[str, Point]]:
    at = 0
    for point in listed:
        yield point["name"], Point(at, point["type"], point["size"], point.get("sf"))
        at += point["size"]


class SunSpec:
    """Walks a device's models once, then asks for the few registers that hold the power and its scale."""

    def __init__(self, reach: SunSpecMeter, timeout_s: float, line: Line) -> None:
        self._reach, self._timeout_s, self._line = reach, timeout_s, line
        self._found: tuple[int, int] | None = None

    async def read(self) -> Measured | Trouble:
        """Power and scale in one request, so that they fit each other."""
        found = self._found or await self._discovered()
        if isinstance(found, Trouble):
            return found
        model, at = found
        places = points(model)
        end = max(p.at + p.words for p in places.values())
        words = await self._registers(at, end)
        if isinstance(words, Trouble):
            self._found = None  # another device may answer there next
            return words
        if words[0] != model:
            self._found = None
            return Trouble(f"{self._line.name}: model {model} has moved", "it is looked for again at the next reading")
        self._found = found
        return self._measured(model, at, {name: _value(words, place) for name, place in places.items()})

    async def close(self) -> None:
        """Nothing: the line may be others' too, and is closed with all lines."""

    def _measured(self, model: int, at: int, raw: dict[str, float | None]) -> Measured | Trouble:
        def scaled(name: str) -> float | None:
            place, value = points(model).get(name), raw.get(name)
            if place is None or value is None:
                return None
            power = raw[place.scale] if place.scale else 0.0
            return None if power is None or abs(power) > 10 else value * 10.0**power

        power_w, factor = scaled("W"), scaled("PF")
        if power_w is None:
            return Trouble(f"{self._line.name}: model {model} does not tell its power", "write another model")
        energy_wh = scaled("TotWhAbs" if model == GENERATES else "TotWhImp")
        return Measured(
            -power_w if model == GENERATES else power_w,
            f"SunSpec model {model} at {at}",
            energy_j=None if energy_wh is None else energy_wh * JOULES,
            power_factor=None if factor is None else _as_fraction(factor),
        )

    async def _discovered(self) -> tuple[int, int] | Trouble:
        """The wanted model's ID and address."""
        base = await self._base()
        if isinstance(base, Trouble):
            return base
        wanted = METERS if self._reach.model is None else (self._reach.model,)
        at, seen = base + len(MARK), list[int]()
        for _ in range(MODELS_MAX):
            head = await self._registers(at, 2)
            if isinstance(head, Trouble):
                return head
            model, length = head
            if model in wanted:
                return model, at
            if model == END:
                break
            seen.append(model)
            at += 2 + length
        has = ", ".join(map(str, seen[:20])) or "none"
        missing = "model of a meter" if self._reach.model is None else f"model {self._reach.model}"
        return Trouble(f"{self._line.name}: unit {self._reach.unit_id} has no {missing}", f"it has {has}; check unitId")

    async def _base(self) -> int | Trouble:
        trouble = Trouble(f"{self._line.name}: no SunSpec map there", "check port and unitId, or use kind: Modbus")
        for start in STARTS:
            words = await self._registers(start, len(MARK))
            if words == MARK:
                return start
            if isinstance(words, Trouble) and not isinstance(words, Refusal):
                return words
        return trouble

    async def _registers(self, at: int, count: int) -> list[int] | Trouble:
        return await self._line.read(self._reach.unit_id, at, count, "Holding", self._timeout_s)


def _value(words: list[int], place: Point) -> float | None:
    """A point's number, `None` where the device does not implement it."""
    kind = AS.get(place.kind, place.kind)
    if kind not in FORMATS:
        return None
    value = number(words[place.at : place.at + place.words], kind)
    unwritten = ABSENT.get(place.kind, ABSENT.get(kind))
    absent = math.isnan(value) or (unwritten is not None and value == float(unwritten))
    return None if absent else value


def _as_fraction(factor: float) -> float:
    """Power factor as a fraction: meters' models tell it in percent, the newer ones as it is."""
    return factor / 100.0 if abs(factor) > 1.0 else factor
