"""What steering brings and costs since the process began: energy, lost work, and energy that was not bought."""

from __future__ import annotations

import numpy as np

from wattlease.core.actions import Plan
from wattlease.core.memory import Memory
from wattlease.core.model import JobState, Snapshot
from wattlease.runtime.showing_jobs import drawn_w, full_w
from wattlease.runtime.showing_time import storage_w
from wattlease.runtime.view import Figure

J_PER_KWH = 3.6e6
LONGEST_TICK_S = 60.0


class Account:
    """Sums over ticks; a gap longer than a minute counts as a minute."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.now_s = float("nan")
        self.energy_kwh = self.spent = self.harm = self.saved = self.over_s = 0.0

    def note(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Add the time since the tick before, at this tick's draw and price."""
        since_s = snapshot.now_s - self.now_s
        dt_s = min(since_s, LONGEST_TICK_S) if since_s > 0 else 0.0
        self.now_s = snapshot.now_s
        root, price = plan.scopes[0], _price(snapshot)
        kwh = root.draw_w * dt_s / J_PER_KWH
        self.energy_kwh += kwh
        self.spent += kwh * price
        self.harm += float(np.nansum(plan.cost_per_h)) * dt_s / 3600.0
        self.saved += _not_drawn_w(snapshot, plan, after) * dt_s / J_PER_KWH * price
        self.over_s += dt_s if root.draw_w > root.limit_w else 0.0

    def figures(self) -> tuple[Figure, ...]:
        """The page's small facts."""
        unit = self.currency
        return (
            Figure("Energy", f"{self.energy_kwh:,.0f} kWh", f"{self.spent:,.2f} {unit} at the hour's price"),
            Figure("Cost of harm", f"{self.harm:,.2f} {unit}", "work that jobs lost to steering, at their value"),
            Figure("Energy not bought", f"{self.saved:,.2f} {unit}", "against the same jobs at full power, no battery"),
            Figure("Over the limit", f"{self.over_s:,.0f} s", "single ticks, stricter than the meter's window"),
        )


def _price(snapshot: Snapshot) -> float:
    prices = snapshot.prices
    at = int(np.searchsorted(prices.at_s, snapshot.now_s, side="right")) - 1
    if at >= 0 and np.isfinite(prices.energy_per_kwh[at]):
        return float(prices.energy_per_kwh[at])
    return snapshot.site.scopes[0].budget.spec.tariff.price_per_kilowatt_hour


def _not_drawn_w(snapshot: Snapshot, plan: Plan, after: Memory) -> float:
    """Watts that running and paused jobs would draw above what they do, and what batteries give."""
    on = np.isin(snapshot.jobs.state, (JobState.RUNNING, JobState.PAUSED))
    # a job's noise above its mean is not a loss for the saver: both signs count
    return float((full_w(snapshot, plan, after) - drawn_w(snapshot))[on].sum()) + storage_w(snapshot)
