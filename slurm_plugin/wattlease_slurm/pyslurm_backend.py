"""Slurm through pyslurm 25.11. NOT RUN HERE: it builds only against Slurm 25.11, which no distribution carries.

Written after what pyslurm 25.11.2 did with a live 25.11.7. It replaces `squeue` and the acts on plain jobs. What
pyslurm does not tell (GPUs by index, those of `--gpus`), or could not do to a part of an array or a heterogeneous job,
goes through the commands as everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TypeVar, cast

from wattlease.agent.bounded import BoundedCalls
from wattlease.agent.cards import Trouble as Hung
from wattlease_slurm.backend import NOTHING_SEEN
from wattlease_slurm.cli_backend import CliBackend, one_line, with_licences
from wattlease_slurm.cli_parse import licences_of
from wattlease_slurm.cli_queue import Row
from wattlease_slurm.cli_run import PATIENCE_S, Commands
from wattlease_slurm.cli_said import why
from wattlease_slurm.pyslurm_words import Pyslurm, row_of
from wattlease_slurm.words import Trouble, Why

Told = TypeVar("Told")


def load_pyslurm() -> Pyslurm | Trouble:
    """The module, if it is installed and finds the libslurm that it was built with."""
    try:
        return cast(Pyslurm, import_module("pyslurm"))
    except ImportError as error:
        return Trouble("import pyslurm", Why.MISSING, f"{error}; install pyslurm of the site's Slurm version")


class PyslurmBackend(CliBackend):
    """The commands' backend with libslurm in the place of the commonest ones."""

    def __init__(self, slurm: Pyslurm, commands: Commands) -> None:
        super().__init__(commands)
        self._slurm = slurm
        self._calls = BoundedCalls(PATIENCE_S / 2)
        # libslurm keeps state of its own: one call at a time
        self._one = asyncio.Lock()

    async def set_licences(
        self, job: str, licences: Mapping[str, int], seen: Mapping[str, int] = NOTHING_SEEN
    ) -> Trouble | None:
        """Read what the job has, and write it back with these in it."""
        if not job.isdecimal():
            return await super().set_licences(job, licences, seen)

        def change() -> Trouble | None:
            held = licences_of(",".join(self._slurm.Job.load(int(job)).licenses))
            wanted = with_licences(job, held, licences, seen)
            if isinstance(wanted, str):
                self._modify(job, licenses=wanted)
                return None
            return wanted

        return await self._call(f"set licences of job {job}", change)

    async def set_admin_comment(self, job: str, text: str) -> Trouble | None:
        """Say something of it."""
        if not job.isdecimal():
            return await super().set_admin_comment(job, text)
        said = await self._call(f"comment job {job}", lambda: self._modify(job, admin_comment=one_line(text)))
        self._lookup.forget(job)
        return said

    async def set_site_factor(self, job: str, factor: int) -> Trouble | None:
        """Move its priority."""
        if not job.isdecimal():
            return await super().set_site_factor(job, factor)
        return await self._call(f"site factor of job {job}", lambda: self._modify(job, site_factor=factor))

    async def suspend(self, job: str) -> Trouble | None:
        """Stop it where it is."""
        if not job.isdecimal():
            return await super().suspend(job)
        return await self._call(f"suspend job {job}", lambda: self._slurm.Job(int(job)).suspend())

    async def resume(self, job: str) -> Trouble | None:
        """Let it go on."""
        if not job.isdecimal():
            return await super().resume(job)
        return await self._call(f"resume job {job}", lambda: self._slurm.Job(int(job)).unsuspend())

    async def requeue(self, job: str) -> Trouble | None:
        """Back into the queue."""
        if not job.isdecimal():
            return await super().requeue(job)
        return await self._call(f"requeue job {job}", lambda: self._slurm.Job(int(job)).requeue(hold=False))

    async def hold_watts(
        self, name: str, licence: str, watts: int, start_s: float | None = None, duration_s: float | None = None
    ) -> Trouble | None:
        """The standing hold is moved by pyslurm; it is made, and announced ones are made and moved, by command."""
        if start_s is None and duration_s is None:
            changes = self._slurm.Reservation(licenses=[f"{licence}:{max(1, watts)}"])
            moved = await self._call(f"hold {name}", lambda: self._slurm.Reservation(name=name).modify(changes))
            if moved is None or moved.why is not Why.UNKNOWN:
                return moved
        return await super().hold_watts(name, licence, watts, start_s, duration_s)

    async def _rows(self) -> list[Row] | Trouble:
        jobs = await self._call("load jobs", lambda: [row_of(job) for job in self._slurm.Jobs.load().values()])
        return jobs if isinstance(jobs, Trouble) else [row for row in jobs if row is not None]

    def _modify(self, job: str, **what: object) -> None:
        self._slurm.Job(int(job)).modify(self._slurm.JobSubmitDescription(**what))

    async def _call(self, what: str, call: Callable[[], Told]) -> Told | Trouble:
        """Its answer, within the patience; libslurm may hang as long as slurmctld does."""

        def tell() -> Told | Trouble:
            try:
                return call()
            except (self._slurm.RPCError, ValueError) as error:
                return Trouble(what, why(str(error)), str(error)[:300])

        async with self._one:
            said = await asyncio.to_thread(self._calls.one, "libslurm", tell)
        return Trouble(what, Why.UNANSWERED, said.text) if isinstance(said, Hung) else said
