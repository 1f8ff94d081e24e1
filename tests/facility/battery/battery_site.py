"""Budgets that name a battery on loopback, and waiting for what must come of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from battery_plant import BatteryPlant

from wattlease.core.api import Pcs, PowerBudget
from wattlease.facility.battery.batteries import Batteries
from wattlease.facility.battery.belief import Patience

NewPlant = Callable[..., Awaitable[BatteryPlant]]
NewBatteries = Callable[..., Batteries]

QUICK = Patience(lost_s=0.5, settle_s=0.5, wrong_s=0.3, dry_s=0.2, start_s=1.0, retry_s=0.5, look_s=0.3, beat_s=1.5)


def pcs(plant: BatteryPlant, **settings: Any) -> Pcs:
    where = {"host": "127.0.0.1", "port": plant.port}
    return Pcs.model_validate({"sunSpec": where, "reversionSeconds": 2, **settings})


def budget(plant: BatteryPlant, mode: str = "Enforce", **settings: Any) -> PowerBudget:
    storage = {
        "name": "pack",
        "capacityWattHours": 10_000,
        "maxChargeWatts": 10_000,
        "maxDischargeWatts": 10_000,
        "reservePercent": 20,
        "pcs": pcs(plant, **settings).model_dump(by_alias=True),
    }
    spec = {"limitWatts": 100_000, "mode": mode, "storage": [storage]}
    return PowerBudget.model_validate({"metadata": {"name": "site"}, "spec": spec})


async def until(true: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait for something that must come."""
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "it did not come"
        await asyncio.sleep(0.02)
