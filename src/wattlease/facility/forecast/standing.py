"""Which forecast is in force at each horizon, and what it was worth on days that it had not seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wattlease.facility.forecast.model import Knot, RangeModel


@dataclass(frozen=True, slots=True)
class HorizonStanding:
    """One horizon. `skill` and `mae_skill` are the parts of the fallback's pinball loss and error that are saved.

    `in_force` names the fallback, or says `learned` with the shares of line, trees and fallback in the median;
    `judged` counts the moments on held-back days, 0 where there were too few.
    """

    ahead_s: float
    fallback: str
    in_force: str
    learned: bool
    skill: float
    mae_skill: float
    under_p90_frac: float
    judged: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How the forecast of a scope stands; `note` is empty, or the sentence why nothing or less is learned."""

    trained_until_s: float | None
    horizons: tuple[HorizonStanding, ...]
    note: str


def standing(models: Iterable[RangeModel], note: str) -> Standing:
    """The standing of these models, the shortest horizon first."""
    models = tuple(models)
    horizons = sorted((_of(knot) for model in models for knot in model.knots), key=lambda h: h.ahead_s)
    notes = [n for n in (note, *sorted({m.note for m in models})) if n]
    return Standing(max((m.until_s for m in models), default=None), tuple(horizons), "; ".join(notes))


def _of(knot: Knot) -> HorizonStanding:
    scores, median = knot.scores, knot.mixes[0]
    learned = any(mix.learned for mix in knot.mixes)
    shares = f"learned ({median.line:.0%} line, {median.trees:.0%} trees, {median.naive:.0%} {knot.naive})"
    return HorizonStanding(
        ahead_s=knot.ahead_s,
        fallback=knot.naive,
        in_force=shares if learned else knot.naive,
        learned=learned,
        skill=scores.skill,
        mae_skill=1.0 - scores.mae_w / scores.naive_mae_w if scores.naive_mae_w > 0.0 else 0.0,
        under_p90_frac=scores.under_p90_frac,
        judged=scores.origins,
    )
