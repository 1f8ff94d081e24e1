"""The plant that a budget speaks of: breaker, feeds, batteries, meters and what heat leaves of a limit."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import Name, Part, Percent, Price, SomePercent, SomeSeconds, Watts, mistake, refuse_twins


class TripPoint(Part):
    """A point of a breaker's trip curve."""

    over_percent: Annotated[float, Field(ge=1, le=1000)]
    """Overload above the rating: 20 is 1.2 times the rated watts."""

    seconds: SomeSeconds
    """How long the breaker carries it before it trips, at worst (the curve's lower edge, from warm)."""


class Breaker(Part):
    """A breaker's rating and, where it is known, how far and how long it may be passed."""

    rated_watts: Watts
    """What it carries for ever."""

    trip_curve: tuple[TripPoint, ...] = ()
    """Rising overload, falling time; empty: never above the rating."""

    @model_validator(mode="after")
    def _curve_falls(self) -> Self:
        for i, (low, high) in enumerate(pairwise(self.trip_curve), start=1):
            if high.over_percent <= low.over_percent:
                text = f"{high.over_percent:g} does not rise above {low.over_percent:g}; sort the points by overload"
                raise mistake(("tripCurve", i, "overPercent"), text)
            if high.seconds >= low.seconds:
                text = f"{high.seconds} does not fall below {low.seconds}; a larger overload trips sooner"
                raise mistake(("tripCurve", i, "seconds"), text)
        return self


class Feed(Part):
    """One of several feeds, UPS or generators that carry a scope together."""

    name: Name
    """Shown where redundancy binds."""

    rated_watts: Watts
    """What it carries for ever."""


class Redundancy(Part):
    """How many feeds may fail while the rest still carries everything: N+1 tolerates one."""

    feeds: Annotated[tuple[Feed, ...], Field(min_length=1)]
    """All that carry the scope together."""

    tolerate: Annotated[int, Field(ge=0, le=100)] = 1
    """How many of them, the largest first, may be lost at once."""

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        refuse_twins("feeds", (f.name for f in self.feeds))
        if self.tolerate >= len(self.feeds):
            text = f"{self.tolerate} of {len(self.feeds)} feeds leaves none; write at most {len(self.feeds) - 1}"
            raise mistake(("tolerate",), text)
        return self

    @property
    def safe_watts(self) -> int:
        """What the rest carries when the largest `tolerate` feeds are lost."""
        ratings = sorted(f.rated_watts for f in self.feeds)
        return sum(ratings[: len(ratings) - self.tolerate])


class StorageSpec(Part):
    """A battery behind the scope's meter; power on the AC side, energy usable at the cells."""

    name: Name
    """By which the plan speaks of it."""

    capacity_watt_hours: Annotated[int, Field(ge=1, le=1_000_000_000_000)]
    """Usable energy when full."""

    max_charge_watts: Watts
    """The most it takes."""

    max_discharge_watts: Watts
    """The most it gives."""

    round_trip_percent: SomePercent = 88.0
    """What comes back of what is put in."""

    reserve_percent: Percent = 20.0
    """Kept for an outage; never given to the plan."""

    fade_percent: Percent = 5.0
    """Above the reserve, the band of charge across which its help fades to nothing."""

    wear_cost_per_kilowatt_hour: Price = 0.05
    """What a discharged kilowatt-hour wears off."""

    @model_validator(mode="after")
    def _something_is_usable(self) -> Self:
        if self.reserve_percent + self.fade_percent >= 100:
            text = f"{self.reserve_percent:g} and fadePercent {self.fade_percent:g} leave nothing to use; lower one"
            raise mistake(("reservePercent",), text)
        return self


class Meter(Part):
    """A meter of the scope's draw. How to reach it stands beside, in one object for each kind of meter."""

    name: Name
    """By which readings speak of it."""

    kind: Literal["SunSpec", "Snmp", "Redfish", "Prometheus", "Mqtt", "Virtual"]
    """What it speaks; Virtual is the simulator's."""

    window_seconds: SomeSeconds = 1
    """Length of the mean that one reading is."""

    delay_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """How old a reading is when it arrives."""

    stale_seconds: SomeSeconds = 10
    """Age from which it no longer is a reading."""

    min_watts: Annotated[int, Field(ge=-100_000_000_000, le=100_000_000_000)] = 0
    """Lowest plausible reading; negative where the site may export."""

    max_watts: Watts | None = None
    """Highest plausible reading; absent: twice the limit."""

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.max_watts is not None and self.max_watts <= self.min_watts:
            text = f"{self.max_watts} is not above minWatts {self.min_watts}; write the highest plausible reading"
            raise mistake(("maxWatts",), text)
        if self.stale_seconds <= self.delay_seconds:
            text = f"{self.stale_seconds} is not above delaySeconds {self.delay_seconds}; no reading would ever count"
            raise mistake(("staleSeconds",), text)
        return self


class Derate(Part):
    """What heat leaves of the limit."""

    above_celsius: Annotated[float, Field(ge=-50, le=100)]
    """From this temperature on."""

    limit_percent: SomePercent
    """Percent of `limitWatts` that may be drawn."""
