"""Which jobs sit on which GPUs, and whether they compute: Slurm tells the one, the processes themselves the other.

The hardware does not ask Slurm whether a job runs. A job that Slurm believes suspended draws power until its
processes have stopped, and one whose controller is dead goes on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from slurm_cluster import Cluster, fields
from slurm_room import CommandFailed

from wattlease.agent.jobs.slurm import indexes

PROC = Path("/proc")
ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PENDING", "TIMEOUT"}
)
HELD = re.compile(r"\bNodes=(\S+) CPU_IDs=\S+ Mem=\S+ GRES=(\S+)")
INDEXES = re.compile(r"\(IDX:([^)]+)\)")
HOSTS = re.compile(r"([^,\[]+)(?:\[([^\]]+)\])?(?:,|$)")


@dataclass(frozen=True, slots=True)
class Placed:
    """A job on its GPUs, as (node, index). `computes` where a process of it lives that is not stopped."""

    job: str
    name: str
    user: str
    state: str
    cards: tuple[tuple[str, int], ...]
    computes: bool = False


def placed(cluster: Cluster) -> tuple[Placed, ...] | None:
    """The jobs that hold GPUs, as slurmctld has it; None while it does not answer."""
    try:
        told = cluster.run("scontrol", "-d", "-o", "show", "job", timeout_s=2.0)
    except CommandFailed:
        return None
    jobs = (_placed(line) for line in told.splitlines() if line.startswith("JobId="))
    return tuple(job for job in jobs if job.state not in ENDED and job.cards)


def computing(room_pid: int, proc: Path = PROC) -> dict[str, bool]:
    """The jobs that have processes in this room: whether any of them is not stopped."""
    here = os.readlink(proc / str(room_pid) / "ns" / "pid")
    found: dict[str, bool] = {}
    for entry in proc.iterdir():
        if entry.name.isdecimal() and (seen := _process(entry, here)):
            job, moves = seen
            found[job] = found.get(job, False) or moves
    return found


def hosts(text: str) -> Iterator[str]:
    """The nodes of Slurm's short form, `n1,n[2-3,7]`; leading zeros stay."""
    for prefix, span in HOSTS.findall(text):
        if not span:
            yield prefix
        for part in filter(None, span.split(",")):
            low, _, high = part.partition("-")
            yield from (f"{prefix}{i:0{len(low)}d}" for i in range(int(low), int(high or low) + 1))


def by_node(jobs: Iterable[Placed]) -> Mapping[str, dict[str, list[str]]]:
    """For each node its jobs with the indexes of their cards."""
    found: dict[str, dict[str, list[str]]] = {}
    for job in jobs:
        for node, index in job.cards:
            found.setdefault(node, {}).setdefault(job.job, []).append(str(index))
    return found


def _placed(line: str) -> Placed:
    said = fields(line)
    cards = tuple(
        (node, int(index))
        for names, gres in HELD.findall(line)
        for node in hosts(names)
        for listed in INDEXES.findall(gres)
        for index in indexes(listed)
    )
    return Placed(said["JobId"], said["JobName"], said["UserId"].partition("(")[0], said["JobState"], cards)


def _process(entry: Path, here: str) -> tuple[str, bool] | None:
    """The job of a process of this room, and whether it is alive and not stopped."""
    try:
        if os.readlink(entry / "ns" / "pid") != here:
            return None
        environment = (entry / "environ").read_bytes()
        name, _, rest = (entry / "stat").read_text(errors="replace").rpartition(") ")
    except OSError:  # it has ended meanwhile
        return None
    job = re.search(rb"(?:^|\0)SLURM_JOB_ID=(\d+)", environment)
    if job is None or "(slurmstepd" in name or rest[0] in "ZX":
        return None
    return job[1].decode(), rest[0] not in "Tt"
