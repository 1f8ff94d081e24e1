"""Keys pressed at a terminal, as words, without waiting for Enter."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WORDS = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[H": "home",
    "\x1b[1~": "home",
    "\x1b[F": "end",
    "\x1b[4~": "end",
}

Pressed = Callable[[float], str]
"""Waits so many seconds for a key; the key, or empty."""


@contextmanager
def keys() -> Iterator[Pressed]:
    """While the block runs keys come one by one and are not shown; where nobody types, none ever come."""
    if not sys.stdin.isatty():
        yield _nobody
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)  # Ctrl-C goes on to interrupt; what was typed already counts
        yield lambda wait_s: _pressed(terminal, wait_s)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _pressed(terminal: int, wait_s: float) -> str:
    ready, _, _ = select.select([terminal], [], [], wait_s)
    typed = os.read(terminal, 64).decode(errors="replace") if ready else ""
    return WORDS.get(typed, typed[:1])


def _nobody(wait_s: float) -> str:
    select.select([], [], [], wait_s)
    return ""
