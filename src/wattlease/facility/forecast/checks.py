"""What the doctor looks at for the forecast: whether its library loads on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wattlease.core.api import PowerBudget
from wattlease.facility.findings import Finding
from wattlease.facility.forecast.trees import TreesError, library
from wattlease.runtime.controller.surroundings import speaks_of_surroundings

FIX = "Debian and Ubuntu: apt-get install libgomp1; until then a line, or the last value, day or week, foresees"


async def trees_load(budgets: Sequence[PowerBudget]) -> tuple[Finding, ...]:
    """A finding where a controller of these budgets would foresee without LightGBM; none where all is well."""
    if not any(speaks_of_surroundings(budget) for budget in budgets):
        return ()
    try:
        await asyncio.to_thread(library)
    except TreesError as missing:
        return (Finding("forecast", "LightGBM", False, str(missing), fix=FIX),)
    return ()
