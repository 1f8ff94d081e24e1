"""What a controller asks of its surroundings: meters, batteries, prices, what the grid asked for, what is foreseen.

The facility registers itself by entry point, so that no controller imports it and one without meters needs none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, TypeAlias, cast

from prometheus_client.registry import Collector

from wattlease.core.actions import Plan
from wattlease.core.api import PowerBudget
from wattlease.core.errors import BudgetError
from wattlease.core.memory import Memory
from wattlease.core.model import NO_PRICES, Forecast, Peak, Prices, Reading, Site, Snapshot, Storage, Window

ENTRY_POINTS = "wattlease.surroundings"


@dataclass(frozen=True, slots=True)
class Around:
    """What is known around the nodes at one moment; `storages` stands beside `Site.storages`.

    `peaks` are of the scopes whose billing month is counted, and of no others.
    """

    meters: tuple[Reading, ...] = ()
    storages: tuple[Storage, ...] = ()
    windows: tuple[Window, ...] = ()
    forecasts: tuple[Forecast, ...] = ()
    prices: Prices = NO_PRICES
    peaks: tuple[Peak, ...] = ()


class Surroundings(Protocol):
    """What lies around the nodes. Whoever leads asks for `around` and calls `note` and `act` each tick; none waits."""

    def around(self, site: Site, now_s: float) -> Around:
        """The newest that is known."""

    def note(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Learn from a tick, in shadow mode too; `after` is what it remembers."""

    def act(self, snapshot: Snapshot, plan: Plan) -> None:
        """Take the plan's orders to batteries in place of those before; without a next one they run out."""

    async def run(self) -> None:
        """Measure and order until cancelled."""

    def metrics(self) -> Collector:
        """What a scrape sees of it."""


SurroundingsOf: TypeAlias = Callable[[Sequence[PowerBudget], Path], Surroundings]
"""What the entry point names: makes the surroundings that these budgets speak of, with a folder for what must last."""


def surroundings_of(budgets: Sequence[PowerBudget], state_folder: Path) -> Surroundings | None:
    """What the budgets speak of; None where they speak of nothing but limits. BudgetError if that is not installed."""
    named = next((b for b in budgets if speaks_of_surroundings(b)), None)
    if named is None:
        return None
    found = next(iter(entry_points(group=ENTRY_POINTS)), None)
    if found is None:
        raise BudgetError(f"budget '{named.name}' names meters, batteries, prices or grid events; nothing here can")
    try:
        make = cast(SurroundingsOf, found.load())
    except ModuleNotFoundError as missing:
        told = f"budget '{named.name}' names meters, batteries, prices or grid events, and {missing.name} is missing"
        raise BudgetError(f"{told}; install wattlease[facility]") from missing
    return make(budgets, state_folder)


def speaks_of_surroundings(budget: PowerBudget) -> bool:
    """Whether a budget names anything that must be followed while the site runs.

    The simulator's meters are not; a battery without a converter is, since each must be told of, if only as nobody's.
    Hours with prices of their own and caps on carbon are as well: the core knows no calendar.
    """
    spec, tariff = budget.spec, budget.spec.tariff
    metered = any(meter.kind != "Virtual" for meter in spec.meters)
    priced = tariff.feed or tariff.periods or tariff.carbon_cap
    return bool(metered or spec.storage or priced or spec.grid_events)
