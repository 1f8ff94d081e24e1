"""`wattlease doctor`: try what a site's budgets name, and say what to do about what does not answer.

Each command imports what it works with when it runs, so that `wattlease --help` stays quick.
"""

from __future__ import annotations

from pathlib import Path

import click

CONFIG = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("config", type=CONFIG)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(config: Path, as_json: bool) -> None:
    """Ask every meter and device that CONFIG names, and tell what answered.

    CONFIG is any YAML file with budgets. Nothing is changed anywhere. Exit code 0: all is well. 1: something is not,
    and what to do. 2: the file cannot be used.
    """
    import asyncio

    from rich.console import Console

    from wattlease.facility.doctor import examine
    from wattlease.facility.doctor_file import budgets_in
    from wattlease.facility.doctor_print import print_json, print_table

    found = asyncio.run(examine(budgets_in(config)))
    if as_json:
        print_json(found)
    elif found.findings:
        print_table(found, Console())
    else:
        click.echo(f"{config}: its budgets name no meter and no device; there is nothing to ask")
    raise SystemExit(0 if found.is_well else 1)
