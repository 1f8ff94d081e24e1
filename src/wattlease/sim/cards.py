"""GPUs as columns: draw between idle and cap, with lag, phases common to a job's ranks, and noise of each card."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from wattlease.core.model import NONE, Bools, Floats, Ints
from wattlease.sim.demand import Curves

OVERSHOOT_FRAC = 0.43
"""A card passes its cap by at most this for one step: the largest burst measured (B300 capped to 500 W)."""

LAG_S = (0.1, 1.0)
"""Time constants with which cards follow a new cap or load; no measured figure is public, so a range."""

CORRELATION_S = 0.17
"""Of a card's own noise: 0.55 after 0.1 s in traces of Llama on H100 at 0.1 s."""

_ROWS = 4096


def own_noise(rng: np.random.Generator, cards: int, step_s: float, fast_frac: float) -> Floats:
    """Noise of each card for itself, [rows, cards]; `fast_frac` is its deviation at 0.1 s, longer steps average it."""
    keep = float(np.exp(-step_s / CORRELATION_S))
    ratio = 2 * CORRELATION_S / step_s
    # variance of the mean of an Ornstein-Uhlenbeck process over a step, against that over 0.1 s
    shrink = np.sqrt(_averaged(ratio) / _averaged(2 * CORRELATION_S / 0.1))
    white = rng.standard_normal((_ROWS, cards)) * np.sqrt(1 - keep**2)
    for before, now in pairwise(white):
        now += keep * before
    return np.clip(white * fast_frac * shrink, -OVERSHOOT_FRAC, OVERSHOOT_FRAC)


def _averaged(ratio: float) -> float:
    return ratio * (1.0 - ratio / 2 * (1.0 - float(np.exp(-2.0 / ratio))))


@dataclass(slots=True)
class Load:
    """What the cards are asked to do in a block: by card, its job's slot in the block (`NONE`: idle) and constants.

    `level` is the demand of each slot against usual, `swing` [steps, slots + 1] what it does on top within the block,
    the last column for idle cards.
    """

    slot: Ints
    row: Ints
    full_w: Floats
    level: Floats
    swing: Floats


@dataclass(slots=True)
class Cards:
    """The state of all cards: `mean_w` is the lagged mean draw, `draw_w` the draw at the end of the last step."""

    rng: np.random.Generator
    step_s: float
    idle_w: Floats
    fast_frac: float
    mean_w: Floats = field(init=False)
    draw_w: Floats = field(init=False)
    noise: Floats = field(init=False)
    lag_s: Floats = field(init=False)
    fading: dict[int, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start idle."""
        count = len(self.idle_w)
        self.mean_w = self.idle_w.copy()
        self.draw_w = self.idle_w.copy()
        self.noise = own_noise(self.rng, count, self.step_s, self.fast_frac)
        self.lag_s = self.rng.uniform(*LAG_S, count)

    def settle(self, load: Load, cap_w: Floats, curves: Curves) -> None:
        """Take the load on as if it had been there for long."""
        self.mean_w, _, _ = self._targets(load, cap_w, curves)
        self.draw_w = self.mean_w.copy()

    def run(self, load: Load, cap_w: Floats, curves: Curves) -> Floats:
        """Draw in each step, [steps, cards], under caps that hold from the first step on."""
        steps = len(load.swing)
        target_w, slope_w, free_w = self._targets(load, cap_w, curves)
        ceiling_w = np.maximum(cap_w, self.mean_w)
        mean_w = self._lagged(target_w, steps)
        # idle cards, whose slot is -1, read the last column of swings, which is zero
        swing = np.take(load.swing, load.slot, axis=1)
        draw_w = swing * slope_w
        draw_w += mean_w
        swing += 1.0
        swing *= np.maximum(free_w, self.mean_w)
        np.minimum(draw_w, swing, out=draw_w)
        np.minimum(draw_w, ceiling_w, out=draw_w)
        draw_w *= 1.0 + self._noise(steps, load.slot != NONE)
        np.maximum(draw_w, self.idle_w, out=draw_w)
        self.mean_w = mean_w[-1].copy()
        self.draw_w = draw_w[-1].copy()
        return draw_w

    def _targets(self, load: Load, cap_w: Floats, curves: Curves) -> tuple[Floats, Floats, Floats]:
        """Mean draw to settle at, what a swing of one adds to it, and the draw without any cap."""
        busy = load.slot != NONE
        level = np.append(load.level, 0.0)[load.slot]
        free_w = np.where(busy, load.full_w * level, self.idle_w)
        working = busy & (free_w > self.idle_w)
        frac = np.divide(cap_w, free_w, out=np.full(len(cap_w), 2.0), where=working)
        mean, slope = curves.mean(load.row, frac)
        mean_w = np.where(working, np.maximum(free_w * mean, self.idle_w), self.idle_w)
        slope_w = np.where(working, free_w * np.maximum(mean - frac * slope, 0.0), 0.0)
        return mean_w, slope_w, np.where(working, free_w, self.idle_w)

    def _lagged(self, target_w: Floats, steps: int) -> Floats:
        if steps not in self.fading:
            after_s = self.step_s * np.arange(1, steps + 1)
            self.fading[steps] = np.exp(-after_s[:, None] / self.lag_s)
        return target_w + (self.mean_w - target_w) * self.fading[steps]

    def _noise(self, steps: int, busy: Bools) -> Floats:
        at = int(self.rng.integers(0, _ROWS - steps))
        noise: Floats = self.noise[at : at + steps] * busy
        return noise
