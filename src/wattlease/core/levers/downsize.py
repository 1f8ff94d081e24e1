"""Downsize: a smaller batch, or a smaller model in place of the large one.

A smaller batch frees few watts on present cards (H100, 70B: a sixteenth of the batch saves 21 % of the power and
costs 63 % of the throughput), a smaller model many (70B to 8B: 69 %) but at a price in quality and a swap.
The arithmetic of cost decides; nothing here prefers one.
"""

from __future__ import annotations

import numpy as np

from wattlease.core.offers import Offers, View
from wattlease.core.run_offers import run

LEVELS = np.array([12, 9])
"""A downsized job can be capped as well, at fewer levels: 85 % and 70 % of its draw."""


def downsize(view: View) -> tuple[Offers, ...]:
    """Offer every smaller size that the terms name."""
    return tuple(run(view, size, LEVELS) for size in range(1, view.sizes.shape[1]))
