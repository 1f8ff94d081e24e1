"""One frame of `wattlease top`: lines of text, cut to a width, from the page's document."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from wattlease.runtime.live_words import Seen
from wattlease.runtime.printed import shown
from wattlease.runtime.status_lines import battery, bound, counted, left, time_of_day, watts
from wattlease.runtime.top_jobs import Table
from wattlease.runtime.top_line import spark

COLOURS = {
    "within": "green",
    "preparing": "cyan",
    "releasing": "cyan",
    "shedding": "yellow",
    "over": "bold red",
    "blind": "bold red",
}

KEYS = "q ends · ↑ ↓ page keys move · w c n sort by watts, cost, name"

PAST = "30 min "

TALL = 36
"""Lines from which on the past and the events have more room."""

EVENTS_MAX = 6


def frame(seen: Seen, sort: str, width: int, troubles: Sequence[str] = ()) -> list[Text]:
    """The whole frame, every job in it; `troubles` are why it is not of now."""
    table = Table(seen, sort, width)
    return [*head(seen, width, troubles), table.titles(), *table.rows(), Text(), *_events(seen, width, EVENTS_MAX)]


def page(
    seen: Seen, sort: str, width: int, height: int, first: int = 0, troubles: Sequence[str] = ()
) -> tuple[list[Text], int]:
    """As much as fits a screen, from the job line `first` on; and the line with which it did begin."""
    tall = height >= TALL
    top, table = head(seen, width, troubles, 3 if tall else 1), Table(seen, sort, width)
    events = _events(seen, width, EVENTS_MAX if tall else 3)
    room = max(height - len(top) - len(events) - 3, 1)
    first = max(min(first, len(table) - room), 0)
    body = table.rows(first, room)
    rest = len(table) - first - len(body)
    foot = Text(KEYS + (f" · {rest} lines below" if rest else ""), style="dim")
    blank = [Text()] * (room - len(body) + 1)
    return [_cut(line, width) for line in (*top, table.titles(), *body, *blank, *events, foot)], first


def head(seen: Seen, width: int, troubles: Sequence[str], rows: int = 1) -> list[Text]:
    """How the site stands, and its last half hour in so many rows."""
    numbers = Text.assemble(
        ("limit ", "dim"), (watts(seen.limit_w), "bold"), ("  draw ", "dim"), (watts(seen.draw_w), _colour(seen)),
        (_share(seen), "dim"), f"  {left(seen)}", ("  by ", "dim"), shown(bound(seen)),
    )  # fmt: skip
    *higher, lowest = spark(seen.history, seen.now_s, max(width - len(PAST), 1), rows)
    bars = [Text(" " * len(PAST)) + bar for bar in higher] + [Text(PAST, "dim") + lowest]
    stored = battery(seen.storage)
    lines = [
        *(Text(shown(trouble), "bold red") for trouble in troubles),
        _headline(seen, width),
        numbers,
        *bars,
        *([Text.assemble(("battery ", "dim"), shown(stored))] if stored else []),
        Text(),
        Text.assemble(("jobs ", "dim"), counted(seen.jobs)),
    ]
    return [_cut(line, width) for line in lines]


def _headline(seen: Seen, width: int) -> Text:
    """The state in a word and a sentence, and at the right end the time."""
    clock = time_of_day(seen.now_s)
    line = Text.assemble((shown(seen.site), "bold"), "  ", (shown(seen.state), _colour(seen)), "  ")
    if seen.mode == "Shadow":
        line.append("shadow: nothing is done  ", "bold magenta")
    line = _cut(line.append(shown(seen.state_text)), width - len(clock) - 2)
    return line.append(" " * (width - line.cell_len - len(clock)) + clock, "dim")


def _colour(seen: Seen) -> str:
    return COLOURS.get(seen.state, "bold")


def alone(trouble: str) -> list[Text]:
    """The frame of a page that has not answered yet."""
    return [Text(shown(trouble), style="bold red"), Text("q ends", style="dim")]


def _share(seen: Seen) -> str:
    return f" ({seen.draw_w / seen.limit_w:.0%})" if seen.draw_w is not None and seen.limit_w else ""


def _events(seen: Seen, width: int, most: int) -> list[Text]:
    """The newest events, newest first."""
    lines = []
    for event in seen.events[:most]:
        what = event.text if event.text.startswith(event.kind) else f"{event.kind}: {event.text}"
        lines.append(_cut(Text.assemble((time_of_day(event.t_s), "dim"), "  ", shown(what)), width))
    return lines


def _cut(line: Text, width: int) -> Text:
    cut = line.copy()
    cut.truncate(max(width, 1), overflow="ellipsis")
    return cut
