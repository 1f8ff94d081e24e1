"""A job's side of the hints: its folder, the reader that is cheap to ask, and the word back."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from wattlease_hints._hint import GO_ON, SCHEMA, Hint, Written, parsed

MOUNT = "/run/wattlease/job"
"""Where a pod mounts its own folder of the node's hints."""

NODE = "/run/wattlease/hints"
"""Where a Slurm job finds its folder, by its id."""

MAX_BYTES = 65536

REPORT_S = 1.0
"""A speed or a batch is written down at most this often, so that a loop may report every step."""


class Job:
    """The hints of one job. `folder` is by default WATTLEASE_HINTS, else the usual place of a pod or a Slurm job.

    One object serves any number of threads; processes of one job may each have their own.
    """

    def __init__(self, folder: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder or _usual_folder(os.environ)
        self._file = os.path.join(self.folder, "hint.json")
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._written: Written | None = None
        self._last = GO_ON
        self._checkpointed = -1
        self._said: dict[str, Any] = {"schema": SCHEMA}
        self._said_s = -math.inf
        self._saying = threading.Lock()

    def read(self) -> Hint:
        """The hint as of now. One that has run out keeps its batch and variant, and asks for nothing."""
        written = self._newest()
        if written is None:
            return self._going_on(math.inf)
        age_s = self._clock() - written.written_s
        # A clock that was set back makes a hint seem to come from the future; the agent soon writes it anew.
        if abs(age_s) > written.valid_s:
            return self._going_on(age_s)
        hint = written.hint
        if hint.should_checkpoint and written.asked <= self._checkpointed:
            hint = hint._replace(should_checkpoint=False)
        self._last = hint._replace(age_s=max(0.0, age_s))
        return self._last

    def report(self, speed: float | None = None, checkpointed: bool = False, batch: int | None = None) -> bool:
        """Tell the agent how fast the job runs (any unit of work a second), its batch, that a checkpoint is written.

        What is left out stays as it was told. False where it could not be told, which does not hurt the job. Only one
        process of a job should report.
        """
        told = {"speed": speed, "batch": batch, "checkpoint_s": self._clock() if checkpointed else None}
        with self._saying:
            self._said.update({name: value for name, value in told.items() if value is not None})
            if not checkpointed and 0.0 <= self._clock() - self._said_s < REPORT_S:
                return True
            if checkpointed and self._written is not None:
                self._checkpointed = self._written.asked
            self._said_s = self._clock()
            self._said.update(sequence=self._last.sequence, written_s=self._said_s)
            return _replaced(os.path.join(self.folder, ".said"), self._said)

    def _newest(self) -> Written | None:
        try:
            stat = os.stat(self._file)
        except OSError:
            self._seen = self._written = None
            return None
        seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if seen != self._seen:
            self._written, self._seen = _read(self._file), seen
        return self._written

    def _going_on(self, age_s: float) -> Hint:
        return self._last._replace(should_checkpoint=False, should_pause=False, why="", age_s=age_s, fresh=False)


def _usual_folder(environment: os._Environ[str]) -> str:
    named = environment.get("WATTLEASE_HINTS")
    if named:
        return os.path.dirname(named) if named.endswith(".json") else named
    job = environment.get("SLURM_JOB_ID", "")
    return os.path.join(NODE, job) if job.isdigit() and not os.path.isdir(MOUNT) else MOUNT


def _read(path: str) -> Written | None:
    try:
        with open(path, "rb") as file:
            return parsed(file.read(MAX_BYTES))
    except OSError:
        return None


def _replaced(folder: str, said: dict[str, Any]) -> bool:
    """Whole or not at all: the agent may read at any time. Readable for it, whatever the job's umask is."""
    torn = os.path.join(folder, f".state.{os.getpid()}")
    try:
        with open(torn, "w", encoding="utf-8") as file:
            json.dump(said, file, allow_nan=False)
        os.chmod(torn, 0o644)
        os.replace(torn, os.path.join(folder, "state.json"))
    except (OSError, ValueError, TypeError):
        return False
    return True
