"""What each job is asked for, kept true in its folder, and what it says of itself.

    <root>/<job>/hint.json          written by the agent, and so often that a silent agent shows
    <root>/<job>/.said/state.json   written by the job; the agent believes only what can be

A job is a Slurm job's id, or a pod as `namespace/pod`. Where the job's user is known, nobody else reads or writes its
files. A pod's user is not known, but the pod alone mounts its folder: `shared` opens `.said` to whoever is inside.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wattlease.agent.cards import Trouble
from wattlease.agent.hints_folder import SAID, folder_of, folders, opened, removed, replaced
from wattlease.agent.hints_said import Said, said_by
from wattlease.runtime.lease.report import Hint

ROOT = Path("/run/wattlease/hints")
SCHEMA = 1

VALID_S = 30.0
"""How long a hint is true without being rewritten: three times to live of a grant."""

REWRITE_S = 10.0
"""An unchanged hint is rewritten after this long."""

GONE_S = 120.0
"""A folder whose job nobody names is kept this long: a pod mounts its folder before the kubelet names the pod."""


@dataclass(frozen=True, slots=True)
class _Asked:
    hint: Hint
    sequence: int
    checkpoint_sequence: int
    written_s: float


class HintFolder:
    """The hints of a node's jobs. One object writes a root; times are unix seconds, for jobs compare with theirs."""

    def __init__(self, root: Path = ROOT, *, shared: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._root, self._shared, self._clock = root, shared, clock
        self._asked: dict[str, _Asked] = {}
        self._gone: dict[str, float] = {}
        self._best: dict[str, float] = {}

    def write(self, hints: Iterable[Hint], owners: Mapping[str, int] | None = None) -> tuple[Trouble, ...]:
        """Tell these jobs; what could not be written is told back, and the others are written all the same."""
        told = [self._write(hint, (owners or {}).get(hint.job)) for hint in hints]
        return tuple(trouble for trouble in told if trouble is not None)

    def keep(self, jobs: Iterable[str]) -> tuple[str, ...]:
        """Remove the folders of all others once they have been gone for `GONE_S`; tells which.

        Call it only with jobs that are known, never with the emptiness of a source that could not be asked, and in a
        thread: a job may have left many files.
        """
        now_s, alive = self._clock(), set(jobs)
        there = {job: folder for job, folder in folders(self._root).items() if job not in alive}
        self._gone = {job: self._gone.get(job, now_s) for job in there}
        due = [job for job, since_s in self._gone.items() if now_s - since_s >= GONE_S]
        over = tuple(job for job in due if removed(there[job]))
        self._gone |= dict.fromkeys(due, now_s)
        for job in over:
            for memory in (self._asked, self._best, self._gone):
                memory.pop(job, None)
        return over

    def said(self, job: str) -> Said | Trouble | None:
        """What the job says of itself, `None` where it has said nothing."""
        folder = folder_of(self._root, job)
        if isinstance(folder, Trouble):
            return folder
        said = said_by(folder / SAID / "state.json", self._clock(), self._best.get(job, 0.0))
        if isinstance(said, Said) and said.speed is not None:
            self._best[job] = max(said.speed, self._best.get(job, 0.0))
        return said

    def _write(self, hint: Hint, owner: int | None) -> Trouble | None:
        folder = folder_of(self._root, hint.job)
        if isinstance(folder, Trouble):
            return folder
        asked = self._next(hint)
        if asked is self._asked.get(hint.job):
            return None
        try:
            opened(self._root, folder, owner, shared=self._shared)
            replaced(folder / "hint.json", _words(asked), owner)
        except OSError as error:
            return Trouble(f"{folder}: {error.strerror}; job {hint.job} goes on as it is")
        self._asked[hint.job] = asked
        return None

    def _next(self, hint: Hint) -> _Asked:
        """The hint with its numbers; the same object as before where it need not be rewritten yet."""
        now_s, before = self._clock(), self._asked.get(hint.job)
        # Numbers begin at the time, so that they go on rising when the agent is started anew.
        if before is None:
            return _Asked(hint, int(now_s), int(now_s), now_s)
        if before.hint == hint:
            fresh = 0.0 <= now_s - before.written_s < REWRITE_S
            return before if fresh else _Asked(hint, before.sequence, before.checkpoint_sequence, now_s)
        sequence = max(int(now_s), before.sequence + 1)
        return _Asked(hint, sequence, before.checkpoint_sequence if before.hint.checkpoint else sequence, now_s)


def _words(asked: _Asked) -> str:
    hint = asked.hint.model_dump(mode="json")
    numbers = {"sequence": asked.sequence, "checkpoint_sequence": asked.checkpoint_sequence}
    return json.dumps({"schema": SCHEMA, **hint, **numbers, "written_s": asked.written_s, "valid_s": VALID_S})
