"""What a site of 2 MW draws for a month: half of it trains, half of it serves, each by a public measurement.

Training is the GPUs in use in Philly's weeks of even use (days 24 to 92, which never come again). Serving is ServeGen's
14 days of requests, which must come again to fill a month.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from forecast_public import philly

from wattlease.core.model import Floats
from wattlease.sim import traces

MINUTE_S, QUARTER_S, HOUR_S, DAY_S = 60.0, 900.0, 3600.0, 86_400.0
KINDS = ("mixed", "training", "serving")

MOST_W, FLOOR_FRAC = 2e6, 0.35
"""What the site draws when all of it works, and the part of it that idle cards, fans and cooling draw all the time."""

EVEN_DAYS = (24, 92)
BEFORE_DAYS = 10
"""What a forecast has seen before the month begins, and all that it ever remembers: less than what comes again."""


def draw_w(folder: Path, kind: str, days: int, late_days: int) -> Floats:
    """By the minute, for so many days from the traces' day `late_days` on. BudgetError says which file is missing."""
    minutes, first = round(days * DAY_S / MINUTE_S), round(late_days * DAY_S / MINUTE_S)
    even = slice(*(round(day * DAY_S / MINUTE_S) for day in EVEN_DAYS))
    training = philly(folder).mean_w[even]
    if first + minutes > len(training):
        raise ValueError(f"Philly's even weeks end before day {late_days} + {days}; begin earlier")
    share = {"training": training[first : first + minutes] / training.max(), "serving": _served(folder, first, minutes)}
    share["mixed"] = (share["training"] + share["serving"]) / 2.0
    return np.asarray(MOST_W * (FLOOR_FRAC + (1.0 - FLOOR_FRAC) * share[kind]))


def _served(folder: Path, first: int, minutes: int) -> Floats:
    """Requests as a part of their most; ten minutes without any are a hole in the record."""
    rates = traces.servegen_rates(folder)
    told = np.flatnonzero(rates.per_s > 0)
    middle_s = rates.step_s * (told + 0.5)
    at_s = MINUTE_S * (first + np.arange(minutes)) % (rates.step_s * len(rates.per_s))
    return np.interp(at_s, middle_s, rates.per_s[told]) / rates.per_s.max()
