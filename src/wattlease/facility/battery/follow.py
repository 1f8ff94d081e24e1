"""The fast path: what batteries give in this second, on top of the plan, for what the plan did not foresee.

Law 1: no order is beyond what its battery may give or take now; nothing is given at the reserve, and the most that may
    be given fades to it (`core.limits.help_w`), so that no order falls off an edge.
Law 2: while a scope's feed is over its limit, nothing under it charges; it never charges the feed over it.
Law 3: what is missing is covered as far as batteries under the scope can, those that charge stopping first.
Law 4: with nothing missing, help is handed back over HAND_BACK_S, until orders are the plan's; nothing is then ordered
    that neither the plan asks for nor was ordered before.
Law 5: batteries never feed more than what their scope draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wattlease.core.model import NONE, Bools, Floats

HAND_BACK_S = 60.0
"""Help from its most to nothing takes this long."""

LEAST_S = 1e-3
"""Two words within one instant; a ramp without end times none would be no number."""


@dataclass(frozen=True, slots=True)
class Load:
    """A scope in this second: what its meter said, and what it draws without its batteries."""

    scope: int
    feed_w: float
    load_w: float
    limit_w: float


@dataclass(frozen=True, slots=True)
class Columns:
    """Batteries, one value each; watts are positive when they discharge.

    `least_w` (at most 0) to `most_w` (at least 0) is what each may do now. `planned_w` is the plan's order, `was_w` the
    order of the second before, `helped_w` by how much that was above the plan. `ramp_w_per_s` may be infinite.
    """

    scope: tuple[int, ...]
    least_w: Floats
    most_w: Floats
    planned_w: Floats
    was_w: Floats
    helped_w: Floats
    ramp_w_per_s: Floats
    full_w: Floats
    """The most that each could ever give, which sets how fast it hands back."""


def orders(batteries: Columns, loads: Sequence[Load], parents: Sequence[int], dt_s: float) -> Floats:
    """What to order of each battery; `loads` may be of any scopes, `parents` is the tree of all (NONE for a root)."""
    step_w = batteries.ramp_w_per_s * max(dt_s, LEAST_S)
    high_w = np.minimum(batteries.most_w, np.maximum(batteries.was_w + step_w, 0.0))
    low_w = np.maximum(batteries.least_w, np.minimum(batteries.was_w - step_w, 0.0))
    back_w, plan_w = batteries.full_w / HAND_BACK_S * dt_s, batteries.planned_w
    left_w = np.minimum(plan_w + np.maximum(batteries.helped_w - back_w, 0.0), batteries.was_w - back_w)
    power_w = np.clip(np.maximum(plan_w, left_w), low_w, high_w)
    inner_first = sorted(loads, key=lambda load: -load.scope)  # children stand behind their parents
    for load in inner_first:
        power_w = _covered(power_w, high_w, load, _under(batteries.scope, load.scope, parents))
    for load in inner_first:
        power_w = _not_exported(power_w, load, _under(batteries.scope, load.scope, parents))
    for load in inner_first:  # who charged on what another gave has it no more
        power_w = _raised(power_w, np.minimum(high_w, 0.0), load, _under(batteries.scope, load.scope, parents))
    return power_w


def _under(scopes: tuple[int, ...], scope: int, parents: Sequence[int]) -> Bools:
    """Which batteries stand in the scope or below it."""
    return np.array([scope in way_up(s, parents) for s in scopes], bool)


def way_up(scope: int, parents: Sequence[int]) -> list[int]:
    """The scope and all above it."""
    way = [scope]
    while parents[way[-1]] != NONE:
        way.append(parents[way[-1]])
    return way


def _covered(power_w: Floats, high_w: Floats, load: Load, mine: Bools) -> Floats:
    """Stop charging, then discharge, until the scope is under its limit; everyone gives the same share of its room."""
    if load.feed_w > load.limit_w:
        power_w = np.where(mine, np.maximum(power_w, 0.0), power_w)
    for ceiling_w in (np.minimum(high_w, 0.0), high_w):
        power_w = _raised(power_w, ceiling_w, load, mine)
    return power_w


def _raised(power_w: Floats, ceiling_w: Floats, load: Load, mine: Bools) -> Floats:
    """Raise orders toward their ceilings until the scope is under its limit."""
    room_w = np.where(mine, np.maximum(ceiling_w - power_w, 0.0), 0.0)
    missing_w = load.load_w - load.limit_w - power_w[mine].sum()
    if missing_w <= 0.0 or room_w.sum() <= 0.0:
        return power_w
    return power_w + room_w * (min(missing_w, room_w.sum()) / room_w.sum())


def _not_exported(power_w: Floats, load: Load, mine: Bools) -> Floats:
    """Lower discharge until the scope still draws, also should all that charge in it stop."""
    given_w = np.where(mine, np.maximum(power_w, 0.0), 0.0)
    surplus_w = given_w.sum() - max(load.load_w, 0.0)
    if surplus_w <= 0.0 or given_w.sum() <= 0.0:
        return power_w
    return power_w - given_w * (min(surplus_w, given_w.sum()) / given_w.sum())
