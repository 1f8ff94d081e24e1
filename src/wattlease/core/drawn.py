"""What was drawn of late, and how far above it one may go: an account of two minutes, in spans of ten seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from wattlease.core.model import Floats

SPAN_S, SPANS = 10.0, 9
"""A minute of spans, and as many more as the account looks back."""

MINUTE_S, MINUTE = 60.0, 6
BACK = SPANS - MINUTE
"""Minutes that began so many spans ago still bind; one that is nearly over leaves a remainder that is mostly noise."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Mean draws over whole spans, [scopes, SPANS], newest last; `open_j` was drawn in the `open_s` since then."""

    spans_w: Floats = field(default_factory=lambda: np.empty((0, SPANS)))
    open_j: Floats = field(default_factory=lambda: np.empty(0))
    open_s: float = 0.0


def steady(draw_w: Floats) -> Drawn:
    """The account of scopes that are seen for the first time: as if they had always drawn this."""
    return Drawn(np.repeat(draw_w[:, None], SPANS, axis=1), np.zeros(len(draw_w)))


def noted(drawn: Drawn, draw_w: Floats, dt_s: float) -> Drawn:
    """The account after `dt_s` more at this draw."""
    spans_w, open_j, open_s = drawn.spans_w, drawn.open_j, drawn.open_s
    while open_s + dt_s >= SPAN_S:
        full_w = (open_j + draw_w * (SPAN_S - open_s)) / SPAN_S
        spans_w = np.column_stack((spans_w[:, 1:], full_w))
        dt_s, open_j, open_s = dt_s - (SPAN_S - open_s), np.zeros(len(draw_w)), 0.0
    return Drawn(spans_w, open_j + draw_w * dt_s, open_s + dt_s)


def within_w(drawn: Drawn, rise_w: Floats) -> Floats:
    """The most that may be drawn now so that no minute that began of late ends more than `rise_w` above the one before.

    Each has the mean of the minute before it, what it has drawn already, and its rest.
    """
    least_w = np.full(len(rise_w), np.inf)
    for back in range(BACK + 1):
        begun = SPANS - back
        before_w = drawn.spans_w[:, begun - MINUTE : begun].mean(axis=1)
        since_j = drawn.spans_w[:, begun:].sum(axis=1) * SPAN_S + drawn.open_j
        left_s = MINUTE_S - back * SPAN_S - drawn.open_s
        least_w = np.minimum(least_w, (MINUTE_S * (before_w + rise_w) - since_j) / left_s)
    return least_w
