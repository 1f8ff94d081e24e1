"""What a picture of a report is made of: plain plotly traces, a sentence on what they show, a table of the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Figure = dict[str, Any]
Table = tuple[tuple[str, ...], ...]
"""Rows of text, head first."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure for plotly, and what it says in words and in a table (head first)."""

    title: str
    words: str
    table: Table
    traces: list[Figure]
    layout: Figure = field(default_factory=dict)
    height_px: int = 360
