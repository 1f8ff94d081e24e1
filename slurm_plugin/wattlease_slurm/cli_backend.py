"""Slurm through `squeue`, `scontrol` and `scancel`: what works with every version and needs no library."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from wattlease_slurm.backend import COMMENT_MAX, NOTHING_SEEN
from wattlease_slurm.cli_jobs import Jobs
from wattlease_slurm.cli_lookup import Lookup
from wattlease_slurm.cli_parse import licences_of, text_of
from wattlease_slurm.cli_queue import Row, new_mark, rows_of, squeue_format
from wattlease_slurm.cli_records import config_of, nodes_of_records, reservations_of
from wattlease_slurm.cli_run import Commands, Kind
from wattlease_slurm.words import Config, Queue, Reservation, SlurmNode, Trouble, Why

JOB = re.compile(r"\d{1,10}(_(\d+|\[[\d,:-]+\])|\+\d+)?")
SIGNAL = re.compile(r"(SIG)?[A-Z0-9+-]{1,12}")
SITE_FACTOR_MAX = 2**31 - 3

Told = TypeVar("Told")


class CliBackend:
    """The `Backend` of every site."""

    def __init__(self, commands: Commands, clock: Callable[[], float] = time.time) -> None:
        self._commands = commands
        self._clock = clock
        self._lookup = Lookup(commands)
        self._jobs = Jobs()

    async def queue(self) -> Queue | Trouble:
        """Every job that waits, runs or ends."""
        read_s = self._clock()
        rows = await self._rows()
        if isinstance(rows, Trouble):
            return rows
        details = await self._lookup.details(rows, read_s)
        if isinstance(details, Trouble):
            return details
        # in a thread: 10,000 jobs take longer to read than this process may be deaf to its agents
        return await asyncio.to_thread(_understood, "squeue", lambda: Queue(self._jobs.of(rows, details), read_s))

    async def nodes(self) -> tuple[SlurmNode, ...] | Trouble:
        """All nodes."""
        return await self._read(nodes_of_records, "scontrol", "-a", "-o", "show", "node")

    async def config(self) -> Config | Trouble:
        """Licences, names and the version."""
        return await self._read(config_of, "scontrol", "show", "config")

    async def reservations(self) -> tuple[Reservation, ...] | Trouble:
        """All reservations."""
        return await self._read(reservations_of, "scontrol", "-a", "-o", "show", "reservation")

    async def hold_watts(
        self, name: str, licence: str, watts: int, start_s: float | None = None, duration_s: float | None = None
    ) -> Trouble | None:
        """Make the reservation hold this much, or make it."""
        amount = f"Licenses={licence}:{max(1, watts)}"
        begins_s = self._clock() if start_s is None else start_s
        ends = [] if duration_s is None else [f"EndTime=uts{begins_s + duration_s:.0f}"]
        # one that has begun keeps its start; Slurm refuses to be told it again
        begins = [f"StartTime=uts{begins_s:.0f}"] if begins_s > self._clock() else []
        changed = await self._write("scontrol", "update", f"ReservationName={name}", amount, *begins, *ends)
        if changed is None or changed.why is not Why.UNKNOWN:
            return changed
        span = [*(begins or ["StartTime=now"]), *(ends or ["Duration=UNLIMITED"])]
        made = ("scontrol", "create", "reservation", f"ReservationName={name}", *span)
        return await self._write(*made, "Users=root", amount, "Flags=LICENSE_ONLY")

    async def drop_reservation(self, name: str) -> Trouble | None:
        """Delete it."""
        dropped = await self._write("scontrol", "delete", f"ReservationName={name}")
        return None if dropped is None or dropped.why is Why.UNKNOWN else dropped

    async def set_licences(
        self, job: str, licences: Mapping[str, int], seen: Mapping[str, int] = NOTHING_SEEN
    ) -> Trouble | None:
        """Read what the job has, and write it back with these in it."""
        held = await self._licences(job)
        wanted = held if isinstance(held, Trouble) else with_licences(job, held, licences, seen)
        return await self._update(job, f"Licenses={wanted}") if isinstance(wanted, str) else wanted

    async def set_site_factor(self, job: str, factor: int) -> Trouble | None:
        """Move its priority."""
        factor = max(-SITE_FACTOR_MAX, min(SITE_FACTOR_MAX, factor))
        return await self._update(job, f"SiteFactor={factor}", kind=Kind.REMARK)

    async def set_admin_comment(self, job: str, text: str) -> Trouble | None:
        """Say something of it."""
        said = await self._update(job, f"AdminComment={one_line(text)}", kind=Kind.REMARK)
        self._lookup.forget(job)
        return said

    async def suspend(self, job: str) -> Trouble | None:
        """Stop it where it is."""
        return await self._act(_whole(job), "scontrol", "suspend", _whole(job))

    async def resume(self, job: str) -> Trouble | None:
        """Let it go on."""
        return await self._act(_whole(job), "scontrol", "resume", _whole(job))

    async def signal(self, job: str, name: str, batch_only: bool = True) -> Trouble | None:
        """Send it a signal."""
        if SIGNAL.fullmatch(name) is None:
            return Trouble(f"scancel --signal={name[:20]}", Why.REFUSED, "that is no signal; write USR1, TERM, ...")
        where = "--batch" if batch_only else "--full"
        return await self._act(job, "scancel", f"--signal={name.removeprefix('SIG')}", where, job)

    async def requeue(self, job: str) -> Trouble | None:
        """Back into the queue."""
        return await self._act(_whole(job), "scontrol", "requeue", _whole(job))

    async def hold(self, job: str) -> Trouble | None:
        """Keep it from starting."""
        return await self._act(_whole(job), "scontrol", "hold", _whole(job))

    async def release(self, job: str) -> Trouble | None:
        """Let it start."""
        return await self._act(_whole(job), "scontrol", "release", _whole(job))

    async def shrink(self, job: str, nodes: int) -> Trouble | None:
        """Leave it so many nodes. scontrol leaves scripts where it runs, which the job has no use for."""
        with tempfile.TemporaryDirectory(prefix="wattlease-") as folder:
            return await self._update(job, f"NumNodes={nodes}", cwd=folder)

    async def set_node_extra(self, node: str, text: str) -> Trouble | None:
        """Write a node's `Extra`."""
        line = one_line(text)
        return await self._write("scontrol", "update", f"NodeName={node}", f"Extra={line}", kind=Kind.REMARK)

    async def _rows(self) -> list[Row] | Trouble:
        mark = new_mark()
        argv = ("squeue", "-a", "-h", "-o", squeue_format(mark))
        return await self._read(lambda text: [Row(*fields) for fields in rows_of(text, mark)], *argv)

    async def _licences(self, job: str) -> dict[str, int] | Trouble:
        """What one job has or asks for now. squeue knows an array's rest by each of its tasks only."""
        one = re.split(r"[,:\]-]", job.replace("[", ""))[0]
        mark = new_mark()
        argv = ("squeue", "-a", "-h", "-j", one, "-o", squeue_format(mark, "iW"))
        rows = await self._read(lambda text: dict(rows_of(text, mark, 2)), *argv)
        if isinstance(rows, Trouble):
            return rows
        said = rows.get(one, rows.get(job))
        if said is None:
            return Trouble(f"squeue -j {one}", Why.UNKNOWN, f"job {job} is not in the queue")
        if "|" in said:
            return Trouble(f"squeue -j {one}", Why.REFUSED, f"job {job} asks for one of several licences: {said[:80]}")
        return dict(licences_of(text_of(said)))

    async def _read(self, parse: Callable[[str], Told], *argv: str) -> Told | Trouble:
        text = await self._commands.run(Kind.READ, *argv)
        return text if isinstance(text, Trouble) else _understood(" ".join(argv)[:60], lambda: parse(text))

    async def _update(self, job: str, change: str, kind: Kind = Kind.ACT, cwd: str = "/") -> Trouble | None:
        return await self._act(job, "scontrol", "update", f"JobId={job}", change, kind=kind, cwd=cwd)

    async def _act(self, job: str, *argv: str, kind: Kind = Kind.ACT, cwd: str = "/") -> Trouble | None:
        if JOB.fullmatch(job) is None:  # also keeps what is no id from being read as an option
            return Trouble(argv[0], Why.UNKNOWN, f"{job[:40]!r} is no job's id")
        return await self._write(*argv, kind=kind, cwd=cwd)

    async def _write(self, *argv: str, kind: Kind = Kind.ACT, cwd: str = "/") -> Trouble | None:
        said = await self._commands.run(kind, *argv, cwd=cwd)
        return said if isinstance(said, Trouble) else None


def one_line(text: str) -> str:
    """The text without newlines and other control characters, cut at `COMMENT_MAX`."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= COMMENT_MAX else line[: COMMENT_MAX - 1] + "…"


def with_licences(
    job: str, held: Mapping[str, int], licences: Mapping[str, int], seen: Mapping[str, int]
) -> str | Trouble | None:
    """What to write into a job that holds so many licences; `None` where it has what is wanted."""
    wanted = {name: count for name, count in {**held, **licences}.items() if count > 0}
    if wanted == held:
        return None
    if any(held.get(name, 0) != count for name, count in seen.items()):
        return Trouble(f"set licences of job {job}", Why.CHANGED, f"it has {dict(held)} where {dict(seen)} were seen")
    return ",".join(f"{name}:{count}" for name, count in wanted.items())


def _whole(job: str) -> str:
    """A heterogeneous job stops, goes and waits as a whole, by its leader's name."""
    return job.partition("+")[0]


def _understood(what: str, read: Callable[[], Told]) -> Told | Trouble:
    try:
        return read()
    except ValueError as error:
        return Trouble(what, Why.UNREADABLE, str(error)[:200])
