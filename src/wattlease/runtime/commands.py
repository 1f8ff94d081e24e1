"""What happened: `wattlease replay` on a tick record, `wattlease explain` on one or on the live page.

Each imports what it works with when it runs, so that `wattlease --help` stays quick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlease.runtime.page_option import page_url

if TYPE_CHECKING:
    from wattlease.runtime.record import Tick

RECORD = click.Path(exists=True, dir_okay=False, path_type=Path)


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float:
    """Unix seconds of an ISO 8601 time (UTC where it names no zone) or of unix seconds; infinity for none."""
    if value is None:
        return math.inf
    try:
        return float(value)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no time; write 2025-05-03T23:30:00Z or unix seconds") from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


@contextmanager
def progress_of(title: str) -> Iterator[Callable[[Tick], None]]:
    """A bar on standard error, if that is a terminal, which every tick that is passed to it moves on."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda tick: bar.update(task, completed=tick.read_frac)


@click.command()
@click.argument("record", type=RECORD)
def replay(record: Path) -> None:
    """Decide every recorded tick again and compare, byte for byte.

    Exit code 0: all the same. 1: a tick differs, and which. 2: the file cannot be used.
    """
    from wattlease.core.decide import decide
    from wattlease.runtime.replay import replay as decide_again

    ticks = 0

    def count(tick: Tick) -> None:
        nonlocal ticks
        ticks = tick.number
        move(tick)

    with progress_of("replay") as move:
        difference = decide_again(record, decide, count)
    if difference is not None:
        click.echo(f"{record}: {difference.text}")
        raise SystemExit(1)
    click.echo(f"{record}: {ticks} ticks decided again, byte for byte the same")


@click.command()
@click.argument("asked", metavar="JOBID | RECORD")
@click.argument("name", required=False)
@click.option("--at", metavar="TIME", callback=moment, help="End a record's story here: ISO 8601 or unix seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@page_url
@click.option(
    "--state-folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The controller's stateFolder, for jobs that ended longer ago than its page remembers.",
)
def explain(asked: str, name: str | None, at: float, as_json: bool, url: str, state_folder: Path | None) -> None:
    """Tell what happened to a job or a node, why, and what it cost.

    JOBID asks the controller's live page: 4711, a task 123_4, a part 123+1, a pod namespace/name, or a job's name.

    RECORD, an existing file, is a tick record, and NAME a job's id or name in it, or a node; without NAME every job is
    listed with its last sentence.
    """
    if Path(asked).is_file():
        _explain_recorded(Path(asked), name, at, as_json)
    elif name is not None or asked.endswith((".jsonl", ".gz")):
        raise click.BadParameter(f"there is no record {asked}; give the path of a record, or a job's id alone")
    elif math.isfinite(at):
        raise click.BadParameter("--at is for a record: the live page tells of now")
    else:
        _explain_live(asked, as_json, url, state_folder)


def _explain_recorded(record: Path, name: str | None, at: float, as_json: bool) -> None:
    from wattlease.runtime.story import told
    from wattlease.runtime.story_print import print_json, print_story

    with progress_of("read") as move:
        story = told(record, name, at, move)
    if as_json:
        print_json(story)
    else:
        print_story(story)


def _explain_live(job: str, as_json: bool, url: str, state_folder: Path | None) -> None:
    from wattlease.runtime.job_print import print_sheet, print_sheet_json
    from wattlease.runtime.story_live import sheet_of

    sheet, away = sheet_of(job, url, state_folder)
    if away:
        click.echo(f"{away}; this is from the file of ended jobs", err=True)
    if as_json:
        print_sheet_json(sheet)
    else:
        print_sheet(sheet)
