"""Who steers the month's battery: nobody, a timer, Wattlease's own tick, and somebody who knows all that will come."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
from month_foreseen import Foreseen
from month_site import NO_JOBS, NODE, Month, cards
from month_walk import START_FRAC, Seen, Walked, walked, whole

from wattlease.core import storing
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import Snapshot
from wattlease.core.storage_plan import plan_storage
from wattlease.core.tick import assess

storing.REPLAN_S = 900.0
"""The product plans every five minutes. A forecast of days comes each quarter of an hour."""


class Nobody:
    """The battery idles."""

    def power_w(self, seen: Seen) -> float:
        """Nothing."""
        return 0.0


@dataclass(frozen=True)
class Timer:
    """Charges through the night and discharges through the evening, each evenly, by the local clock, every day."""

    month: Month
    charge_hours: tuple[int, int] = (0, 6)
    discharge_hours: tuple[int, int] = (17, 21)

    def power_w(self, seen: Seen) -> float:
        """What a whole use of the battery comes to, spread over the hours."""
        unit, hour = self.month.site.storages[0], datetime.fromtimestamp(seen.now_s, self.month.zone).hour
        usable_j, way_frac = unit.capacity_j * (1 - unit.reserve_frac), float(np.sqrt(unit.round_trip_frac))
        above_j = (seen.storage.soc_frac - unit.reserve_frac) * unit.capacity_j
        for (begin, end), even_j in (
            (self.charge_hours, -usable_j / way_frac),
            (self.discharge_hours, usable_j * way_frac),
        ):
            if begin <= hour < end and (even_j < 0 or above_j > 1e-6 * usable_j):
                return even_j / ((end - begin) * 3600.0)
        return 0.0


@dataclass
class Wattlease:
    """The half of the product's tick that steers batteries, on a site without work to steer: it is told of its cards'
    draw, the battery, the books, the prices and the forecast."""

    month: Month
    foreseen: Foreseen
    memory: Memory = field(default=FRESH)

    def power_w(self, seen: Seen) -> float:
        """What the tick orders."""
        tick, memory = assess(self.snapshot(seen), self.memory)
        self.memory = replace(memory, now_s=seen.now_s)
        return float(tick.stores.discharge_w[0] - tick.stores.charge_w[0])

    def snapshot(self, seen: Seen) -> Snapshot:
        """What its surroundings would tell it."""
        return Snapshot(
            now_s=seen.now_s,
            site=self.month.site,
            gpus=cards(seen.grid_w + seen.storage.power_w),
            nodes=NODE,
            jobs=NO_JOBS,
            storages=(seen.storage,),
            forecasts=self.foreseen.forecasts(seen.now_s),
            prices=self.month.known(seen.now_s),
            peaks=seen.peaks,
        )


def perfect(month: Month) -> Walked:
    """The least bill of all, by the product's own programme over the whole month at once."""
    plan = plan_storage(month.site.storages[0], START_FRAC, whole(month))
    if plan.note:
        raise RuntimeError(f"the month with perfect foresight cannot be planned: {plan.note}")
    return walked(month, plan.power_w, plan.soc_frac)
