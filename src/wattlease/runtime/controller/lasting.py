"""What was learned of jobs and is owed to owners, over restarts: all else is learned anew within minutes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol, TypeAlias

import orjson

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

    def load(self) -> Memory:
        """A memory that knows this and nothing else. A file that cannot be read is told, and nothing is known."""
        try:
            data = orjson.loads(self._kept.read())
            history = {str(key): Seen(**seen) for key, seen in data["history"].items()}
            debts = {str(owner): float(money) for owner, money in data["debts"].items()}
        except FileNotFoundError:
            return FRESH
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as trouble:
            log.warning("what was learned of jobs is lost, and is learned anew: %s: %s", self._kept, trouble)
            return FRESH
        return replace(FRESH, history=history, debts=debts)

    def due(self, now_s: float) -> bool:
        """Whether it is time to save; true once for each time."""
        if now_s - self._saved_s < EVERY_S:
            return False
        self._saved_s = now_s
        return True

    def save(self, memory: Memory) -> None:
        """Put it on disk. Blocks; trouble is told once."""
        history = {key: asdict(seen) for key, seen in memory.history.items()}
        try:
            self._kept.write(orjson.dumps({"history": history, "debts": dict(memory.debts)}))
        except OSError as trouble:
            self._said.once(logging.WARNING, "what was learned is not saved", str(trouble))
        else:
            self._said.forget("what was learned is not saved")
