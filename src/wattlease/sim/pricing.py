"""Prices and carbon of a scenario as the columns that a snapshot carries."""

from __future__ import annotations

import numpy as np

from wattlease.core.errors import BudgetError
from wattlease.core.model import NO_PRICES, Prices
from wattlease.sim.scenario import Scenario
from wattlease.sim.traces import data_folder, grid_hours

HOUR_S = 3600.0
TRACE_YEAR = 2024


def prices_of(scenario: Scenario, notes: list[str]) -> Prices:
    """The trace where it is asked for and at hand, else the written hours, which repeat; `notes` says which."""
    table = scenario.prices
    if table.trace:
        try:
            return _traced(scenario)
        except BudgetError as missing:
            if not table.per_kilowatt_hour:
                raise
            notes.append(f"prices are the scenario's own hours: {missing}")
    hours = int(np.ceil(scenario.duration_seconds / HOUR_S)) + 24
    if not table.per_kilowatt_hour:
        return NO_PRICES
    at = np.arange(hours)
    price = np.array(table.per_kilowatt_hour)
    carbon = np.array(table.carbon_grams_per_kilowatt_hour or (0.0,))
    return Prices(
        np.asarray(scenario.start_s + HOUR_S * at, np.float64), price[at % len(price)], carbon[at % len(carbon)]
    )


def _traced(scenario: Scenario) -> Prices:
    """The trace's hours from the scenario's own month, day and hour on, moved to the scenario's year."""
    grid = grid_hours(data_folder(scenario.data_folder), scenario.prices.trace)
    shift_s = scenario.start_s - scenario.start.replace(year=TRACE_YEAR).timestamp()
    at = grid.at_s + shift_s
    held = (at > scenario.start_s - HOUR_S) & (at < scenario.start_s + scenario.duration_seconds + 24 * HOUR_S)
    return Prices(at[held], grid.energy_per_kwh[held], grid.carbon_g_per_kwh[held])
