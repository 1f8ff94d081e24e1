"""A measured course of power: a sample holds until the next, the last as long as the one before, a minute at most."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wattlease.core.model import Floats
from wattlease.runtime.record import HOLDS_S

MINUTE_S = 60.0
J_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Course:
    """Columns: unix seconds, rising, and watts. A NaN is a tick at which nobody knew."""

    t_s: Floats
    power_w: Floats

    @cached_property
    def _sums(self) -> tuple[Floats, Floats, Floats]:
        """Edges of what is known, and up to each of them the joules and the seconds."""
        held_s = self._gaps_s() * np.isfinite(self.power_w)
        edges_s: Floats = np.column_stack((self.t_s, self.t_s + held_s)).ravel()
        steps_s: Floats = np.column_stack((held_s, np.zeros_like(held_s))).ravel()
        steps_j: Floats = steps_s * np.repeat(np.nan_to_num(self.power_w), 2)
        joules: Floats = np.cumsum(steps_j) - steps_j
        seconds: Floats = np.cumsum(steps_s) - steps_s
        return edges_s, joules, seconds

    @property
    def end_s(self) -> float:
        """When the last sample no longer holds."""
        return float(self.t_s[-1] + self._gaps_s()[-1])

    def _gaps_s(self) -> Floats:
        """How long each sample holds."""
        gaps_s = np.diff(self.t_s)
        last_s = gaps_s[-1:] if len(gaps_s) else np.ones(len(self.t_s))
        held_s: Floats = np.minimum(np.concatenate((gaps_s, last_s)), HOLDS_S)
        return held_s

    def _at(self, bounds_s: Floats) -> tuple[Floats, Floats]:
        edges_s, joules, seconds = self._sums
        if not len(edges_s):
            return np.zeros(len(bounds_s)), np.zeros(len(bounds_s))
        energy_j: Floats = np.interp(bounds_s, edges_s, joules)
        known_s: Floats = np.interp(bounds_s, edges_s, seconds)
        return energy_j, known_s

    def known_s(self, from_s: float, until_s: float) -> float:
        """How much of a span was recorded."""
        return float(np.diff(self._at(np.array([from_s, until_s]))[1])[0])

    def energy_j(self, from_s: float, until_s: float) -> float:
        """What was drawn in the recorded part of a span."""
        return float(np.diff(self._at(np.array([from_s, until_s]))[0])[0])

    def means_w(self, bounds_s: Floats) -> Floats:
        """The mean between each two neighbouring bounds, over what is known of it; NaN where that is nothing."""
        joules, seconds = (np.diff(column) for column in self._at(bounds_s))
        means_w: Floats = np.full(len(seconds), np.nan)
        np.divide(joules, seconds, out=means_w, where=seconds > 1e-6)
        return means_w

    def mean_w(self, from_s: float, until_s: float) -> float:
        """The mean over what is known of a span; NaN where that is nothing."""
        return float(self.means_w(np.array([from_s, until_s]))[0])


def minutes(from_s: float, until_s: float, width_s: float = MINUTE_S) -> Floats:
    """Bounds of the whole minutes of a span, counted from its beginning."""
    bounds_s: Floats = from_s + width_s * np.arange(int((until_s - from_s) / width_s + 1e-9) + 1, dtype=np.float64)
    return bounds_s
