"""What `wattlease doctor` tries of a site, and what it found: values, printed elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from wattlease.core.api import PowerBudget
from wattlease.facility.battery.checks import batteries_answer
from wattlease.facility.doctor_meters import meters_answer
from wattlease.facility.findings import Finding
from wattlease.facility.forecast.checks import trees_load

Check = Callable[[Sequence[PowerBudget]], Awaitable[tuple[Finding, ...]]]
"""Tries one kind of thing that budgets name, and changes nothing there. It does not raise for what it finds."""

CHECKS: tuple[Check, ...] = (meters_answer, batteries_answer, trees_load)
"""All that is tried, in the order in which it is shown."""


@dataclass(frozen=True, slots=True)
class Examination:
    """All findings."""

    findings: tuple[Finding, ...]

    @property
    def is_well(self) -> bool:
        """Whether nothing failed."""
        return all(f.ok for f in self.findings)


async def examine(budgets: Sequence[PowerBudget], checks: Sequence[Check] = CHECKS) -> Examination:
    """Run every check, all at once."""
    found = await asyncio.gather(*(check(budgets) for check in checks))
    return Examination(tuple(finding for findings in found for finding in findings))
