"""What a card draws and how fast its job runs under a cap: the plant's truth.

A card's demand moves faster than any step of ours, so a cap `c` clips a distribution: the mean draw m(c) is concave,
m(c) <= c, and its slope is the share of time that the card wants more. If the job's demand rises to L times its usual
level, the whole distribution stretches, and the mean draw is L m(c / L), exactly. Between two steps `L (1 + n)` is
taken at the nearer of the tangents at n = 0 and at no cap at all, both of which bound a concave curve from above.

Jobs with a sweep of their own follow it point by point. Others have a distribution that gives the tracking which was
measured (96-99.6 % of the cap, A100 and B300), and the library's curve of speed against watts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from wattlease.core.curves import GRID, curve_for
from wattlease.core.model import Floats, Ints, Terms
from wattlease.sim.scenario_work import SweepPoint

SLOTS = 1024
REACH = 2.0
"""Tables cover caps from nothing to `REACH` times the uncapped draw; a higher cap does not bind."""

_SPAN = np.linspace(0.0, REACH, SLOTS + 1)
_LOW_SHARE, _LOW_LEVEL, _SPREAD_FRAC = 0.03, 0.3, 0.08
"""A running card is 3 % of the time between kernels, at 30 % of its draw; else it wavers by 8 %."""


@dataclass(slots=True)
class DrawTables:
    """Rows of draw and speed against cap, both as fractions of the uncapped draw and speed; rows are shared by jobs."""

    draw: list[Floats] = field(default_factory=list)
    speed: list[Floats] = field(default_factory=list)
    row_of: dict[object, int] = field(default_factory=dict)

    def row(self, model: str, terms: Terms, sweep: Sequence[SweepPoint]) -> int:
        """The row of such jobs, made when it is asked for the first time."""
        key = (model, terms.kind, terms.speed_frac, tuple(sweep))
        if key not in self.row_of:
            self.row_of[key] = len(self.draw)
            draw, speed = _swept(sweep) if sweep else _usual(model, terms)
            self.draw.append(draw)
            self.speed.append(speed)
        return self.row_of[key]

    def frozen(self) -> Curves:
        """The rows as columns for fast reading."""
        return Curves(np.concatenate(self.draw or [_SPAN]), np.concatenate(self.speed or [_SPAN]))


@dataclass(frozen=True, slots=True)
class Curves:
    """Flat tables of `SLOTS + 1` points for each row."""

    draw: Floats
    speed: Floats

    def mean(self, row: Ints, cap_frac: Floats) -> tuple[Floats, Floats]:
        """Mean draw under the cap and its slope, both against the uncapped draw."""
        at, part = _place(row, cap_frac)
        low = self.draw[at]
        rise = self.draw[at + 1] - low
        return low + rise * part, rise * (SLOTS / REACH)

    def pace(self, row: Ints, cap_frac: Floats) -> Floats:
        """Speed under the cap against uncapped."""
        at, part = _place(row, cap_frac)
        low = self.speed[at]
        return low + (self.speed[at + 1] - low) * part


def _place(row: Ints, cap_frac: Floats) -> tuple[Ints, Floats]:
    x = np.minimum(cap_frac, REACH * (1 - 1e-9)) * (SLOTS / REACH)
    slot = x.astype(np.int64)
    return row * (SLOTS + 1) + slot, x - slot


def _swept(sweep: Sequence[SweepPoint]) -> tuple[Floats, Floats]:
    """A sweep, straight between its points and from nothing to the first; beyond the last nothing binds."""
    full_w, full_speed = sweep[-1].draw_watts, sweep[-1].speed_percent
    cap = np.array([0.0, *(p.cap_watts for p in sweep)]) / full_w
    draw = np.array([0.0, *(p.draw_watts for p in sweep)]) / full_w
    speed = np.array([0.0, *(p.speed_percent for p in sweep)]) / full_speed
    return np.interp(_SPAN, cap, draw), np.interp(_SPAN, cap, speed)


def _usual(model: str, terms: Terms) -> tuple[Floats, Floats]:
    draw = _clipped(_SPAN) / _clipped(np.array([REACH]))[0]
    curve = terms.speed_frac or curve_for(model, terms.kind).speed_frac
    return draw, np.interp(draw, [0.0, *GRID], [0.0, *curve])


def _clipped(cap: Floats) -> Floats:
    """Mean of min(demand, cap) for a normal demand with a share of time at a low level, of mean one in all."""
    high = (1.0 - _LOW_SHARE * _LOW_LEVEL) / (1.0 - _LOW_SHARE)
    z = (cap - high) / _SPREAD_FRAC
    bell = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    busy = high * ndtr(z) - _SPREAD_FRAC * bell + cap * (1.0 - ndtr(z))
    return _LOW_SHARE * np.minimum(cap, _LOW_LEVEL) + (1.0 - _LOW_SHARE) * busy
