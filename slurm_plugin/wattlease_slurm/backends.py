"""Which way this site reaches Slurm."""

from __future__ import annotations

import re
from pathlib import Path

from wattlease_slurm.backend import Backend
from wattlease_slurm.cli_backend import CliBackend
from wattlease_slurm.cli_run import Commands, Kind
from wattlease_slurm.pyslurm_backend import PyslurmBackend, load_pyslurm
from wattlease_slurm.pyslurm_words import Pyslurm
from wattlease_slurm.settings import Slurm
from wattlease_slurm.words import Trouble, Why

RELEASE = re.compile(r"\d+\.\d+")


async def backend_of(settings: Slurm) -> Backend | Trouble:
    """The backend that the settings name; Auto takes pyslurm where it is there and fits, and the commands elsewhere."""
    commands = Commands(Path(settings.bin_folder) if settings.bin_folder else None)
    if settings.backend == "Commands":
        return CliBackend(commands)
    slurm = load_pyslurm()
    trouble = slurm if isinstance(slurm, Trouble) else await _misfit(slurm, commands)
    if trouble is None and not isinstance(slurm, Trouble):
        return PyslurmBackend(slurm, commands)
    return CliBackend(commands) if settings.backend == "Auto" else trouble or CliBackend(commands)


async def _misfit(slurm: Pyslurm, commands: Commands) -> Trouble | None:
    """What is wrong with this pyslurm for the Slurm that is installed here; the same release is needed."""
    said = await commands.run(Kind.READ, "scontrol", "--version")
    if isinstance(said, Trouble):
        return said
    here, built = (found[0] if (found := RELEASE.search(text)) else "?" for text in (said, slurm.__version__))
    if here == built:
        return None
    told = f"it is built for Slurm {built}, here is {here}; install pyslurm {here}.*, or write backend: Commands"
    return Trouble("import pyslurm", Why.MISSING, told)
