"""The folder in which a prolog tells who holds which GPU: one file per device, one job a line.

The same folder that dcgm-exporter reads (`--hpc-job-mapping-dir`). A file is named by the GPU's index, its uuid or a
MIG instance's uuid; dcgm-exporter reads the indexes and skips the others. A line is a job's id as `squeue` has it in
JOBID; of a step (`4711.0`, `4711.batch`) its job is taken.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wattlease.agent.cards import Trouble
from wattlease.agent.jobs import Holding

FOLDER = Path("/run/wattlease/gpus")

MAX_BYTES = 1 << 16
"""A longer file is no list of one GPU's jobs; it is cut."""

JOB = re.compile(r"(\d+(?:[_+]\d+)?)(?:\.\w+)?")
DEVICE = re.compile(r"\d+(\.\d+)?|[A-Za-z]+-[A-Za-z0-9-]+")
LOCK = ".lock"


def mapped(folder: Path = FOLDER) -> tuple[Holding, ...] | Trouble:
    """Who holds which device, by the names of the files; what is no device or no job is passed over."""
    try:
        files = sorted(path for path in folder.iterdir() if DEVICE.fullmatch(path.name) and path.is_file())
        told = [(path.name, _jobs(path)) for path in files]
    except OSError as error:
        return Trouble(f"{error.filename or folder}: {error.strerror}; the prolog writes this folder")
    return tuple(Holding(job, device) for device, jobs in told for job in jobs)


def enter(folder: Path, job: str, devices: Sequence[str]) -> Trouble | None:
    """For the prolog: the job holds these devices from now on, beside whoever holds them."""
    return _wrong(job, devices) or _rewrite(folder, lambda: devices, lambda jobs: dict.fromkeys([*jobs, job]))


def leave(folder: Path, job: str) -> Trouble | None:
    """For the epilog: the job holds no device any more; other jobs keep theirs."""
    return _wrong(job, ()) or _rewrite(
        folder,
        lambda: sorted(path.name for path in folder.iterdir() if DEVICE.fullmatch(path.name)),
        lambda jobs: [other for other in jobs if other != job],
    )


def _wrong(job: str, devices: Sequence[str]) -> Trouble | None:
    if not JOB.fullmatch(job):
        return Trouble(f"{job!r} is no job; give SLURM_JOB_ID")
    for device in devices:
        if not DEVICE.fullmatch(device):
            return Trouble(f"{device!r} is no GPU; give its index, its uuid or its MIG instance's uuid")
    return None


def _rewrite(
    folder: Path, devices: Callable[[], Sequence[str]], changed: Callable[[list[str]], Iterable[str]]
) -> Trouble | None:
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _locked(folder):
            for device in devices():
                _write(folder / device, changed(_jobs(folder / device)))
    except OSError as error:
        return Trouble(f"{error.filename or folder}: {error.strerror}; run the prolog as root")
    return None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Prologs of two jobs that share a card may run at once."""
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, jobs: Iterable[str]) -> None:
    """Replace a device's file whole; one without a job is removed, as dcgm-exporter wants it."""
    lines = "".join(f"{job}\n" for job in jobs)
    if not lines:
        path.unlink(missing_ok=True)
        return
    torn = path.with_name(f".{path.name}.{os.getpid()}")
    torn.write_text(lines, encoding="utf-8")
    torn.replace(path)


def _jobs(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:  # the epilog was faster
        return []
    found = (JOB.fullmatch(line.strip()) for line in text.splitlines())
    return list(dict.fromkeys(match[1] for match in found if match))
