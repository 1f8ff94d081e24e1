"""What was learned of jobs and of overhead and is owed to owners, over restarts: all else is learned anew within
minutes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol, TypeAlias

import orjson

from wattlease.core.kept_overhead import KeptOverhead, kept, resumed
from wattlease.core.memory import FRESH, Memory, Seen
from wattlease.runtime.lease.disk import replace_file
from wattlease.runtime.lease.said import Said

log = logging.getLogger(__name__)

EVERY_S = 60.0
"""Between two saves."""


class Kept(Protocol):
    """Bytes that outlive the process, replaced whole. Both calls may block, and raise OSError."""

    def read(self) -> bytes:
        """FileNotFoundError where nothing was ever written."""

    def write(self, data: bytes) -> None:
        """Put these in place of what is there."""


class KeptFile:
    """A file of the state folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def read(self) -> bytes:
        """What is in it."""
        return self._path.read_bytes()

    def write(self, data: bytes) -> None:
        """Replace it; on return it survives a power cut."""
        replace_file(self._path, data)


KeptOf: TypeAlias = Callable[[str], Kept]
"""Where things of this name are kept."""


def files_in(folder: Path) -> KeptOf:
    """Each thing in a file of this folder."""
    return lambda name: KeptFile(folder / f"{name}.json")


class Lasting:
    """A file of the state folder, or what stands in its place."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._saved_s = float("-inf")
        self._said = Said(log)

    def load(self, scopes: Sequence[str] = ()) -> Memory:
        """A memory of these scopes that knows this and nothing else. A file that cannot be read is told, and nothing is
        known."""
        try:
            data = orjson.loads(self._kept.read())
            history = {str(key): Seen(**seen) for key, seen in data["history"].items()}
            debts = {str(owner): float(money) for owner, money in data["debts"].items()}
            overheads = {str(scope): _overhead(row) for scope, row in data.get("overheads", {}).items()}
        except FileNotFoundError:
            return FRESH
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as trouble:
            log.warning("what was learned is lost, and is learned anew: %s: %s", self._kept, trouble)
            return FRESH
        return replace(FRESH, history=history, debts=debts, scopes=resumed(scopes, overheads))

    def due(self, now_s: float) -> bool:
        """Whether it is time to save; true once for each time."""
        if now_s - self._saved_s < EVERY_S:
            return False
        self._saved_s = now_s
        return True

    def save(self, memory: Memory, scopes: Sequence[str] = ()) -> None:
        """Put it on disk; `scopes` are the names of the memory's. Blocks; trouble is told once."""
        lasts = {
            "history": {key: asdict(seen) for key, seen in memory.history.items()},
            "debts": dict(memory.debts),
            "overheads": {name: asdict(row) for name, row in kept(scopes, memory.scopes).items()},
        }
        try:
            self._kept.write(orjson.dumps(lasts))
        except OSError as trouble:
            self._said.once(logging.WARNING, "what was learned is not saved", str(trouble))
        else:
            self._said.forget("what was learned is not saved")


def _overhead(row: dict[str, object]) -> KeptOverhead:
    """One scope's row; ValueError or TypeError where it is none."""
    return KeptOverhead(**{str(name): _number(value) for name, value in row.items()})


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise ValueError(f"expected a number, found {value!r}")
    return float(value)
