"""A process of a site: started, hurt and ended; its output goes to a file of its own."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

WATTLEASE = (sys.executable, "-c", "from wattlease.runtime.cli import main; main()")


class Process:
    """One `wattlease` command that can be started again and again."""

    def __init__(self, folder: Path, name: str, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        self._arguments, self._environment = arguments, environment
        self._running: subprocess.Popen[bytes] | None = None
        clock = folder / f"{name}.clock"
        clock.write_bytes(bytes(8))
        self.wall_clock_s = np.memmap(clock, np.int64, "r+", shape=(1,))

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def start(self) -> None:
        assert not self.alive, f"{self.name} runs already"
        clock = {"WATTLEASE_TEST_WALL_CLOCK": str(self.wall_clock_s.filename)}
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                [*WATTLEASE, *self._arguments],
                env={**os.environ, **self._environment, **clock},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._running is not None
        self._running.send_signal(number)

    def kill(self) -> None:
        """kill -9"""
        self.signal(signal.SIGKILL)
        self.ended()

    def terminate(self) -> int:
        """SIGTERM; return how it ended."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def ended(self, patience_s: float = 10.0) -> int:
        assert self._running is not None
        return self._running.wait(patience_s)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def fill_disk(self) -> None:
        """From here on no file takes another byte from it, its own log included."""
        self._limit_files(0)

    def free_disk(self) -> None:
        self._limit_files(resource.RLIM_INFINITY)

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def end(self) -> None:
        """However it is: gone after this."""
        if self.alive:
            with suppress(ProcessLookupError):
                self.resume()
                self.kill()

    def _limit_files(self, size: int) -> None:
        assert self._running is not None
        hard = resource.prlimit(self._running.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self._running.pid, resource.RLIMIT_FSIZE, (size, hard))
