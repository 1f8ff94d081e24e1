"""A file of prices and carbon ahead: CSV as a spreadsheet writes it, or JSON or YAML; mistakes are told by their line.

A step holds until the next one, the last as long as the one before it (an hour where it is alone), unless the file says
`validUntil`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator

from wattlease.core.api_base import Part, mistake
from wattlease.core.api_tariff import PriceFile
from wattlease.core.errors import BudgetError
from wattlease.facility.prices.asking import Trouble
from wattlease.facility.prices.curve import MOST_STEPS, Curve, Kind
from wattlease.runtime.files import load

HOUR_S = 3600.0
MOST_BYTES = 8 << 20
COLUMNS: dict[str, Kind] = {"pricePerKilowattHour": "energy", "carbonGramsPerKilowattHour": "carbon"}

_Number = Annotated[float, Field(ge=-1e6, le=1e6)]
_Row = tuple[int, float, dict[Kind, float]]
"""Line, when it begins in unix seconds, and what it tells."""


class Step(Part):
    """From `start` on; a price or an intensity that is left out is not known then."""

    start: AwareDatetime
    price_per_kilowatt_hour: _Number | None = None
    carbon_grams_per_kilowatt_hour: Annotated[float, Field(ge=0, le=1e6)] | None = None


class Steps(Part):
    """The whole of a JSON or YAML file."""

    valid_until: AwareDatetime | None = None
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=MOST_STEPS)]

    @model_validator(mode="after")
    def _rise(self) -> Self:
        for i in range(1, len(self.steps)):
            if self.steps[i].start <= self.steps[i - 1].start:
                raise mistake(("steps", i, "start"), "is not after the step before; sort the steps by time")
        if self.valid_until and self.valid_until <= self.steps[-1].start:
            raise mistake(("validUntil",), "is not after the last step; write when that one ends")
        return self


def read(settings: PriceFile, now_s: float) -> tuple[Curve, ...] | Trouble:
    """The curves that the file tells. Blocks for as long as its disk does."""
    path = Path(settings.path)
    try:
        written_s = min(now_s, path.stat().st_mtime)
        rows, until_s = _rows(path) if path.suffix in (".json", ".yaml", ".yml") else (list(_csv_rows(path)), None)
        kinds = [kind for kind in COLUMNS.values() if any(kind in told for _, _, told in rows)]
        if not kinds:
            raise BudgetError(f"{path}: tells neither {' nor '.join(COLUMNS)}; add a column of one of them")
        return tuple(_curve(path, kind, rows, until_s, written_s) for kind in kinds)
    except BudgetError as error:
        return Trouble(str(error))
    except OSError as error:
        return Trouble(f"{path}: cannot be read: {error.strerror}")


def _curve(path: Path, kind: Kind, rows: list[_Row], until_s: float | None, written_s: float) -> Curve:
    at_s = tuple(start_s for _, start_s, _ in rows)
    last_s = at_s[-1] - at_s[-2] if len(at_s) > 1 else HOUR_S
    values = tuple(told.get(kind, math.nan) for _, _, told in rows)
    ends_s = at_s[-1] + last_s if until_s is None else until_s
    return Curve(kind=kind, source=path.name, at_s=at_s, values=values, valid_until_s=ends_s, got_s=written_s)


def _rows(path: Path) -> tuple[list[_Row], float | None]:
    written = load(path, Steps)
    rows = [
        (
            i,
            step.start.timestamp(),
            _known({"energy": step.price_per_kilowatt_hour, "carbon": step.carbon_grams_per_kilowatt_hour}),
        )
        for i, step in enumerate(written.steps)
    ]
    return rows, written.valid_until.timestamp() if written.valid_until else None


def _known(told: dict[Kind, float | None]) -> dict[Kind, float]:
    return {kind: value for kind, value in told.items() if value is not None}


def _csv_rows(path: Path) -> Iterator[_Row]:
    if path.stat().st_size > MOST_BYTES:
        raise BudgetError(f"{path}: is larger than {MOST_BYTES} bytes; keep a year at most")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            columns = _columns(path, next(reader, []))
            before_s = -math.inf
            for row in reader:
                if any(cell.strip() for cell in row):
                    found = _csv_row(f"{path}:{reader.line_num}", reader.line_num, row, columns)
                    if found[1] <= before_s:
                        raise BudgetError(f"{path}:{found[0]}: start: is not after the row before; sort rows by time")
                    before_s = found[1]
                    yield found
        except (csv.Error, UnicodeDecodeError) as error:
            raise BudgetError(f"{path}:{reader.line_num}: is no CSV in UTF-8: {error}") from error


def _columns(path: Path, head: list[str]) -> dict[str, int]:
    columns = {name.strip(): i for i, name in enumerate(head)}
    if "start" not in columns:
        raise BudgetError(f"{path}:1: has no column start; begin with start,{','.join(COLUMNS)}")
    return columns


def _csv_row(where: str, line: int, row: list[str], columns: dict[str, int]) -> _Row:
    cells = {name: row[i].strip() for name, i in columns.items() if i < len(row)}
    told = {kind: _number(where, name, cells[name]) for name, kind in COLUMNS.items() if cells.get(name)}
    return line, _start_s(where, cells.get("start", "")), told


def _start_s(where: str, text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BudgetError(f"{where}: start: {text[:40]!r} is no time; write 2026-11-21T13:00:00+01:00") from error
    if at.tzinfo is None:
        raise BudgetError(f"{where}: start: {text!r} names no zone; write 2026-11-21T13:00:00+01:00")
    return at.timestamp()


def _number(where: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise BudgetError(f"{where}: {name}: {text[:40]!r} is no number; write 0.21") from error
    if not abs(value) <= 1e6 or (value < 0 and COLUMNS[name] == "carbon"):
        raise BudgetError(f"{where}: {name}: {text[:40]} cannot be; write money or grams for one kilowatt-hour")
    return value
