"""The table of jobs in `wattlease top`: columns as wide as what they hold, the sentence why wherever there is room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from wattlease.runtime.live_words import Seen, SeenJob
from wattlease.runtime.printed import shown
from wattlease.runtime.status_lines import watts

WIDE = 120
"""From so many columns on the sentence stands in the job's own line; below, under those that something is done to."""

COLOURS = {"capped": "yellow", "downsized": "yellow", "paused": "magenta", "held": "blue", "waiting": "dim"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, what it holds, the most cells that it takes, and whether it is of numbers."""

    title: str
    cell: Callable[[SeenJob], str]
    most: int
    number: bool = False


def ordered(jobs: tuple[SeenJob, ...], sort: str) -> list[SeenJob]:
    """The jobs by watts or cost, highest first, or by name; those alike by name."""
    keys: dict[str, Callable[[SeenJob], float]] = {
        "watts": lambda job: -(job.draw_w or 0.0),
        "cost": lambda job: -(job.cost_per_h or 0.0),
        "name": lambda _job: 0.0,
    }
    return sorted(jobs, key=lambda job: (keys[sort](job), job.name, job.id))


class Table:
    """Lines of one document's jobs; each is put together only when it is asked for."""

    def __init__(self, seen: Seen, sort: str, width: int) -> None:
        self._jobs, self._width, self._wide = ordered(seen.jobs, sort), width, width >= WIDE
        self._columns = [(c, self._room(c)) for c in self._told(seen.currency)]
        self._lines = [(job, under) for job in self._jobs for under in (False, True)[: 1 + self._tells_below(job)]]

    def __len__(self) -> int:
        """How many lines there are below the titles."""
        return len(self._lines)

    def titles(self) -> Text:
        """The line above the rows."""
        cells = [_fit(c.title, room, c.number) for c, room in self._columns]
        return Text("  ".join([*cells, "why"] if self._wide else cells).rstrip(), style="bold")

    def rows(self, first: int = 0, most: int | None = None) -> list[Text]:
        """A line for each job, on a narrow screen a second one with the sentence of one that is not left alone."""
        end = None if most is None else first + most
        return [self._under(job) if under else self._row(job) for job, under in self._lines[first:end]]

    def _row(self, job: SeenJob) -> Text:
        cells = "  ".join(_fit(c.cell(job), room, c.number) for c, room in self._columns)
        line = Text(cells, style=COLOURS.get(job.state, ""))
        return self._cut(Text.assemble(line, "  ", shown(job.reason)) if self._wide else line)

    def _under(self, job: SeenJob) -> Text:
        return self._cut(Text(f"  {shown(job.reason)}", style="dim"))

    def _tells_below(self, job: SeenJob) -> bool:
        return not self._wide and job.state != "running"

    def _cut(self, line: Text) -> Text:
        line.truncate(self._width, overflow="ellipsis")
        return line

    def _told(self, currency: str) -> list[Column]:
        """The columns that tell something: a name that is the id, and owners that nobody knows, are left out."""
        named = any(job.name != job.id for job in self._jobs)
        owned = any(job.owner for job in self._jobs)
        columns = [Column("job", lambda job: job.id, (24 if self._wide else 14) if named else 34)]
        columns += [Column("name", lambda job: job.name, 28 if self._wide else 18)] if named else []
        columns += [Column("owner", lambda job: job.owner, 14 if self._wide else 10)] if owned else []
        return [
            *columns,
            Column("GPUs", lambda job: str(job.gpus), 5, True),
            Column("watts", lambda job: watts(job.draw_w) if job.runs else "-", 8, True),
            Column("speed", _speed, 6, True),
            Column(f"{currency}/h", _cost, 9, True),
        ]

    def _room(self, column: Column) -> int:
        widest = max((cell_len(column.cell(job)) for job in self._jobs), default=0)
        return min(max(widest, cell_len(column.title)), column.most)


def _speed(job: SeenJob) -> str:
    return f"{job.speed_frac:.1%}" if job.runs and job.speed_frac is not None else "-"


def _cost(job: SeenJob) -> str:
    return "-" if job.cost_per_h is None else f"{job.cost_per_h:,.2f}"


def _fit(text: str, room: int, number: bool) -> str:
    """The text in exactly so many cells."""
    cut = Text(shown(text))
    cut.truncate(room, overflow="ellipsis")
    pad = " " * (room - cut.cell_len)
    return pad + cut.plain if number else cut.plain + pad
