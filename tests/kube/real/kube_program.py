"""A program as a process of its own, that ends with the tests however these end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ORPHAN = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
"""Becomes the program, which is killed when the thread that started it is gone (PR_SET_PDEATHSIG)."""


class Program:
    """One program that can be started again and again; its output goes to a file. Start it from a thread that lasts:
    it ends with that thread. `before` are words that something else runs it by, such as `unshare`."""

    def __init__(
        self, folder: Path, name: str, words: Sequence[str | Path], *,
        environment: Mapping[str, str] | None = None, before: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.name, self.log = name, folder / f"{name}.log"
        self._words = [*before, sys.executable, "-c", ORPHAN, *map(str, words)]
        self._environment = dict(environment or {})
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    @property
    def pid(self) -> int:
        assert self._running is not None, f"{self.name} was never started"
        return self._running.pid

    def start(self) -> None:
        assert not self.alive, f"{self.name} runs already"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                self._words, env={**os.environ, **self._environment}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """kill -9"""
        os.kill(self.pid, signal.SIGKILL)
        self._ended()

    def terminate(self, patience_s: float = 10.0) -> int:
        """SIGTERM; return how it ended."""
        os.kill(self.pid, signal.SIGTERM)
        return self._ended(patience_s)

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """However it is: gone after this."""
        if self.alive:
            self.kill()

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _ended(self, patience_s: float = 10.0) -> int:
        assert self._running is not None
        return self._running.wait(patience_s)
