"""Slurm's commands, run so that nobody waits for one longer than was said, and what they say as a value.

A command that is out after its patience is killed with all that it started. Few run at once. Writes go through a
pace of their own, comments through a slower one, so that no comment delays a suspend.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from wattlease_slurm.cli_said import sentence_of, why
from wattlease_slurm.pace import Pace
from wattlease_slurm.words import Trouble, Why

PATIENCE_S = 10.0
"""Slurm's own MessageTimeout."""

AT_ONCE = 4
KILL_PATIENCE_S = 1.0
"""A killed process that is not gone by then hangs in the kernel, and is left there."""

SPOILING = ("SQUEUE_", "SCONTROL_", "SCANCEL_", "SINFO_", "SLURM_")
"""Variables that would change what the commands print or whom they ask."""

KEPT = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"})


class Kind(Enum):
    """What a command does to Slurm, which decides how often it may run."""

    READ = "read"
    ACT = "act"
    REMARK = "remark"
    """A write that nothing depends on: comments, priorities."""


class Commands:
    """Runs `squeue`, `scontrol` and `scancel` of a folder, or of the PATH."""

    def __init__(
        self, folder: Path | None = None, patience_s: float = PATIENCE_S, acts_per_s: float = 10.0,
        remarks_per_s: float = 3.0,
    ) -> None:  # fmt: skip
        self.patience_s = patience_s
        self._folder = folder
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._paces = {Kind.ACT: Pace(acts_per_s, burst=20), Kind.REMARK: Pace(remarks_per_s, burst=3)}

    async def run(self, kind: Kind, *argv: str, cwd: str = "/") -> str | Trouble:
        """What the command printed; all in all, waiting for its turn too, within the patience and a second."""
        begun_s = asyncio.get_running_loop().time()
        what = " ".join(argv)[:120]
        program = shutil.which(argv[0], path=str(self._folder) if self._folder else None)
        if program is None:
            where = f"in {self._folder}" if self._folder else "on the PATH; set binFolder to where it lies"
            return Trouble(what, Why.MISSING, f"there is no {argv[0]} {where}")
        wait_s = self.patience_s / 2  # the other half is left for the answer
        try:
            async with asyncio.timeout_at(begun_s + wait_s):
                if kind is not Kind.READ:
                    await self._paces[kind].turn()
                await self._slots.acquire()
        except TimeoutError:
            return Trouble(what, Why.NOT_BEGUN, f"not begun within {wait_s:g} s: too many commands wait")
        try:
            return await self._ask(what, (program, *argv[1:]), cwd, begun_s + self.patience_s)
        finally:
            self._slots.release()

    async def _ask(self, what: str, argv: tuple[str, ...], cwd: str, until_s: float) -> str | Trouble:
        # files in memory, not pipes: those would stay open for as long as anything that the command left behind
        with _memory("output") as output, _memory("errors") as errors:
            try:
                process = await asyncio.create_subprocess_exec(
                    *argv, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=errors,
                    start_new_session=True, env=environment(os.environ), cwd=cwd,
                )  # fmt: skip
            except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
                return Trouble(what, Why.MISSING, f"does not start: {error}")
            try:
                async with asyncio.timeout_at(until_s):
                    code = await process.wait()
            except TimeoutError:
                return Trouble(what, Why.UNANSWERED, f"no answer within {self.patience_s:g} s")
            finally:
                if process.returncode is None:
                    await _kill(process)
            said = _text(output)
            if code == 0:
                return said
            sentence = sentence_of(_text(errors), said, code)
            return Trouble(what, why(sentence), sentence)


def environment(outside: Mapping[str, str]) -> dict[str, str]:
    """What Slurm's commands see: times as unix seconds, array tasks unabridged, nobody's defaults for their output."""
    kept = {name: value for name, value in outside.items() if name in KEPT or not name.startswith(SPOILING)}
    return {**kept, "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0", "LC_ALL": "C.UTF-8"}


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End the command and what it started: its session is its own process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(KILL_PATIENCE_S):
            await process.wait()


def _memory(name: str) -> BinaryIO:
    return os.fdopen(os.memfd_create(name), "w+b")


def _text(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
