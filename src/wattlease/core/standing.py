"""How each scope stands after the choice, in numbers and in one word."""

from __future__ import annotations

from wattlease.core.actions import ScopePlan
from wattlease.core.choose import LOOK_S
from wattlease.core.model import Bools, Floats
from wattlease.core.offers import Kind
from wattlease.core.outcome import Outcome
from wattlease.core.tick import Tick, first_fall_s

FULL_FRAC = 0.9995
"""A job that keeps this much of its speed is not held back."""


def scope_plans(tick: Tick, planned_w: Floats, cut: Bools, lasting_w: Floats) -> tuple[ScopePlan, ...]:
    """Each scope's limit, what binds, what it draws, and what it is planned to draw from the feed.

    `cut` says whether anybody in it gives something up, `lasting_w` is what must be above the limit for the scope to be
    over it.
    """
    return tuple(
        ScopePlan(
            scope=scope.id,
            limit_w=bound.limit_w,
            source=bound.binding.source,
            text=bound.binding.text,
            draw_w=float(tick.known.draw_w[s]),
            planned_w=float(planned_w[s]),
            state=_state(tick, s, float(lasting_w[s]), bool(cut[s])),
            silent_w=float(tick.silent_w[s]),
        )
        for s, (scope, bound) in enumerate(zip(tick.snapshot.site.scopes, tick.bounds, strict=True))
    )


def held_back(result: Outcome) -> Floats:
    """One for each job that gives up something, nought for the others; a queue that waits for GPUs gives up nothing."""
    slowed = (result.kind == int(Kind.RUN)) & (result.speed_frac < FULL_FRAC)
    return (slowed | (result.kind == int(Kind.PAUSE))).astype(float)


def _state(tick: Tick, s: int, lasting_w: float, cut: bool) -> str:
    """The worst that is true."""
    bound = tick.bounds[s]
    if not tick.known.meter_fresh[s]:
        return "blind"
    if lasting_w > bound.limit_w:
        return "over"
    if cut:
        return "releasing" if tick.aim.allowed_w[s] < tick.aim.target_w[s] - 1.0 else "shedding"
    return "preparing" if first_fall_s(bound, bound.limit_w) < tick.snapshot.now_s + LOOK_S else "within"
