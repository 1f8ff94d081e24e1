"""Batteries on loopback, and those who run them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pymodbus", reason="pymodbus is not installed: pip install wattlease[facility]")
sys.path.insert(0, str(Path(__file__).parent))  # the plant stands in a module beside the tests

from battery_plant import BatteryPlant
from battery_site import QUICK, NewBatteries, NewPlant, budget

from wattlease.facility.battery.batteries import Batteries
from wattlease.facility.battery.belief import Patience


@pytest.fixture
async def new_plant() -> AsyncIterator[NewPlant]:
    made: list[BatteryPlant] = []

    async def make(**how: Any) -> BatteryPlant:
        plant = BatteryPlant(**how)
        made.append(plant)
        await plant.connect()
        return plant

    yield make
    for plant in made:
        plant.deaf = False
        await plant.disconnect()


@pytest.fixture
async def new_batteries() -> AsyncIterator[NewBatteries]:
    """Starts running the batteries of a plant."""
    tasks: list[asyncio.Task[None]] = []

    def make(plant: BatteryPlant, patience: Patience = QUICK, **settings: Any) -> Batteries:
        batteries = Batteries([budget(plant, **settings)], patience=patience)
        tasks.append(asyncio.create_task(batteries.run()))
        return batteries

    yield make
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
