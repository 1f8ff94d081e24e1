"""The plant that a budget speaks of: breaker, feeds and what heat leaves of a limit."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import Name, Part, SomePercent, SomeSeconds, Watts, mistake, refuse_twins


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


class Derate(Part):
    """What heat leaves of the limit."""

    above_celsius: Annotated[float, Field(ge=-50, le=100)]
    """From this temperature on."""

    limit_percent: SomePercent
    """Percent of `limitWatts` that may be drawn."""
