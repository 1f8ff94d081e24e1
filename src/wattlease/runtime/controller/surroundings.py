"""What a controller asks of its surroundings: meters, batteries, prices, what the grid asked for, what is foreseen.

The facility registers itself by entry point, so that no controller imports it and one without meters needs none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, TypeAlias, cast

import numpy as np
from prometheus_client.registry import Collector

from wattlease.core.actions import Plan
from wattlease.core.api import PowerBudget
from wattlease.core.errors import BudgetError
from wattlease.core.memory import Memory
from wattlease.core.model import NO_PRICES, Forecast, Peak, Prices, Reading, Site, Snapshot, Storage, Window
from wattlease.runtime import calendar

ENTRY_POINTS = "wattlease.surroundings"

HORIZON_S = 26 * 3600.0
"""How far ahead windows are looked up."""

NO_STORAGE = Storage(soc_frac=np.nan, soh_frac=1.0, power_w=0.0, age_s=np.inf, available=False)
"""A battery that nobody here reaches."""


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


def surrounded(snapshot: Snapshot, surroundings: Surroundings | None, leased: Sequence[Window] = ()) -> Snapshot:
    """The snapshot with all that lies around its site now, and what the calendar and a lease allow of it."""
    site, now_s = snapshot.site, snapshot.now_s
    around = surroundings.around(site, now_s) if surroundings else Around()
    return replace(
        snapshot,
        meters=around.meters,
        storages=around.storages or (NO_STORAGE,) * len(site.storages),
        windows=(*calendar.windows(site.scopes, now_s, HORIZON_S), *around.windows, *leased),
        forecasts=around.forecasts,
        prices=around.prices,
        peaks=around.peaks,
    )


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
