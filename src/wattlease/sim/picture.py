"""What the pictures of a run have in common: colours, time axes, means by step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np

from wattlease.core.model import Floats
from wattlease.runtime.document.picture import Figure, Table
from wattlease.sim.measures import edges, mean
from wattlease.sim.run import Run

DRAW, LIMIT, PLAN, FIELD, BATTERY, PRICE = "#4477aa", "#cc4455", "#888888", "#c58a1d", "#228855", "#aa5599"
STACK = ("#4477aa", "#66a8d4", "#228855", "#bba63a", "#cc7744", "#aa5599", "#7766bb", "#999999")
"""Hues that stay apart for most colour-blind eyes, and on white and on black."""

UNIX_S = 1e8
"""Earlier times are counted from the start of a scenario that has no date."""


def clock(t_s: Floats) -> Any:
    """Times for an axis: dates (UTC, in ms) or hours since the start."""
    return np.round(t_s * 1000).astype(np.int64) if _dated(t_s) else t_s / 3600


def time_text(t_s: float, long: bool = False) -> str:
    """A time for a table cell."""
    if t_s < UNIX_S:
        return f"{t_s / 3600:.2f} h"
    return datetime.fromtimestamp(t_s, UTC).strftime("%Y-%m-%d %H:%M:%S" if long else "%d %b %H:%M")


def _dated(t_s: Floats) -> bool:
    return bool(len(t_s) and t_s[0] >= UNIX_S)


def time_axis(run: Run) -> Figure:
    """The axis that all pictures over time share."""
    if _dated(run.t_s):
        return {"type": "date", "hoverformat": "%d %b %H:%M:%S", "title": {"text": "UTC"}}
    return {"title": {"text": "hours"}}


def line(name: str, t_s: Floats, y: Floats, colour: str, **more: Any) -> Figure:
    """A line over time."""
    style = {"color": colour, "width": 2} | more.pop("line", {})
    return {"type": "scatter", "mode": "lines", "name": name, "x": clock(t_s), "y": y, "line": style} | more


def time_table(run: Run, columns: Sequence[tuple[str, Floats, Floats]], digits: int = 1) -> Table:
    """Means of columns (name, times, values) over two dozen equal spans of the run; a dash where nothing is known."""
    bounds = np.linspace(run.t_s[0], edges(run.t_s)[-1], 25).tolist()
    rows = [(time_text(a), *(number(mean(t_s, y, a, b), digits) for _, t_s, y in columns)) for a, b in pairwise(bounds)]
    return (("from", *(name for name, _, _ in columns)), *rows)


def number(value: float, digits: int = 1) -> str:
    """A number for a table cell."""
    return f"{value:,.{digits}f}" if np.isfinite(value) else "–"
