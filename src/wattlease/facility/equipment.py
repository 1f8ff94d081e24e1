"""What a set of budgets names: their meters, batteries, prices and events, with the forecasts of their scopes; made
once and kept while nothing of it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, cast

from wattlease.core.api import PowerBudget, Tariff, check_tree
from wattlease.core.errors import BudgetError
from wattlease.facility.battery.batteries import Batteries
from wattlease.facility.battery.wear import Kept
from wattlease.facility.billing import Billing
from wattlease.facility.events.events import Events
from wattlease.facility.forecast.site_forecasts import SiteForecasts
from wattlease.facility.meters.meters import Meters
from wattlease.facility.prices.prices import Prices
from wattlease.runtime.lease.clock import Now

T = TypeVar("T")


class Runs(Protocol):
    """A part with work of its own."""

    async def run(self) -> None:
        """Work until cancelled."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """All of one site; `events` by budget."""

    meters: Meters
    batteries: Batteries
    prices: Prices | None
    events: Mapping[str, Events]
    forecasts: SiteForecasts
    billing: Billing

    def parts(self) -> Iterator[tuple[str, Runs]]:
        """What must run, with a name for each."""
        yield "meters", self.meters
        yield "batteries", self.batteries
        if self.prices:
            yield "prices", self.prices
        for name, events in self.events.items():
            yield f"grid events of {name}", events
        yield "forecasts", self.forecasts


class Workshop:
    """Makes equipment from budgets; a part whose settings are as they were is the same as before.

    Meters and batteries go by the steady clock, prices and events by unix time; `draw_w` tells a scope's draw.
    """

    def __init__(self, folder: Path, steady: Now, unix: Now, draw_w: Callable[[str], float | None]) -> None:
        self._folder, self._steady, self._unix, self._draw_w = folder, steady, unix, draw_w
        self._made: dict[str, tuple[object, object]] = {}

    def forget(self) -> None:
        """Make all anew the next time: what is on disk may be another's by then."""
        self._made.clear()

    def equip(self, budgets: Sequence[PowerBudget], kept: Mapping[str, Kept]) -> Equipment:
        """The equipment of these budgets. BudgetError, and nothing is changed, if they do not fit together."""
        check_tree(budgets)
        tariff = _tariff_of(budgets)
        batteries = self._batteries(budgets, kept)  # the first, for it may refuse them
        return Equipment(
            meters=self._meters(budgets),
            batteries=batteries,
            prices=self._prices(tariff) if tariff else None,
            events={b.name: self._events(b) for b in budgets if b.spec.grid_events},
            forecasts=self._forecasts(budgets),
            billing=Billing(budgets),
        )

    def _batteries(self, budgets: Sequence[PowerBudget], kept: Mapping[str, Kept]) -> Batteries:
        ours = _all_shadows(budgets)
        key = [(b.name, b.spec.parent, b.spec.mode, b.spec.storage) for b in ours]
        return self._same_or("batteries", key, lambda: Batteries(ours, kept, clock=self._steady))

    def _meters(self, budgets: Sequence[PowerBudget]) -> Meters:
        key = [(b.name, b.spec.limit_watts, b.spec.meters) for b in budgets]
        _, before = self._made.get("meters", (None, None))
        return self._same_or("meters", key, lambda: Meters(budgets, self._steady, cast(Meters | None, before)))

    def _prices(self, tariff: Tariff) -> Prices:
        return self._same_or("prices", tariff, lambda: Prices(tariff, self._folder, self._unix))

    def _events(self, budget: PowerBudget) -> Events:
        name, spec, draw_w = budget.name, budget.spec, self._draw_w
        key = (spec.grid_events, spec.limit_watts, spec.assured_watts)
        folder = self._folder / name
        return self._same_or(f"events {name}", key, lambda: Events(spec, folder, lambda: draw_w(name), self._unix))

    def _forecasts(self, budgets: Sequence[PowerBudget]) -> SiteForecasts:
        folders = {b.name: self._folder / b.name / "forecast" for b in budgets}
        zone_name = next(b.spec.tariff.time_zone for b in budgets if b.spec.parent is None)
        return self._same_or("forecasts", (folders, zone_name), lambda: SiteForecasts(folders, zone_name))

    def _same_or(self, name: str, key: object, make: Callable[[], T]) -> T:
        was, thing = self._made.get(name, (None, None))
        if thing is None or was != key:
            thing = make()
            self._made[name] = (key, thing)
        return cast(T, thing)


def _tariff_of(budgets: Sequence[PowerBudget]) -> Tariff | None:
    """The one tariff that is followed, None where all prices are a single number."""
    found = [b for b in budgets if b.spec.tariff.feed or b.spec.tariff.periods or b.spec.tariff.carbon_cap]
    other = next((b for b in found if _supply(b.spec.tariff) != _supply(found[0].spec.tariff)), None)
    if other:
        text = f"budgets '{found[0].name}' and '{other.name}' have tariffs that differ"
        raise BudgetError(f"{text}; a site follows one: write the same in both, or leave one out")
    return found[0].spec.tariff if found else None


def _supply(tariff: Tariff) -> Tariff:
    """The tariff without what each budget may have of its own."""
    return tariff.model_copy(update={"carbon_cap": None, "demand_price_per_kilowatt": 0.0})


def _all_shadows(budgets: Sequence[PowerBudget]) -> tuple[PowerBudget, ...]:
    """Under a root in shadow mode nothing is touched, whatever the budgets below it say."""
    root = next(b for b in budgets if b.spec.parent is None)
    if root.spec.mode == "Enforce":
        return tuple(budgets)
    return tuple(b.model_copy(update={"spec": b.spec.model_copy(update={"mode": "Shadow"})}) for b in budgets)
