"""A curve of prices or carbon: steps that hold from each time on, until a time after which nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from wattlease.core.model import Floats

Kind = Literal["energy", "carbon"]
"""Energy is money per kWh, carbon grams per kWh."""

Time = Annotated[float, Field(ge=0, le=1e11)]
MOST_STEPS = 100_000


class Curve(BaseModel):
    """Steps `at_s` (unix seconds, rising), and until when they hold: as a feed told them at `got_s`, or as kept since.

    `estimated` is whether the feed itself only estimates; NaN is a step that the feed does not know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    kind: Kind
    source: str
    at_s: Annotated[tuple[Time, ...], Field(min_length=1, max_length=MOST_STEPS)]
    values: tuple[float, ...]
    valid_until_s: Time
    got_s: Time
    estimated: bool = False

    @model_validator(mode="after")
    def _is_a_curve(self) -> Curve:
        if len(self.values) != len(self.at_s):
            raise ValueError("has more times than values, or fewer")
        if any(a >= b for a, b in zip(self.at_s, self.at_s[1:], strict=False)) or self.valid_until_s <= self.at_s[-1]:
            raise ValueError("has times that do not rise")
        return self

    def at(self, t_s: Floats) -> Floats:
        """Its values at these times, NaN where it does not hold."""
        step = np.searchsorted(self.at_s, t_s, side="right") - 1
        held = (step >= 0) & (t_s < self.valid_until_s)
        return np.where(held, np.asarray(self.values)[np.maximum(step, 0)], np.nan)

    def edges_s(self) -> tuple[float, ...]:
        """Where it may change."""
        return (*self.at_s, self.valid_until_s)


@dataclass(frozen=True, slots=True)
class FeedStanding:
    """Where numbers of one kind are from. Ages and spans in seconds; `text` says it to a person.

    `valid_for_s` is 0 where the static tariff holds because the feed's word has run out or never came.
    """

    kind: Kind
    source: str
    age_s: float
    valid_for_s: float
    estimated: bool
    text: str


def layered(curves: Sequence[Curve], base: Floats, t_s: Floats) -> Floats:
    """The first curve that knows each time; `base` where none does."""
    found = base.copy()
    for curve in reversed(curves):
        known = curve.at(t_s)
        found = np.where(np.isfinite(known), known, found)
    return found
