"""The way back after a cut: what is allowed rises along the budget's ramp, and what is drawn does too.

A release lasts from a limit that rises until the ramp has reached it.

Rule 1: what is allowed never rises faster than the ramp, but to keep what contracts need.
Rule 2: without a fresh meter nothing rises.
Rule 3: in a release nothing is allowed that would raise a minute's mean by more than the ramp rises in a minute. So who
wakes is let up at the ramp's pace, or the others give way to him until then. Where limits are counted and not the draw,
they keep to the ramp, and what is drawn under them is its own.
Rule 4: that takes nothing which contracts need, nor more than a minute's rise of what was allowed when the release
began; and it ends with the ramp.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wattlease.core.drawn import MINUTE_S, noted, within_w
from wattlease.core.estimate import Estimate
from wattlease.core.memory import ScopesMemory
from wattlease.core.model import Floats
from wattlease.core.sites import SiteTable


def released(
    target_w: Floats, promised_w: Floats, free_w: Floats, known: Estimate, table: SiteTable, before: ScopesMemory,
    dt_s: float,
) -> ScopesMemory:  # fmt: skip
    """The memory with what each scope is allowed of its target now.

    `promised_w` is what contracts need, `free_w` what is kept free of the allowed and so not drawn.
    """
    step_w = np.where(known.meter_fresh, table.rise_w_per_s * dt_s, 0.0)
    ramp_w = np.fmin(target_w, before.ramp_w + step_w)
    allowed_w = np.fmin(ramp_w, before.allowed_w + step_w)
    drawn = noted(before.drawn, known.draw_w, dt_s)
    lasts = ramp_w < target_w
    began_w = np.full(len(ramp_w), np.nan)
    if lasts.any():
        rise_w = MINUTE_S * table.rise_w_per_s
        near_w = np.inf if table.counts_limits.any() else within_w(drawn, rise_w) + free_w
        first_w = np.fmax(np.fmin(before.allowed_w, near_w), before.allowed_w - rise_w)
        began_w = np.where(np.isnan(before.began_w), first_w, before.began_w)
        began_w = np.where(lasts, began_w, np.nan)
        least_w = np.fmax(began_w, np.minimum(promised_w, ramp_w))
        allowed_w = np.where(lasts, np.maximum(np.minimum(allowed_w, near_w), least_w), allowed_w)
    return replace(before, allowed_w=allowed_w, ramp_w=ramp_w, began_w=began_w, drawn=drawn)
