"""A folder of client commands that work from outside: each enters the cluster's room and becomes the real one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CLIENTS = ("squeue", "scontrol", "scancel", "sbatch", "sinfo", "sprio", "srun", "sacct", "sdiag")

# A file beside the wrapper that says how long makes it hang, alone in its process as the real one would: who kills it
# kills all of it, and its pipes close.
WRAPPER = """#!/bin/sh
if [ -e {stall} ]; then
    exec bash -c 'read -rt "$(cat "$1")" _ <>"$2"; shift 2; exec "$@"' stalled {stall} {never} {enter} {real} "$@"
fi
exec {enter} {real} "$@"
"""

KEEPS_FOLDER = """/bin/sh -c 'cd "$1" 2>/dev/null || cd; shift; exec "$@"' in "$PWD" """


def write_wrappers(folder: Path, entering: Sequence[str], never: Path) -> None:
    """Write them; `never` is a pipe that nobody writes to. Those that start jobs keep the caller's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CLIENTS:
        real = f"/usr/bin/{name}" if name not in ("sbatch", "srun") else f"{KEEPS_FOLDER}/usr/bin/{name}"
        text = WRAPPER.format(stall=stall_file(folder, name), never=never, enter=" ".join(entering), real=real)
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)


def stall_file(folder: Path, name: str) -> Path:
    """Where it is written for how many seconds every call of a command hangs."""
    return folder / f".{name}.stall"
