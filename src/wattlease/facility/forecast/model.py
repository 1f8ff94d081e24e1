"""A range of horizons with all that its forecasts are made of: plain values, as they are kept on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from wattlease.facility.forecast.naive import NAIVE

QUANTILES = (0.5, 0.9)

Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Kept(BaseModel):
    """A value of the kept model; it is refused whole where it does not fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Range:
    """Horizons that one model serves: on steps of `step_s`, at `knots_s` and in between, from `days` of the record."""

    name: str
    step_s: float
    knots_s: tuple[float, ...]
    days: float


HOUR = Range("hour", 60.0, (300.0, 600.0, 900.0, 1800.0, 2700.0, 3600.0), 30.0)
DAYS = Range("days", 900.0, tuple(3600.0 * h for h in (1, 2, 4, 8, 12, 18, 24, 36, 48)), 120.0)
RANGES = (HOUR, DAYS)


class Mix(Kept):
    """How much of a quantile each of the three forecasts gives; they sum to one. (1, 0, 0) is the fallback alone."""

    naive: Share = 1.0
    line: Share = 0.0
    trees: Share = 0.0

    @property
    def learned(self) -> bool:
        """Whether anything that was learned is in force."""
        return self.naive < 1.0


class Scores(Kept):
    """Judged on held-back days: pinball loss over both quantiles and mean absolute error of the median, watts.

    The `naive` ones are those of the fallback; `under_p90_frac` is how often the draw stayed under the p90.
    `origins` counts the moments that were judged; 0 where there was too little to judge.
    """

    origins: int = 0
    naive_pinball_w: Finite = 0.0
    pinball_w: Finite = 0.0
    naive_mae_w: Finite = 0.0
    mae_w: Finite = 0.0
    under_p90_frac: Finite = 0.0

    @property
    def skill(self) -> float:
        """Part of the fallback's pinball loss that is saved; 0 where the fallback is in force."""
        return 1.0 - self.pinball_w / self.naive_pinball_w if self.naive_pinball_w > 0.0 else 0.0


class Knot(Kept):
    """What was fitted and chosen for one horizon. The `_over_w` are added to a median to make a p90 of it."""

    ahead_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    naive: Annotated[str, Field(pattern="^(" + "|".join(NAIVE) + ")$")]
    naive_over_w: Finite
    line: tuple[Finite, ...] = ()
    line_over_w: Finite = 0.0
    mixes: tuple[Mix, Mix] = (Mix(), Mix())
    scores: Scores = Scores()


class RangeModel(Kept):
    """The forecasts of one range. `trees` holds LightGBM's text for each quantile, empty where there are none.

    `note` says why nothing was learned, where nothing was.
    """

    range: str
    step_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    scale_w: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    until_s: Finite
    knots: Annotated[tuple[Knot, ...], Field(min_length=1)]
    trees: tuple[str, ...] = ()
    note: str = ""
