"""The site's own record of minutes on disk: appended to, never rewritten, and bounded.

One file for each week, one line of JSON for each minute. A torn line, as after a power cut, costs its own minute; a
week older than KEPT_WEEKS is removed when a new one begins. A disk that is full costs minutes and nothing else.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from wattlease.facility.forecast.minutes import Minute
from wattlease.facility.forecast.note import Known
from wattlease.facility.forecast.series import LOOKS_S, WEEK_S

KEPT_WEEKS = 20
HEAD = {"minutes": 1, "columns": ["start_s", "mean_w", "low_w", "high_w", "waiting_w", "starting", "ending", "limit"]}


class History:
    """The minutes in `folder`, which one process appends to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: Path | None = None

    def append(self, minute: Minute) -> None:
        """Hand a minute to the kernel. Raises OSError, and has then written nothing or a torn line."""
        path = self.folder / f"week-{int(minute.start_s // WEEK_S):05d}.jsonl"
        line = orjson.dumps(_line(minute)) + b"\n"
        if path != self._open:
            line = self._beginning(path) + line
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0) as file:
            file.write(line)
        self._open = path

    def minutes(self, weeks: int = KEPT_WEEKS) -> Iterator[Minute]:
        """Every minute of the newest files that can be read, the oldest first."""
        for path in self._weeks()[-weeks:]:
            yield from (m for line in path.read_bytes().splitlines() if (m := _read(line)) is not None)

    def _weeks(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("week-*.jsonl") if p.stem[5:].isdigit())

    def _beginning(self, path: Path) -> bytes:
        """What to write before the first line of this process; weeks that are too old go."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in self._weeks():
            if _week(old) <= _week(path) - KEPT_WEEKS:
                old.unlink(missing_ok=True)
        if not path.exists():
            return orjson.dumps(HEAD) + b"\n"
        return b"" if path.read_bytes()[-1:] == b"\n" else b"\n"  # the line that was torn stays alone


def _week(path: Path) -> int:
    return int(path.stem[5:])


def _line(minute: Minute) -> list[Any]:
    """NaN and infinity become null: neither is known."""
    known = minute.known
    flat = [minute.start_s, minute.mean_w, minute.low_w, minute.high_w, known.waiting_w]
    looks = [known.starting_w, known.ending_w, known.limit_w]
    return [*(_plain(v) for v in flat), *([_plain(v) for v in row] for row in looks)]


def _plain(value: float) -> float | None:
    return round(value, 1) if math.isfinite(value) else None


def _read(line: bytes) -> Minute | None:
    """The minute of a line; None for a head, a torn line, and what cannot be true."""
    try:
        start_s, mean_w, low_w, high_w, waiting_w, *looks = orjson.loads(line)
        starting_w, ending_w, limit_w = (tuple(_number(v) for v in row) for row in looks)
        known = Known(_number(waiting_w), starting_w, ending_w, limit_w)
        minute = Minute(float(start_s), float(mean_w), float(low_w), float(high_w), known)
    except (orjson.JSONDecodeError, TypeError, ValueError):
        return None
    if {len(starting_w), len(ending_w), len(limit_w)} != {len(LOOKS_S)} or not 0.0 <= minute.mean_w < math.inf:
        return None
    return minute


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
