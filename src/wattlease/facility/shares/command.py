"""`wattlease facility`: lease a site's watts to its clusters."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The YAML file.")
def facility(path: Path) -> None:
    """Lease watts to clusters, each with a controller of its own, so that a watt is worth the same in all of them.

    A change of the file is taken up within a second; one with a mistake is told and changes nothing. A second facility
    on the same state folder stands by and takes over.
    """
    # what it works with is heavy, and --help needs none of it
    from wattlease.facility.shares.facility import Facility
    from wattlease.facility.shares.settings import FacilitySettings
    from wattlease.runtime.controller.process import serve
    from wattlease.runtime.controller.surroundings import Surroundings
    from wattlease.runtime.lease.store import StateFolder

    async def control_of(settings: FacilitySettings, surroundings: Surroundings | None) -> Facility:
        return Facility(settings, StateFolder(Path(settings.state_folder)), surroundings)

    serve(path, FacilitySettings, control_of, "cluster")
