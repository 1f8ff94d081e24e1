"""Pause: checkpoint, suspend, and draw no more than idle cards do. Costs the work since the last checkpoint."""

from __future__ import annotations

import numpy as np

from wattlease.core.model import JobState
from wattlease.core.offers import Kind, Offers, Tier, View


def pause(view: View) -> Offers:
    """Offer to pause what runs and can be stopped, and to leave paused what is."""
    running, paused = ~view.off, view.state == int(JobState.PAUSED)
    still_w = view.idle_w if view.gone else view.min_cap_w
    watts_w = np.where(running, still_w * view.gpus * view.own_share, 0.0)
    lost_s = np.where(running & ~np.isnan(view.lost_s), view.lost_s + view.restart_s, view.restart_s)
    cost = view.after_energy(view.worth_per_h * view.hours + view.one_off(lost_s), view.idle_w)
    tier = np.where(view.pausable | paused, int(Tier.CONTRACT), int(Tier.BREACH))
    tier[(view.floor_frac > 0) & running] = Tier.BREACH  # a promised speed is broken by standing still
    tier[view.protected & running] = Tier.PROTECTED
    cost[~(running & view.stoppable | paused)] = np.inf
    return Offers((Kind.PAUSE,), (0,), watts_w[None], view.idle_w[None], cost[None], tier[None], 0.0 * watts_w[None])
