"""One training at a time, in a process of its own, started when it is due and looked after without waiting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EVERY_S, YOUNG_EVERY_S = 86_400.0, 21_600.0
LONGEST_S = 1800.0
SAID_BYTES = 600


class Background:
    """Trains on the record in `folder`; what the process says goes to a file beside it."""

    def __init__(self, folder: Path, zone: str) -> None:
        self._folder, self._zone = folder, zone
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self.trouble = ""

    @property
    def running(self) -> bool:
        """Whether a training was started and not yet looked after."""
        return self._process is not None

    def start(self, now_s: float) -> None:
        """Begin, unless one is running."""
        if self._process is not None:
            return
        self._started_s = now_s
        command = [sys.executable, "-m", "wattlease.facility.forecast.process", str(self._folder), self._zone]
        try:
            with (self._folder / "training.log").open("wb") as said:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
        except OSError as error:
            self.trouble = f"training did not start: {error.strerror}"

    def finished(self, now_s: float) -> bool:
        """True once after each training that put its models in place; `trouble` says why one did not."""
        if self._process is None:
            return False
        code = self._process.poll()
        if code is None and now_s - self._started_s <= LONGEST_S:
            return False
        if code is None:
            self.stop()
            self.trouble = f"training took more than {LONGEST_S / 60:.0f} min and was ended"
            return False
        self._process = None
        self.trouble = f"training ended with {code}: {self._last_words()}" if code else ""
        return not code

    def stop(self) -> None:
        """End a training that is running; nothing half done is left behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _last_words(self) -> str:
        try:
            said = (self._folder / "training.log").read_bytes()[-SAID_BYTES:]
        except OSError:
            return "it said nothing"
        return said.decode(errors="replace").strip().splitlines()[-1] if said.strip() else "it said nothing"
