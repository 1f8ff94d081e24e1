"""Courses of which it is known what can be foreseen."""

from __future__ import annotations

import numpy as np

from wattlease.core.model import Floats
from wattlease.facility.forecast.model import Range
from wattlease.facility.forecast.series import Series, plain

HOUR_S, DAY_S = 3600.0, 86_400.0
START_S = 20_000 * DAY_S


def daily(days: float, step_s: float = 1800.0, noise: float = 0.02, seed: int = 0) -> Series:
    """A day-night course around 1 MW with noise that has no memory."""
    count = round(days * DAY_S / step_s)
    hour = np.arange(count) * step_s / HOUR_S
    draw_w = 1e6 * (1.0 + 0.3 * np.sin(2 * np.pi * hour / 24) + noise * np.random.default_rng(seed).normal(size=count))
    return plain(START_S, step_s, draw_w)


def wandering(days: float, seed: int, step_s: float = 1800.0) -> Series:
    """A course of which nothing can be foreseen but that it stays where it is."""
    count = round(days * DAY_S / step_s)
    steps_w: Floats = np.random.default_rng(seed).normal(0.0, 1e4, count)
    return plain(START_S, step_s, np.abs(1e6 + np.cumsum(steps_w)))


COARSE = Range("coarse", 1800.0, (1800.0, 3600.0, 14_400.0, DAY_S), 60.0)
