"""The agent's folder: one agent at a time, the originals, and the fallback that a restart must find.

Rule 1: two agents of one node never write limits at once; the lock ends with its process, however that ends.
Rule 2: a fallback is on disk before it counts, and what is on disk wins over what is configured.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from wattlease.agent.cards import Trouble
from wattlease.core.errors import WattleaseError
from wattlease.core.lease.words import Watts, Word
from wattlease.runtime.lease.disk import replace_file


class StateFolderError(WattleaseError):
    """The folder cannot be used, or another agent uses it."""


class _Kept(Word):
    fallback_w: Watts


class AgentFolder:
    """The folder at `path`; made by `held`, never by reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.originals, self._fallback, self._lock = path / "originals.json", path / "fallback.json", path / "lock"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the one agent of this folder while the block runs; raises StateFolderError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateFolderError(f"{self.path}: {error.strerror}; let the agent write there") from error
        try:
            self._take(lock)
            yield
        finally:
            os.close(lock)

    def fallback_w(self) -> float | Trouble | None:
        """The fallback as last saved, `None` where none ever was."""
        try:
            return _Kept.model_validate_json(self._fallback.read_bytes()).fallback_w
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            why = getattr(error, "strerror", None) or "it holds no fallback"
            return Trouble(f"{self._fallback}: {why}; cards go to their least limits until a grantor says more")

    def save_fallback(self, fallback_w: float) -> None:
        """Have it on disk before this returns. Raises OSError."""
        replace_file(self._fallback, _Kept(fallback_w=fallback_w).model_dump_json().encode())

    def forget_fallback(self) -> None:
        """After an uninstall. Raises OSError."""
        self._fallback.unlink(missing_ok=True)

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
            told = f"{self._lock}: another agent (process {pid}) holds it; stop that one first"
            raise StateFolderError(told) from error
        with suppress(OSError):  # a full disk: the lock is had all the same, only nobody is told by whom
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
