"""`wattlease controller`: hold nodes under a budget where no scheduler does."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The YAML file.")
def controller(path: Path) -> None:
    """Grant watts to the agents of nodes that no scheduler looks after.

    A change of the file's budgets is taken up within a second; one with a mistake is told and changes nothing. A
    second controller on the same state folder stands by and takes over.
    """
    # what it works with is heavy, and --help needs none of it
    from wattlease.runtime.controller.process import hold
    from wattlease.runtime.controller.settings import ControllerSettings
    from wattlease.runtime.controller.work import BareWork

    async def bare(settings: ControllerSettings) -> BareWork:
        return BareWork(settings.profiles)

    hold(path, ControllerSettings, bare)
