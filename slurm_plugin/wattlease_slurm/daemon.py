"""`wattlease slurm run`: the shared loop with Slurm's queue as its work."""

from __future__ import annotations

from pathlib import Path

from wattlease.runtime.cli import Refusal
from wattlease.runtime.controller.process import hold
from wattlease_slurm.backends import backend_of
from wattlease_slurm.settings import SlurmSettings
from wattlease_slurm.words import Trouble
from wattlease_slurm.workload import SlurmWorkload


def run(path: Path) -> None:
    """Run until Ctrl-C or SIGTERM. Raises BudgetError for a mistake in the file, Refusal where it cannot listen."""
    hold(path, SlurmSettings, _workload)


async def _workload(settings: SlurmSettings) -> SlurmWorkload:
    backend = await backend_of(settings.slurm)
    if isinstance(backend, Trouble):
        raise Refusal(str(backend))
    return SlurmWorkload(settings, backend)
