"""PowerBudget: what a part of the feed may draw, why, and with what it may help itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import (
    Name,
    Part,
    Pattern,
    Percent,
    Resource,
    Seconds,
    SomePercent,
    SomeSeconds,
    Watts,
    mistake,
    refuse_twins,
)
from wattlease.core.api_events import DemandCharge, DemandResponse, ScheduleEntry
from wattlease.core.api_grid_events import GridEvents
from wattlease.core.api_meters import Meter
from wattlease.core.api_plant import Breaker, Derate, Redundancy
from wattlease.core.api_storage import StorageSpec
from wattlease.core.api_tariff import Tariff


class ScopeSpec(Part):
    """Which nodes stand under a budget; a node that several budgets name belongs to the deepest of them."""

    nodes: tuple[Pattern, ...] = ()
    """Node names or patterns, such as `gpu-r2-*`."""

    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels that a Kubernetes node must carry, all of them."""

    clusters: tuple[Name, ...] = ()
    """Clusters that stand under this budget with all their nodes."""

    partitions: tuple[Pattern, ...] = ()
    """Slurm partitions."""


class Ramp(Part):
    """How fast watts come back."""

    release_percent_per_minute: SomePercent = 5.0
    """The most that draw may rise after a cut, in percent of the limit a minute."""


class Band(Part):
    """How near to the limit the site is steered."""

    margin_percent: Percent = 1.0
    """Kept free below the limit, for what meters and loads do between two ticks."""

    window_seconds: SomeSeconds | None = None
    """The mean over this long is what the limit holds for; absent: the meter's own window."""

    counts: Literal["Limits", "Draw"] = "Limits"
    """What is summed against the limit. Limits: the power limits of all cards at face value, so that the sum holds
    whatever the work does. Draw: what cards were measured to draw under their limits, so that none of the feed is
    left unused; the mean over the meter's window is what holds."""

    transient_percent: Percent = 10.0
    """How far the draw may pass the limit for a moment while the mean over the meter's window stays below it; with
    `counts: Draw` also how far the limits of all cards may sum above it."""


class Dwell(Part):
    """The least time a job stays as it is before the same lever moves it again."""

    pause_seconds: Seconds = 300
    """A paused job stays paused, a resumed one runs, at least this long."""

    downsize_seconds: Seconds = 120
    """A job that changed its batch or model keeps it at least this long."""

    hold_seconds: Seconds = 30
    """A waiting job stays held, or released, at least this long; a released one that has not begun is held again sooner
    where a running job's contract would be broken otherwise."""

    @property
    def begun_seconds(self) -> int:
        """For how long a job that has begun, running or paused, counts as told whatever it was told."""
        return max(self.pause_seconds, self.downsize_seconds)


class PowerBudgetSpec(Part):
    """The limits of a part of the feed; the lowest that holds at a time is the one that binds."""

    limit_watts: Watts
    """The most this scope may draw, ever."""

    guaranteed_watts: Watts | None = None
    """What the scope has on its worst day: no battery, deepest event. Absent: the lowest limit written here."""

    parent: Name | None = None
    """The PowerBudget of the larger part of the feed that this one hangs on; absent for a root."""

    scope: ScopeSpec = ScopeSpec()
    """Which nodes stand under this budget."""

    mode: Literal["Enforce", "Shadow"] = "Enforce"
    """Shadow decides and tells, and touches nothing."""

    breaker: Breaker | None = None
    """The breaker that feeds this scope."""

    redundancy: Redundancy | None = None
    """Feeds, UPS or generators of which some may fail."""

    schedule: tuple[ScheduleEntry, ...] = ()
    """Limits that come back every week."""

    demand_response: tuple[DemandResponse, ...] = ()
    """Limits that the grid asks for once."""

    grid_events: GridEvents | None = None
    """Where further events of the grid come from while the site runs."""

    demand_charge: DemandCharge | None = None
    """The mean over each metering window that is not to be passed."""

    storage: tuple[StorageSpec, ...] = ()
    """Batteries behind this scope's meter."""

    meters: tuple[Meter, ...] = ()
    """What measures this scope; several meters vote."""

    thermal_derate: tuple[Derate, ...] = ()
    """Limits for hot days."""

    ramp: Ramp = Ramp()
    """How fast watts come back after a cut."""

    band: Band = Band()
    """What is kept free below the limit, and what a moment may pass it."""

    tariff: Tariff = Tariff()
    """What energy costs."""

    dwell: Dwell = Dwell()
    """How long a job is left alone after a change."""

    @model_validator(mode="after")
    def _twins(self) -> Self:
        refuse_twins("schedule", (e.name for e in self.schedule))
        refuse_twins("demandResponse", (e.name for e in self.demand_response))
        refuse_twins("storage", (s.name for s in self.storage))
        refuse_twins("meters", (m.name for m in self.meters))
        return self

    @model_validator(mode="after")
    def _derate_falls(self) -> Self:
        for i, (cool, hot) in enumerate(pairwise(self.thermal_derate), start=1):
            if hot.above_celsius <= cool.above_celsius:
                text = (
                    f"{hot.above_celsius:g} does not rise above {cool.above_celsius:g}; sort the steps by temperature"
                )
                raise mistake(("thermalDerate", i, "aboveCelsius"), text)
            if hot.limit_percent > cool.limit_percent:
                text = f"{hot.limit_percent:g} rises above the cooler step's {cool.limit_percent:g}; write at most that"
                raise mistake(("thermalDerate", i, "limitPercent"), text)
        return self

    @model_validator(mode="after")
    def _guarantee_holds(self) -> Self:
        lowest, where = self._lowest()
        if self.guaranteed_watts is not None and self.guaranteed_watts > lowest:
            text = f"{self.guaranteed_watts} is above {where} of {lowest} W; write at most {lowest}"
            raise mistake(("guaranteedWatts",), text)
        return self

    @model_validator(mode="after")
    def _some_event_is_taken(self) -> Self:
        if self.grid_events and not (self.grid_events.opt_out_below_watts or self.guaranteed_watts):
            text = "is missing, and guaranteedWatts too, so that every event would be refused; write the deepest taken"
            raise mistake(("gridEvents", "optOutBelowWatts"), text)
        return self

    @model_validator(mode="after")
    def _one_demand_price(self) -> Self:
        charge = self.demand_charge
        if charge and charge.price_per_kilowatt and self.tariff.demand_price_per_kilowatt:
            text = "the demand price is said in tariff.demandPricePerKilowatt too; write it in one place"
            raise mistake(("demandCharge", "pricePerKilowatt"), text)
        return self

    def _lowest(self) -> tuple[int, str]:
        """The lowest limit that these settings can lead to, and where it is written."""
        limits = [(self.limit_watts, "limitWatts")]
        limits += [(e.limit_watts, f"schedule '{e.name}'") for e in self.schedule]
        limits += [(e.limit_watts, f"demandResponse '{e.name}'") for e in self.demand_response]
        if self.grid_events and self.grid_events.opt_out_below_watts:
            limits.append((self.grid_events.opt_out_below_watts, "gridEvents.optOutBelowWatts"))
        if self.breaker:
            limits.append((self.breaker.rated_watts, "the breaker's ratedWatts"))
        if self.redundancy:
            limits.append((self.redundancy.safe_watts, "what redundancy leaves"))
        if self.thermal_derate:
            derated = int(self.limit_watts * self.thermal_derate[-1].limit_percent / 100)
            limits.append((derated, "the hottest thermalDerate"))
        return min(limits)

    @property
    def assured_watts(self) -> int:
        """`guaranteed_watts`, or where it is absent the lowest limit that these settings can lead to."""
        return self._lowest()[0] if self.guaranteed_watts is None else self.guaranteed_watts

    @property
    def demand_price_per_kilowatt(self) -> float:
        """Price of the month's highest metering window, wherever it is written."""
        charge = self.demand_charge.price_per_kilowatt if self.demand_charge else 0.0
        return charge or self.tariff.demand_price_per_kilowatt


class PowerBudget(Resource):
    """What a part of the feed may draw: a site, a hall, a row, a rack. Cluster-scoped."""

    kind: str = Field(default="PowerBudget", pattern="^PowerBudget$")
    """Always `PowerBudget`."""

    spec: PowerBudgetSpec
    """The limits."""
