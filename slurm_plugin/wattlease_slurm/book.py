"""What the daemon has done to jobs, on disk before it is done: a successor undoes it, and nobody else's deeds.

A job that Slurm suspended and that is not in the book was suspended by a person, and stays so. One that is in the book
and runs was resumed by a person, and is not paused again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Set
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from wattlease.runtime.lease.disk import replace_file
from wattlease.runtime.lease.said import Said
from wattlease_slurm.words import Queue, SlurmJob, State

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deeds:
    """What was done to one job. Times are unix seconds, 0 for never."""

    pausing: bool = False
    """It is to be suspended, or was; written before the first step."""

    paused: bool = False
    """Slurm took the suspension, and was not asked to end it."""

    stubborn: bool = False
    """A person let it go on, or Slurm refuses to suspend it: it is not paused again."""

    licences: int | None = None
    """What it was last given by us."""

    restarts: int = 0
    """Slurm's count when that was so; a requeued job begins anew."""

    others_licences: bool = False
    """A person changed its licences; they stay as they are."""

    saved_s: float = 0.0
    """When it was last asked to save itself and had the time for it."""

    batch_frac: float = 1.0
    """The batch it is asked to run with."""

    variant: str = ""
    """The smaller model it is asked to run with."""


NOTHING_DONE = Deeds()


class Book:
    """Deeds by job id. Changed on the event loop; `save` runs beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._deeds: dict[str, Deeds] = {}
        self._touched_s: dict[str, float] = {}
        self._met: dict[str, tuple[int, int]] = {}
        """Of each job that runs, its restarts and the licences that it began with, as far as we saw."""
        self._saved, self._saving = b"", Lock()
        self._said = Said(log)

    def load(self) -> None:
        """Take what is on disk. A book that cannot be read is told and begun anew: suspended jobs are then a person's
        to resume, and nothing that runs is touched for it."""
        try:
            data = orjson.loads(self._path.read_bytes())
            self._deeds = {str(job): _deeds(written) for job, written in dict(data).items()}
        except FileNotFoundError:
            self._deeds = {}
        except (OSError, ValueError, TypeError) as trouble:
            self._deeds = {}
            log.error("book begun anew, suspended jobs stay so until resumed by hand: %s: %s", self._path, trouble)

    def of(self, job: str) -> Deeds:
        """What was done to this job."""
        return self._deeds.get(job, NOTHING_DONE)

    def write(self, job: str, **changes: Any) -> None:
        """Change what is written of a job; it is on disk after the next `save`."""
        self._touched_s[job] = time.time()
        restarts, _ = self._met.get(job, (0, 0))
        self._deeds[job] = replace(self._deeds.get(job, Deeds(restarts=restarts)), **changes)

    def licences(self, job: str) -> int | None:
        """What it has where nobody else changed that: what we gave it last, or what it began with."""
        _, began = self._met.get(job, (0, None))
        given = self.of(job).licences
        return began if given is None else given

    def unsure(self, job: str) -> None:
        """Nobody knows what licences it has, for Slurm did not say: what is seen next is what it began with."""
        self._met.pop(job, None)
        self.write(job, licences=None)

    @property
    def paused(self) -> frozenset[str]:
        """Jobs that are suspended by us, or are about to be."""
        return frozenset(job for job, deeds in self._deeds.items() if deeds.pausing)

    def compare(self, queue: Queue, licence: str, under_way: Collection[str]) -> None:
        """Learn from the queue what persons did, and forget the jobs that have gone.

        Jobs that something is `under_way` for, or that were written of since the queue was read, are left as they are.
        """
        seen = {job.id: job for job in queue.jobs}
        self._deeds = {name: deeds for name, deeds in self._deeds.items() if name in seen}
        self._touched_s = {name: at_s for name, at_s in self._touched_s.items() if name in seen}
        known = {n for n in seen if n not in under_way and self._touched_s.get(n, 0.0) < queue.read_s}
        changed = self._changed_by_others(seen, known, licence)
        for name in known & (self._deeds.keys() | changed):
            deeds = _compared(self.of(name), seen[name], licence)
            self._deeds[name] = replace(deeds, others_licences=True) if name in changed else deeds

    def _changed_by_others(self, seen: Mapping[str, SlurmJob], known: Set[str], licence: str) -> Set[str]:
        """Running jobs that we never gave licences, and that have others than they began with."""
        began = {name: met for name, met in self._met.items() if name in seen and met[0] == seen[name].restarts}
        has = {name: seen[name].licences.get(licence, 0) for name in known if seen[name].state == State.RUNNING}
        self._met = {name: (seen[name].restarts, watts) for name, watts in has.items()} | began
        return {name for name, watts in has.items() if self.of(name).licences is None and self._met[name][1] != watts}

    def save(self) -> bool:
        """Put the book on disk if it has changed; say whether it is there. Blocks."""
        with self._saving:
            return self._put()

    def _put(self) -> bool:
        data = orjson.dumps({job: asdict(deeds) for job, deeds in list(self._deeds.items()) if deeds != NOTHING_DONE})
        if data == self._saved:
            return True
        try:
            replace_file(self._path, data)
        except OSError as trouble:
            self._said.once(logging.ERROR, "book not saved", f"nothing is suspended until it is: {trouble}")
            return False
        self._saved = data
        self._said.forget("book not saved")
        return True


def _deeds(written: Any) -> Deeds:
    known = {field.name for field in fields(Deeds)}
    return Deeds(**{name: value for name, value in dict(written).items() if name in known})


def _compared(deeds: Deeds, job: SlurmJob, licence: str) -> Deeds:
    if job.restarts != deeds.restarts:  # begun anew: what it was given and how it ran are the former run's
        return Deeds(restarts=job.restarts, stubborn=deeds.stubborn)
    if job.state != State.RUNNING:
        return deeds
    if deeds.licences is not None and job.licences.get(licence, 0) != deeds.licences:
        deeds = replace(deeds, others_licences=True)
    if deeds.pausing:  # resumed: by us, or where it was still paused by a person
        deeds = replace(deeds, pausing=False, paused=False, stubborn=deeds.paused)
    return deeds
