"""The command that proves an event: `wattlease report`.

It imports what it works with when it runs, so that `wattlease --help` stays quick.
"""

from __future__ import annotations

from pathlib import Path

import click

from wattlease.runtime.commands import RECORD

METHODS = ("hour-before", "like-days")


@click.command()
@click.argument("records", nargs=-1, required=True, type=RECORD)
@click.option("--event", metavar="NAME", help="The event; without it all events of the record are listed.")
@click.option("--scope", metavar="NAME", help="Its scope, where several have an event of that name.")
@click.option(
    "--baseline",
    type=click.Choice(METHODS),
    default=METHODS[0],
    show_default=True,
    help="What would have been drawn: the hour before, or the same hours of ten like days.",
)
@click.option("--time-zone", metavar="ZONE", default="UTC", show_default=True, help="Of times shown and of like days.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder; out/<name of the event>.")
@click.option("--json", "as_json", is_flag=True, help="Print the proof as JSON, write no files.")
def report(
    records: tuple[Path, ...], event: str | None, scope: str | None, baseline: str, time_zone: str, out: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Prove what an event of the grid asked for and what was delivered, from RECORDS of ticks.

    Name all segments that matter: for like days also those of the weeks before. Writes report.html, which needs
    nothing else, proof.json, minutes.csv and jobs.csv.
    """
    from wattlease.facility import reporting

    zone = reporting.zone_of(time_zone)
    record = reporting.read(records)
    if event is None:
        reporting.list_events(record, zone)
        return
    found = reporting.prove(record, event, scope, baseline, zone)
    if as_json:
        reporting.print_json(found)
    else:
        reporting.write(record, found, out or Path("out") / event, zone)
