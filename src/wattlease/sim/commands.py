"""The commands on a virtual site: `wattlease simulate` and `wattlease demo`.

Each imports what it works with when it runs, so that `wattlease --help` stays quick.
"""

from __future__ import annotations

from pathlib import Path

import click

from wattlease.runtime.garbage import collect_rarely

POLICIES = ("none", "uniform", "nameplate", "wattlease", "shares")
RECORDS = ("auto", "plain", "gz", "none")


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder; out/<name of the scenario>.")
@click.option("--seed", type=click.IntRange(min=0), help="Chance of the run, in place of the scenario's.")
@click.option("--seeds", type=click.IntRange(min=1), help="So many seeds, a line for each, under Wattlease alone.")
@click.option("--policy", type=click.Choice(POLICIES), help="This policy alone.")
@click.option(
    "--record",
    type=click.Choice(RECORDS),
    default="auto",
    help="The ticks under Wattlease. auto: plain to a million GPU-ticks, gz to ten, none beyond.",
)
@click.option("--no-record", "record", flag_value="none", help="The same as --record none.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of public traces.")
def simulate(
    scenario: Path, out: Path | None, seed: int | None, seeds: int | None, policy: str | None, record: str,
    data: Path | None,
) -> None:  # fmt: skip
    """Run SCENARIO.yaml against virtual hardware and judge how its limit was kept.

    Writes report.html, summary.json and the record of every tick, for `wattlease replay` and `wattlease explain`.
    """
    from wattlease.sim import simulating

    collect_rarely()
    read = simulating.scenario_of(scenario, policy, data)
    folder = out or Path("out") / read.name
    first = read.seed if seed is None else seed
    if seeds:
        simulating.compare_seeds(read, folder, range(first, first + seeds))
    else:
        simulating.simulate(read, folder, first, record)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes any free port.")
@click.option(
    "--speed",
    type=click.FloatRange(0.1, 100),
    default=1.0,
    show_default=True,
    help="Simulated seconds in a second; the agents keep the time of the wall, so that faster makes them look slow.",
)
@click.option("--open/--no-open", "opens", default=False, help="Open the page in a browser.")
def demo(port: int, speed: float, opens: bool) -> None:
    """Show a virtual site under its limit, live, on a page of this machine.

    The GPUs are virtual, the agents that limit them are real processes. Lower the limit, start a grid event or a huge
    job, and watch. Ctrl-C ends it.
    """
    from wattlease.sim.demo import serve_demo

    serve_demo(port, speed, opens)
