"""Storage: let the battery carry a part of the load. Costs its wear, its losses and the energy put back later."""

from __future__ import annotations

import numpy as np

from wattlease.core.model import Floats, StorageUnit
from wattlease.core.offers import Kind, Offers

STEPS = 8


def storage(units: tuple[StorageUnit, ...], most_w: Floats, hours: float, energy_per_wh: float) -> Offers:
    """Offer each battery's power in steps, as load that is not taken: watts are what it still leaves to the feed.

    `most_w` is what each can sustain now. The points fall from "gives nothing" (`most_w` left) to "gives all" (0).
    """
    left = np.linspace(1.0, 0.0, STEPS + 1)
    watts_w = left[:, None] * most_w
    wear = np.array([u.wear_per_kwh / 1000.0 for u in units])
    loss = np.array([1.0 / u.round_trip_frac for u in units])
    per_wh = wear + energy_per_wh * loss
    given_w = most_w - watts_w
    cost = per_wh * given_w * hours
    zero = np.zeros_like(watts_w)
    columns = STEPS + 1
    return Offers((Kind.STORE,) * columns, (0,) * columns, watts_w, given_w, cost, zero.astype(np.int64), zero + 1.0)
