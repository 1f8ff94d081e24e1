"""Decides every recorded tick again: the same lines on the same values must give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from wattlease.core.actions import Plan
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import Snapshot
from wattlease.core.wire import plain
from wattlease.runtime.printed import clock
from wattlease.runtime.record import Tick, dumps, read

Decide = Callable[[Snapshot, Memory], tuple[Plan, Memory]]

BESIDE_JOBS = frozenset({"cap_w", "job_w", "speed_frac", "cost_per_h"})
"""Columns of a plan in the order of the snapshot's jobs."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first field in which a decision made again departs from the recorded one; both sides as JSON."""

    tick: int
    line: int
    now_s: float
    field: str
    recorded: str
    decided: str

    @property
    def text(self) -> str:
        """The difference in words."""
        where = f"tick {self.tick} ({clock(self.now_s)} UTC, line {self.line})"
        return f"{where}: {self.field} was recorded as {self.recorded} and is decided as {self.decided}"


def replay(path: Path, decide: Decide, watch: Callable[[Tick], None] = lambda tick: None) -> Difference | None:
    """The first difference, or None where every tick is decided as before; `watch` sees each tick before it is."""
    memory = FRESH
    for tick in read(path):
        watch(tick)
        memory = memory if tick.memory is None else tick.memory
        plan, memory = decide(tick.snapshot, memory)
        decided = dumps(plain(plan))
        if decided != tick.plan_json:
            return _difference(tick, decided)
    return None


def _difference(tick: Tick, decided: bytes) -> Difference:
    path, old, new = _first(orjson.loads(tick.plan_json), orjson.loads(decided))
    return Difference(tick.number, tick.line, tick.snapshot.now_s, _in_words(path, tick.snapshot), old, new)


_ABSENT = object()


def _first(old: Any, new: Any, path: tuple[str | int, ...] = ()) -> tuple[tuple[str | int, ...], str, str]:
    """Where two JSON values first differ, and what stands there."""
    keys: list[Any] = []
    if isinstance(old, dict) and isinstance(new, dict):
        keys = list(dict.fromkeys([*old, *new]))
    elif isinstance(old, list) and isinstance(new, list):
        keys = list(range(max(len(old), len(new))))
    for key in keys:
        a, b = _at(old, key), _at(new, key)
        if a is _ABSENT or b is _ABSENT or dumps(a) != dumps(b):
            return _first(a, b, (*path, key))
    return path, _said(old), _said(new)


def _at(value: Any, key: Any) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError):
        return _ABSENT


def _said(value: Any) -> str:
    return "nothing" if value is _ABSENT else dumps(value).decode()


def _in_words(path: tuple[str | int, ...], snapshot: Snapshot) -> str:
    match path:
        case (str(column), int(i)) if column in BESIDE_JOBS and i < len(snapshot.jobs.id):
            return f"{column} of job {snapshot.jobs.id[i]}"
        case ("grant_w", int(i)) if i < len(snapshot.site.nodes.id):
            return f"grant_w of node {snapshot.site.nodes.id[i]}"
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".") or "the plan"
