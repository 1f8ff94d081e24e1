"""Watts for clusters under nested budgets, so that a watt is worth the same to all who want more of it.

Each claim says what watts are worth to it (`Frontier`). Watts are taken where they cost least, lower tiers first, until
the sums fit: children before their parents, which for convex claims under nested limits is the cheapest split there is.

Law 1: no scope's claims sum to more than its room, or they are all at their least and `short_w` says what is missing.
Law 2: nobody gets less than its least, or more than its most.
Law 3: where a scope binds, a watt costs the same, within 2 STAY_FRAC, to all claims in it that are not at a bound.
Law 4: more room at the root never gives anyone less; the order of claims does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wattlease.core.frontier import NOTHING_LEFT, Frontier
from wattlease.core.model import NONE, Bools, Floats

SLACK = (-1, 0.0)
"""Tier and price of watts beyond the top of a claim: they are of use for nothing but room to move."""

STAY_FRAC = 0.004
"""By so much, else noise would move kilowatts each second between clusters whose watts cost the same; moving a watt may
then gain twice this share and not be done."""

EPS_W = 1e-9


@dataclass(frozen=True, slots=True)
class Claim:
    """A part of a scope's room that somebody wants.

    Of two at one price the lower `priority` gives first, equals give in proportion. Watts that a claim has already
    (`has_w`) count as a little dearer than they are, those that it has not as a little cheaper.
    """

    scope: int
    least_w: float
    most_w: float
    frontier: Frontier
    priority: int = 0
    has_w: float | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """`watts_w` stands beside the claims; `binds`, `short_w` and `price` (of the last watt taken) beside the scopes."""

    watts_w: Floats
    binds: Bools
    short_w: Floats
    price: tuple[tuple[int, float] | None, ...]


def split(claims: Sequence[Claim], room_w: Floats, parents: Sequence[int]) -> Split:
    """The cheapest split. Scopes are in `parents` by index, parents before children, NONE for a root."""
    watts_w = np.array([max(claim.most_w, claim.least_w) for claim in claims], float)
    count = len(parents)
    binds, short_w = np.zeros(count, bool), np.zeros(count)
    price: list[tuple[int, float] | None] = [None] * count
    for s in range(count - 1, -1, -1):
        here = [i for i, claim in enumerate(claims) if s in _way_up(claim.scope, parents)]
        over_w = float(watts_w[here].sum()) - float(room_w[s])
        if over_w > EPS_W:
            given_w, price[s] = _given_up([claims[i] for i in here], watts_w[here], over_w)
            watts_w[here] -= given_w
            binds[s], short_w[s] = True, max(0.0, over_w - float(given_w.sum()))
    return Split(watts_w, binds, np.where(short_w > 1e-6, short_w, 0.0), tuple(price))


def _way_up(scope: int, parents: Sequence[int]) -> list[int]:
    way = [scope]
    while parents[way[-1]] != NONE:
        way.append(parents[way[-1]])
    return way


def _given_up(claims: Sequence[Claim], from_w: Floats, over_w: float) -> tuple[Floats, tuple[int, float] | None]:
    """What each gives up so that `over_w` is gone, or all that they have above their least; and the dearest price."""
    parts = [_offered(claim, i, float(w)) for i, (claim, w) in enumerate(zip(claims, from_w, strict=True))]
    who, tier, price, priority, watts_w = np.concatenate(parts, axis=1)
    order = np.lexsort((priority, price, tier))
    who, tier, price, priority, watts_w = (column[order] for column in (who, tier, price, priority, watts_w))
    keys = np.stack((tier, price, priority))
    begins = np.flatnonzero(np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)))
    group_w = np.add.reduceat(watts_w, begins)
    left_w = over_w - (np.cumsum(group_w) - group_w)
    taken = np.clip(left_w / np.maximum(group_w, EPS_W), 0.0, 1.0)
    share = np.repeat(taken, np.diff(np.append(begins, len(watts_w))))
    given_w = np.bincount(who.astype(np.int64), watts_w * share, len(claims)).astype(float)
    last = np.flatnonzero((taken > 0.0) & (group_w > EPS_W))
    dearest = (int(tier[begins[last[-1]]]), float(price[begins[last[-1]]])) if len(last) else None
    return np.minimum(given_w, from_w - _least_w(claims, from_w)), dearest


def _least_w(claims: Sequence[Claim], from_w: Floats) -> Floats:
    return np.minimum([claim.least_w for claim in claims], from_w)


def _offered(claim: Claim, index: int, from_w: float) -> Floats:
    """Rows who, tier, price, priority, watts of all that a claim at `from_w` can give, cheapest first."""
    of = claim.frontier
    given_w = max(0.0, of.top_w - from_w)  # in a scope below
    deepest_w = max(given_w, of.top_w - claim.least_w)
    ends_w = np.cumsum(of.freed_w)
    last_w = float(ends_w[-1]) if len(ends_w) else 0.0
    stay = 0.0 if claim.has_w is None else STAY_FRAC
    had_w = float(np.clip(of.top_w - (claim.has_w or 0.0), given_w, deepest_w))
    new_w = np.clip(ends_w, given_w, had_w) - np.clip(ends_w - of.freed_w, given_w, had_w)
    old_w = np.clip(ends_w, had_w, deepest_w) - np.clip(ends_w - of.freed_w, had_w, deepest_w)
    slack_w = max(0.0, from_w - max(of.top_w, claim.least_w))
    unsaid_w = max(0.0, deepest_w - max(last_w, given_w))
    tier = np.concatenate(([SLACK[0]], of.tier, of.tier, [NOTHING_LEFT[0]]))
    price = np.concatenate(([SLACK[1]], of.price * (1.0 - stay), of.price * (1.0 + stay), [NOTHING_LEFT[1]]))
    watts_w = np.concatenate(([slack_w], new_w, old_w, [unsaid_w]))
    same = np.ones(len(watts_w))
    return np.stack((index * same, tier, price, claim.priority * same, watts_w))
