"""A job's folder on the disk: made, written and removed so that no job can turn the agent's hand.

Rule 1: a name below the root is one or two plain segments; any other is refused.
Rule 2: a pod may be root in its own folder. So nothing here follows a link: files are made new and renamed into
place, and what an existing folder is given, it is given through a handle that cannot be swapped.
Rule 3: nothing passes over permissions. CAP_CHOWN is enough, CAP_DAC_OVERRIDE is not wanted.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wattlease.agent.cards import Trouble

SAID = ".said"
"""The job's own part of its folder; no job can have this name."""

NESTED_MAX = 64
"""Folders that a job may leave in its part; one that leaves more has it to itself, and nothing waits for it."""

SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,252}")


def folder_of(root: Path, job: str) -> Path | Trouble:
    """A Slurm job's folder, or a pod's below its namespace's."""
    segments = job.split("/")
    if len(segments) > 2 or not all(SEGMENT.fullmatch(segment) for segment in segments):
        return Trouble(f"{job!r} is no job's name; it is a Slurm job's id or namespace/pod")
    return root.joinpath(*segments)


def folders(root: Path) -> dict[str, Path]:
    """The jobs whose folders are there, with a hint in them."""
    found = [path.parent for path in [*root.glob("*/hint.json"), *root.glob("*/*/hint.json")]]
    named = {path.relative_to(root).as_posix(): path for path in found}
    return {job: path for job, path in named.items() if not isinstance(folder_of(root, job), Trouble)}


def opened(root: Path, folder: Path, owner: int | None, *, shared: bool) -> None:
    """Make the folder, through which all may pass and which only the agent may list or change; `SAID` is the job's.

    Raises OSError.
    """
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    for made in (*reversed(folder.relative_to(root).parents[:-1]), folder.relative_to(root)):
        (root / made).mkdir(exist_ok=True)
        _give(root / made, os.geteuid(), 0o711)  # the kubelet may have made it, for nobody but itself
    if owner is not None or shared:
        (folder / SAID).mkdir(exist_ok=True)
        _give(folder / SAID, os.geteuid() if owner is None else owner, 0o777 if owner is None else 0o711)


def replaced(path: Path, text: str, owner: int | None) -> None:
    """Write a file whole or not at all; the owner alone may read it, where there is one. Raises OSError."""
    torn = path.with_name(f".{path.name}.{os.getpid()}")
    torn.unlink(missing_ok=True)
    with torn.open("x", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644 if owner is None else 0o400)
        if owner is not None:
            os.fchown(file.fileno(), owner, -1)
    torn.replace(path)


def removed(folder: Path) -> bool:
    """Take back what is the job's, so that it can be removed without passing over permissions; then remove all.

    False where something is left. It takes as long as there are files, so call it where nothing waits.
    """
    taken = [folder / SAID] if (folder / SAID).is_dir() and not (folder / SAID).is_symlink() else []
    try:
        for there in taken:
            _give(there, os.geteuid(), 0o700)
            taken += [Path(entry.path) for entry in os.scandir(there) if entry.is_dir(follow_symlinks=False)]
            if len(taken) > NESTED_MAX:
                return False
        shutil.rmtree(folder)
    except OSError:
        return False
    return True


def _give(folder: Path, owner: int, mode: int) -> None:
    with _handle(folder) as handle:
        there = os.stat(handle)
        if there.st_uid == owner and there.st_mode & 0o7777 == mode:
            return
        # Only the owner may change the mode, so the agent is that first.
        os.chown(handle, os.geteuid(), -1)
        os.chmod(handle, mode)
        os.chown(handle, owner, -1)


@contextmanager
def _handle(folder: Path) -> Iterator[str]:
    """A name of this very folder, whatever its path leads to from now on; OSError where it is a link."""
    opened_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield f"/proc/self/fd/{opened_fd}"
    finally:
        os.close(opened_fd)
