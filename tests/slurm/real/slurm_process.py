"""A `wattlease` command as a process of its own, that ends with the tests however these end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from wattlease.sim.demo_nodes import RUN


class Process:
    """One command that can be started again and again; its output goes to a file. Start it from a thread that lasts:
    it ends with that thread."""

    def __init__(self, folder: Path, name: str, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        self._arguments, self._environment = arguments, environment
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    def start(self) -> None:
        assert not self.alive, f"{self.name} runs already"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                [sys.executable, "-c", RUN, *self._arguments],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **self._environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """kill -9"""
        self._signal(signal.SIGKILL)
        self._ended()

    def terminate(self, patience_s: float = 10.0) -> int:
        """SIGTERM; return how it ended."""
        self._signal(signal.SIGTERM)
        return self._ended(patience_s)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def end(self) -> None:
        """However it is: gone after this."""
        if self.alive:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self._running is not None, f"{self.name} was never started"
        self._running.send_signal(number)

    def _ended(self, patience_s: float = 10.0) -> int:
        assert self._running is not None
        return self._running.wait(patience_s)
