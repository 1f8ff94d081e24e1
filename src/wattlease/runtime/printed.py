"""What stories are printed with: names made harmless, times, rows. Light to import."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wattlease.runtime.job_words import Entry


def shown(text: str) -> str:
    """The text without control characters: names come from outside and must not steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def clock(now_s: float) -> str:
    """A time of a record in UTC, for people; simulated ones may lie beyond the calendar."""
    try:
        return datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{now_s:g} s"


def print_entries(entries: Sequence[Entry]) -> None:
    """What happened, a row each."""
    print_rows(("time (UTC)", "what", "why"), [(clock(e.now_s), e.what, e.sentence) for e in entries])


def print_rows(head: Sequence[str], rows: Sequence[tuple[str, ...]], numbers: Collection[str] = ()) -> None:
    """Rows under their titles: columns on a terminal, tabs in a pipe."""
    console = Console()
    if not console.is_terminal:
        for row in (tuple(head), *rows):
            click.echo("\t".join(map(shown, row)))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in head:
        table.add_column(title, justify="right" if title in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(shown(cell)) for cell in row))
    console.print(table)
