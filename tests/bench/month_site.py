"""A site of 2 MW with a battery of 1 MWh, and a month of a market's prices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from month_load import BEFORE_DAYS, DAY_S, HOUR_S, MINUTE_S, MOST_W, draw_w

from wattlease.core.api import PowerBudget
from wattlease.core.model import (
    NONE,
    CardModel,
    Floats,
    GpuReadings,
    Gpus,
    Jobs,
    NodeReadings,
    Nodes,
    Prices,
    Scope,
    Site,
)
from wattlease.runtime.site import storages_of
from wattlease.sim import traces

ZONES = {"california": "America/Los_Angeles", "texas": "America/Chicago"}

DEMAND_PER_KW = 15.0
"""Dollars for each kW of the month's highest quarter of an hour: the benchmark of NREL's survey of 10,000 tariffs, from
which on storage pays (McLaren and others, NREL/BR-6A20-68963, 2017)."""

ZERO, NONE_W, MOST = np.zeros(1, np.int64), np.zeros(1), np.array([1.25 * MOST_W])
NONE_F: Floats = np.empty(0)
NONE_I = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Month:
    """The draw by the minute from `start_s` on (and in the days before), and the market's prices.

    Prices of a day are known from 13:00 of the day before, by the clock of `zone`.
    """

    market: str
    zone: ZoneInfo
    start_s: float
    draw_w: Floats
    before_w: Floats
    prices: Prices
    site: Site

    @property
    def budget(self) -> PowerBudget:
        """The site's only one."""
        return self.site.scopes[0].budget

    @property
    def end_s(self) -> float:
        """When it ends, unix seconds."""
        return self.start_s + MINUTE_S * len(self.draw_w)

    def known(self, now_s: float) -> Prices:
        """The hours that the market has told by then."""
        now = datetime.fromtimestamp(now_s, self.zone)
        midnight_s = now.replace(hour=0, minute=0, second=0).timestamp() + DAY_S * (1 if now.hour < 13 else 2)
        here = (self.prices.at_s > now_s - HOUR_S) & (self.prices.at_s < midnight_s)
        return Prices(self.prices.at_s[here], self.prices.energy_per_kwh[here], self.prices.carbon_g_per_kwh[here])

    def price_per_kwh(self, at_s: Floats) -> Floats:
        """The price at these times."""
        return self.prices.energy_per_kwh[np.searchsorted(self.prices.at_s, at_s, side="right") - 1]


def month(folder: Path, market: str, number: int, kind: str, late_days: int) -> Month:
    """A month of 2024 in a market. BudgetError says which file is missing."""
    zone = ZoneInfo(ZONES[market])
    start_s = datetime(2024, number, 1, tzinfo=zone).timestamp()
    days = round((datetime(2024 + number // 12, number % 12 + 1, 1, tzinfo=zone).timestamp() - start_s) / DAY_S)
    grid = traces.grid_hours(folder, market)
    here = (grid.at_s >= start_s - (BEFORE_DAYS + 1) * DAY_S) & (grid.at_s < start_s + (days + 2) * DAY_S)
    prices = Prices(grid.at_s[here], grid.energy_per_kwh[here], 0.0 * grid.carbon_g_per_kwh[here])
    course_w, before = draw_w(folder, kind, BEFORE_DAYS + days, late_days), round(BEFORE_DAYS * DAY_S / MINUTE_S)
    return Month(market, zone, start_s, course_w[before:], course_w[:before], prices, _site(ZONES[market]))


def _site(zone: str) -> Site:
    """One scope whose work nobody steers here, so that nothing but the battery differs: 500 kW, 20 % kept in reserve,
    88 % come back, 0.05 for the wear of a kWh. Its limit and its target never bind; all its cards are read as one."""
    spec = {
        "limitWatts": round(1.25 * MOST_W),
        "demandCharge": {"targetWatts": round(1.25 * MOST_W), "pricePerKilowatt": DEMAND_PER_KW},
        "tariff": {"timeZone": zone},
        "storage": [
            {"name": "pack", "capacityWattHours": 1_000_000, "maxChargeWatts": 500_000, "maxDischargeWatts": 500_000}
        ],
    }
    budget = PowerBudget.model_validate({"metadata": {"name": "site"}, "spec": spec})
    scopes = (Scope("site", NONE, budget),)
    return Site(
        name="site",
        scopes=scopes,
        models=(CardModel("all", 1.25 * MOST_W, 1.0, 1.0),),
        nodes=Nodes(("all",), ZERO, ("all",), MOST, NONE_W, NONE_W),
        gpus=Gpus(ZERO, ZERO, NONE_W + 1.0, MOST),
        terms=(),
        storages=tuple(storages_of(scopes)),
    )


NODE = NodeReadings(np.array([np.nan]), np.array([np.inf]), MOST)


def cards(draw_w: float) -> GpuReadings:
    """What all cards draw together."""
    return GpuReadings(np.array([draw_w]), np.ones(1), MOST, ZERO + NONE)


NO_JOBS = Jobs(
    (), (), (), (), NONE_I, NONE_I, NONE_I, NONE_I, NONE_I,
    NONE_F, NONE_F, NONE_F, NONE_F, NONE_F, NONE_F, NONE_I,
)  # fmt: skip
