"""`wattlease operator`: what a Kubernetes site runs. Each command imports what it works with when it runs."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def operator() -> None:
    """Keep a Kubernetes cluster within its power limit."""


@operator.command()
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The YAML file.")
def run(path: Path) -> None:
    """Keep the cluster under its PowerBudgets: caps, queue, pauses; two of them stand by for each other.

    Budgets, profiles and nodes are the cluster's objects, and a change of one is taken up within a second.
    """
    from wattlease_operator.process import run as run_operator

    run_operator(path)
