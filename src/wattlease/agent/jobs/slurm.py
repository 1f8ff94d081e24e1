"""Slurm jobs by what the kernel knows of them: the control group of a process, and what its environment says.

A control group's path is written by Slurm and cannot be forged. An environment can: its job counts only where no
path names one, and its GPUs only for the job whose processes say so. Another user's environment is readable only with
CAP_SYS_PTRACE; without it these sources tell less, and say nothing wrong.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from wattlease.agent.cards import Trouble
from wattlease.agent.jobs import Holding

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")

# v1: /slurm/uid_1000/job_7/step_0, with several slurmd on a node /slurm_n1/...; v2: .../n1_slurmstepd.scope/job_7/...
JOB_PATH = re.compile(r"/(?:slurm(?:_[^/]+)?|[^/]*slurmstepd\.scope)/(?:uid_\d+/)?job_(\d+)(?:/|$)", re.MULTILINE)
JOB_FOLDERS = (
    "system.slice/*slurmstepd.scope/job_*",
    "devices/slurm*/uid_*/job_*",
    "freezer/slurm*/uid_*/job_*",
)

MAX_BYTES = 1 << 20
"""Of an environment no more is read; Linux allows more, a job's variables of Slurm come early."""

PROCESSES_MAX = 64
"""Processes of a job that are asked for its GPUs; the batch shell and the steps' leaders are among the first."""

_GPUS = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
_JOBS = ("SLURM_JOB_ID", "SLURM_JOBID")


def job_of(pid: int, proc: Path = PROC) -> str | None:
    """The job of a process as `squeue`'s JOBID, also of an array's task or a part of a heterogeneous job."""
    found = JOB_PATH.search(_text(proc / str(pid) / "cgroup"))
    if found:
        return found[1]
    said = _environment(pid, proc)
    return next((said[name] for name in _JOBS if said.get(name, "").isdecimal()), None)


def running(pids: Mapping[str, Iterable[int]], proc: Path = PROC) -> tuple[Holding, ...]:
    """Jobs by the processes that the driver sees on each device; one that is of no job, or gone, is passed over."""
    seen = ((device, pid, job_of(pid, proc)) for device, found in pids.items() for pid in found)
    return tuple(dict.fromkeys(Holding(job, device, owner=_owner(pid, proc)) for device, pid, job in seen if job))


def allocated(cgroup: Path = CGROUP, proc: Path = PROC) -> tuple[Holding, ...] | Trouble:
    """Jobs of this node with the GPUs that Slurm gave them, by index, also where none of them computes yet."""
    if not cgroup.is_dir():
        return Trouble(f"{cgroup}: not there; mount the control groups into the agent's container")
    folders = [folder for pattern in JOB_FOLDERS for folder in sorted(cgroup.glob(pattern))]
    return tuple(dict.fromkeys(held for folder in folders for held in _allocated(folder, proc)))


def owners(cgroup: Path = CGROUP, proc: Path = PROC) -> dict[str, int]:
    """The user id of each job of this node whose processes are found; root's are Slurm's own."""
    found: dict[str, int] = {}
    for folder in (folder for pattern in JOB_FOLDERS for folder in sorted(cgroup.glob(pattern))):
        users = (user for user in (_owner(pid, proc) for pid in _pids(folder)) if user)
        user = next(users, None)
        if user is not None:
            found.setdefault(folder.name.removeprefix("job_"), user)
    return found


def indexes(text: str) -> tuple[str, ...]:
    """GPUs as Slurm lists them, `0,2-3`; what is not such a list names none."""
    if not re.fullmatch(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", text):
        return ()
    spans = (part.partition("-") for part in text.split(","))
    return tuple(str(index) for low, _, high in spans for index in range(int(low), int(high or low) + 1))


def _allocated(folder: Path, proc: Path) -> Iterator[Holding]:
    job = folder.name.removeprefix("job_")
    for pid in islice(_pids(folder), PROCESSES_MAX):
        said = _environment(pid, proc)
        if said.get(_JOBS[0]) == job:
            owner = _owner(pid, proc)
            yield from (Holding(job, index, owner=owner) for name in _GPUS for index in indexes(said.get(name, "")))


def _pids(folder: Path) -> Iterator[int]:
    for path in sorted(folder.rglob("cgroup.procs")):
        yield from (int(line) for line in _text(path).split() if line.isdecimal())


def _owner(pid: int, proc: Path) -> int | None:
    try:
        return (proc / str(pid)).stat().st_uid
    except OSError:
        return None


def _environment(pid: int, proc: Path) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in _text(proc / str(pid) / "environ").split("\0"))
    return {name: value for name, found, value in pairs if found and name.startswith("SLURM_")}


def _text(path: Path) -> str:
    """A file of the kernel's; empty where it is gone or not for us, for processes end while one looks."""
    try:
        with path.open("rb") as file:
            return os.fsdecode(file.read(MAX_BYTES))
    except OSError:
        return ""
