"""Batteries behind their converters: losses, limits of power and energy, and idle when nobody refreshes the order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wattlease.core.model import Floats, Storage, StorageUnit


class Batteries:
    """The state of all storage units. Power is AC, positive when it discharges; losses are shared by both ways."""

    def __init__(self, units: Sequence[StorageUnit], soc_frac: float, reversion_s: float) -> None:
        self.units = tuple(units)
        self.index = {u.id: i for i, u in enumerate(units)}
        self.capacity_j = np.array([u.capacity_j for u in units])
        self.way_frac = np.sqrt([u.round_trip_frac for u in units])
        self.max_charge_w = np.array([u.max_charge_w for u in units])
        self.max_discharge_w = np.array([u.max_discharge_w for u in units])
        self.soc_frac = np.full(len(units), soc_frac)
        self.order_w = np.zeros(len(units))
        self.power_w = np.zeros(len(units))
        self.reversion_s = reversion_s
        self.refreshed_s = -np.inf

    def order(self, storage: str, power_w: float) -> None:
        """From now on give (positive) or take this power, as far as the unit can; a name unknown is no order."""
        i = self.index.get(storage)
        if i is not None:
            self.order_w[i] = np.clip(power_w, -self.max_charge_w[i], self.max_discharge_w[i])

    def refresh(self, now_s: float) -> None:
        """Whoever gave the orders is alive."""
        self.refreshed_s = now_s

    def expires_s(self) -> float:
        """When the units go idle unless refreshed."""
        return self.refreshed_s + self.reversion_s

    def run(self, now_s: float, dt_s: float, steps: int) -> Floats:
        """Power in each step, [steps, units]; a unit that runs empty or full within the span does so at even power."""
        if not self.units:
            return np.empty((steps, 0))
        if now_s >= self.expires_s():
            self.order_w[:] = 0.0
        give_w = self.soc_frac * self.capacity_j * self.way_frac / dt_s
        take_w = (1.0 - self.soc_frac) * self.capacity_j / self.way_frac / dt_s
        self.power_w = np.clip(self.order_w, -take_w, give_w)
        cells_w = np.where(self.power_w > 0, self.power_w / self.way_frac, self.power_w * self.way_frac)
        self.soc_frac = np.clip(self.soc_frac - cells_w * dt_s / self.capacity_j, 0.0, 1.0)
        return np.broadcast_to(self.power_w, (steps, len(self.units)))

    def readings(self) -> tuple[Storage, ...]:
        """What their converters tell."""
        return tuple(
            Storage(float(soc), 1.0, float(w), 0.5, True) for soc, w in zip(self.soc_frac, self.power_w, strict=True)
        )
