"""Queue: let a waiting job wait. Nothing is lost but time."""

from __future__ import annotations

import numpy as np

from wattlease.core.model import JobState
from wattlease.core.offers import Kind, Offers, View


def queue(view: View) -> Offers:
    """Offer to hold what has not started."""
    waits = (view.state == int(JobState.HELD)) | (view.state == int(JobState.RELEASED))
    cost = np.where(waits, view.after_energy(view.worth_per_h * view.hours, view.idle_w), np.inf)
    nothing = np.zeros((1, len(cost)))
    return Offers((Kind.WAIT,), (0,), nothing, nothing, cost[None], nothing.astype(np.int64), nothing)
