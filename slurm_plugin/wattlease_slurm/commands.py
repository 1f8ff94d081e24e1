"""`wattlease slurm`: what a Slurm site runs. Each command imports what it works with when it runs."""

from __future__ import annotations

from pathlib import Path

import click

from wattlease_slurm.install_commands import install


@click.group()
def slurm() -> None:
    """Keep a Slurm cluster within its power limit."""


slurm.add_command(install)


@slurm.command()
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The YAML file.")
def run(path: Path) -> None:
    """Keep the cluster under its budget: caps, licences, pauses; beside slurmctld, and beside its backup.

    A change of the file's budgets is taken up within a second; one with a mistake is told and changes nothing. A
    second daemon on the same state folder stands by and takes over.
    """
    from wattlease_slurm.daemon import run as run_daemon

    run_daemon(path)
