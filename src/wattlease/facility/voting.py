"""Several meters of one feed: whom to believe.

Three or more: the median, so that one liar moves nothing beyond what the honest ones say. Two: while they agree both
stand; when they do not, nobody knows which is right, and the higher is taken, for it is the safer mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TOLERANCE_FRAC = 0.05
"""Meters of class 1 behind transformers of class 1, read a second apart on a moving load, agree this well."""

TOLERANCE_W = 50.0
"""Below a kilowatt the resolution of PDUs (10 W) and the second between two readings count for more."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one meter says."""

    meter: str
    power_w: float


@dataclass(frozen=True, slots=True)
class Vote:
    """What the feed draws by its meters; `outvoted` are those too far from it; `why` is empty while all agree."""

    power_w: float
    outvoted: tuple[str, ...] = ()
    why: str = ""


def vote(ballots: Sequence[Ballot]) -> Vote | None:
    """What holds of one or more believed readings; `None` of none. The order does not matter."""
    if not ballots:
        return None
    ranked = sorted(ballots, key=lambda b: (b.power_w, b.meter))
    power_w = ranked[len(ranked) // 2].power_w  # of an even number the higher of the middle two
    apart = [b for b in ranked if abs(b.power_w - power_w) > tolerance_w(power_w)]
    if not apart:
        return Vote(power_w)
    if len(ranked) == 2:
        low, high = ranked
        told = f"{high.meter} reads {_kw(high.power_w)} and {low.meter} {_kw(low.power_w)}; the higher is taken"
        return Vote(power_w, (), told)
    names = tuple(b.meter for b in apart)
    told = ", ".join(f"{b.meter} reads {_kw(b.power_w)}" for b in apart)
    return Vote(power_w, names, f"{told}, where {len(ranked) - len(apart)} others agree on {_kw(power_w)}")


def tolerance_w(power_w: float) -> float:
    """How far apart two meters of one feed may be at this draw."""
    return max(TOLERANCE_W, TOLERANCE_FRAC * abs(power_w))


def _kw(power_w: float) -> str:
    return f"{power_w / 1000:.2f} kW"
