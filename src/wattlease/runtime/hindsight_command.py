"""The command that asks a record what a lower limit would have cost: `wattlease plan`.

It imports what it works with when it runs, so that `wattlease --help` stays quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlease.runtime.commands import RECORD, progress_of

if TYPE_CHECKING:
    from wattlease.runtime.hindsight import Hindsight

MOST_JOBS = 30
"""Rows of the table of jobs; --json has them all."""


@click.command()
@click.argument("records", nargs=-1, required=True, type=RECORD)
@click.option(
    "--limit",
    "limits_w",
    type=click.IntRange(min=1),
    metavar="WATTS",
    multiple=True,
    required=True,
    help="The limit to try; may be given several times.",
)
@click.option("--budget", metavar="NAME", default="", help="Whose limit it is; without it the root's.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(records: tuple[Path, ...], limits_w: tuple[int, ...], budget: str, as_json: bool) -> None:
    """Tell who would have been cut under a lower limit, from RECORDS of ticks.

    Every tick is decided again under it, on what was drawn and what waited then, and nothing is done. The first row is
    what the record's own plans took; a limit above the recorded one changes nothing.
    """
    from wattlease.runtime.hindsight import hindsight
    from wattlease.runtime.record import read_all

    with progress_of("plan") as move:
        found = hindsight(read_all(records), limits_w, budget, move)
    if as_json:
        _print_json(found)
    else:
        _print(found)


def _print_json(found: list[Hindsight]) -> None:
    from dataclasses import asdict

    import orjson

    click.echo(orjson.dumps([asdict(one) for one in found], option=orjson.OPT_INDENT_2))


def _print(found: list[Hindsight]) -> None:
    """A row for each limit, then the jobs that the last one cuts, dearest first."""
    from wattlease.runtime.printed import print_rows

    head = ("limit", "above it", "at most by", "not met", "jobs slowed", "jobs paused", "GPU-hours lost", "cost")
    print_rows(head, [_row(one) for one in found], numbers=head[1:])
    last = found[-1]
    cut = sorted((job for job in last.jobs.values() if job.is_cut), key=lambda job: (-job.cost, job.id))
    if not cut:
        click.echo("\nno job would have been cut")
        return
    click.echo(f"\nunder {_limit(last)}:")
    print_rows(
        ("job", "name", "owner", "GPUs", "speed", "paused", "cost"),
        [(j.id, j.name, j.owner, str(j.gpus), f"{j.speed_frac:.1%}", f"{j.paused_s:.0f} s", f"{j.cost:.2f}")
         for j in cut[:MOST_JOBS]],
        numbers=("GPUs", "speed", "paused", "cost"),
    )  # fmt: skip
    if len(cut) > MOST_JOBS:
        click.echo(f"and {len(cut) - MOST_JOBS} more; --json has them all")


def _row(one: Hindsight) -> tuple[str, ...]:
    from wattlease.core import explain

    paused = sum(job.paused_s > 0.0 for job in one.jobs.values())
    slowed = sum(job.is_cut and job.paused_s == 0.0 for job in one.jobs.values())
    over = f"{one.over_s:.0f} of {one.seen_s:.0f} s"
    most_over = explain.watts(max(one.most_over_w, 0.0))
    return (
        _limit(one), over, most_over, f"{one.unmet_s:.0f} s", str(slowed), str(paused), f"{one.lost_gpu_h:.2f}",
        f"{one.cost:.2f}",
    )  # fmt: skip


def _limit(one: Hindsight) -> str:
    from wattlease.core import explain

    return "as it was" if one.limit_w is None else explain.watts(float(one.limit_w))
