"""Limits that are known to come, as reservations to come: backfill plans around them before they begin."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from wattlease.core.model import Window

LOOK_S = 24 * 3600.0
"""How far ahead reservations are made."""

CHANGED_W = 100
"""A reservation that is off by less is left as it is."""


@dataclass(frozen=True, slots=True)
class Coming:
    """A reservation to come; `hold_w` licences beside those that the live one holds."""

    name: str
    start_s: float
    duration_s: float
    hold_w: int


def coming(
    windows: Iterable[Window], now_s: float, limit_w: float, per_feed_w: float, prefix: str, most_w: int
) -> dict[str, Coming]:
    """What to reserve for the windows of the root that begin within a day, by name.

    A window below `limit_w`, which the root may draw now, takes the difference from new jobs: `per_feed_w` licences
    for each watt at the feed, and at most `most_w`, since overlapping reservations must not sum above all there are.
    One that has begun is the live reservation's affair. Windows that overlap would add up: the lowest has its own time
    whole, the others what is left of theirs.
    """
    found: dict[str, Coming] = {}
    taken: list[tuple[float, float]] = []
    for window in sorted(windows, key=lambda w: (w.limit_w, w.start_s)):
        soon = now_s < window.start_s <= now_s + LOOK_S
        if window.scope != 0 or not soon or window.limit_w >= limit_w:
            continue
        hold_w = min(math.ceil((limit_w - window.limit_w) * per_feed_w), most_w)
        for start_s, end_s in _less((window.start_s, window.end_s), taken):
            name = _name(prefix, window, start_s)
            found[name] = Coming(name, start_s, end_s - start_s, max(hold_w, 1))
        taken.append((window.start_s, window.end_s))
    return found


def differs(one: Coming, there: Coming | None) -> bool:
    """Whether a reservation is to be written: it is not there, holds too much, or is far from what is wanted."""
    if there is None or one.duration_s != there.duration_s:
        return True
    return one.hold_w < there.hold_w or one.hold_w > there.hold_w + CHANGED_W


def _less(span: tuple[float, float], taken: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """What is left of a span of time without those that are taken."""
    parts = [span]
    for start_s, end_s in taken:
        parts = [
            piece
            for a, b in parts
            for piece in ((a, min(b, start_s)), (max(a, end_s), b))
            if piece[1] - piece[0] >= 60.0  # Slurm counts reservations in minutes
        ]
    return parts


def _name(prefix: str, window: Window, start_s: float) -> str:
    """One name for one window, whatever is in its own: Slurm's names take letters, digits and few signs."""
    mark = sha256(f"{window.source}/{window.name}/{start_s:.0f}".encode()).hexdigest()[:10]
    return f"{prefix}-{mark}"
