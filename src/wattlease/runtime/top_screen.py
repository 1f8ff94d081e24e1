"""`wattlease top` at work: one frame in print, or a screen that follows the page until a person ends it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click
from rich.console import Console, Group
from rich.live import Live as Screen
from rich.text import Text

from wattlease.runtime.live import Away, Live
from wattlease.runtime.live_words import Seen
from wattlease.runtime.printed import shown
from wattlease.runtime.top_frame import alone, frame, page
from wattlease.runtime.top_keys import keys

DRAW_S = 0.5
"""A frame is drawn at least so often, and at once when a key is pressed."""

QUIET_S = 15.0
"""A tick older than this is said to be old."""

PIPE_COLUMNS = 160
"""Width of what is not printed on a terminal, unless COLUMNS says another."""

SORTS = {"w": "watts", "c": "cost", "n": "name"}
ENDS = ("q", "Q")


def print_once(url: str, sort: str) -> bool:
    """Print one frame; say whether the page told anything."""
    live = Live(url)
    seen = live.view()
    if isinstance(seen, Away):
        click.echo(f"{seen.text}; name another page with --url", err=True)
        return False
    on_terminal = sys.stdout.isatty()
    console = Console(width=None if on_terminal or "COLUMNS" in os.environ else PIPE_COLUMNS)
    stale = live.stale()
    for line in frame(seen, sort, console.width, [f"not of now: {stale}"] if stale else []):
        if on_terminal:
            console.print(line, no_wrap=True)
        else:
            click.echo(line.plain.rstrip())
    return True


def watch(url: str, sort: str) -> None:
    """Follow the page on the whole screen until q or Ctrl-C."""
    news, console = _News(url), Console()
    first = 0
    with _ending_cleanly(), keys() as pressed, Screen(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            width, height = console.size
            lines, first = news.lines(sort, width, height, first)
            screen.update(Group(*lines), refresh=True)
            key = pressed(DRAW_S)
            if key in ENDS:
                return
            sort = SORTS.get(key, sort)
            first = _moved(first, key, height)


def _moved(first: int, key: str, height: int) -> int:
    """The first line of jobs after a key; the frame keeps it among those there are."""
    leap = max(height // 2, 1)
    return {
        "up": first - 1,
        "down": first + 1,
        "page up": first - leap,
        "page down": first + leap,
        " ": first + leap,
        "home": 0,
        "end": sys.maxsize,
    }.get(key, first)


class _News:
    """The newest document, which a thread of its own fetches: no network holds up a key."""

    def __init__(self, url: str) -> None:
        self._live = Live(url)
        self._seen: Seen | None = None
        self._heard_s, self._trouble = 0.0, f"asking {shown(url)}"
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        for news in self._live.follow():
            if isinstance(news, Away):
                self._trouble = f"{news.text}; trying again"
            else:
                self._heard_s, self._trouble, self._seen = time.monotonic(), "", news

    def lines(self, sort: str, width: int, height: int, first: int) -> tuple[list[Text], int]:
        """The frame as it is now, and the line of jobs with which it begins."""
        if self._seen is None:
            return alone(self._trouble), 0
        age_s = time.monotonic() - self._heard_s
        old = f"what follows is {age_s:.0f} s old" if self._trouble or age_s > QUIET_S else ""
        return page(self._seen, sort, width, height, first, [text for text in (self._trouble, old) if text])


@contextmanager
def _ending_cleanly() -> Iterator[None]:
    """Ctrl-C and SIGTERM leave the terminal as it was; a stopped job would leave its screen behind, so none is."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
