"""Laws of the split of watts among clusters, on random frontiers, rooms and trees of budgets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from wattlease.core.frontier import Frontier, margin
from wattlease.core.model import NONE
from wattlease.core.share_split import Claim, split

TREE = (NONE, 0, 0)
"""A hall with two rows."""


@dataclass(frozen=True)
class Site:
    claims: tuple[Claim, ...]
    room_w: tuple[float, ...]

    def watts_w(self) -> np.ndarray:
        return split(self.claims, np.array(self.room_w), TREE).watts_w


def _frontier(top_w: float, steps: list[tuple[int, float, float]]) -> Frontier:
    steps = sorted(steps)
    tier = np.array([s[0] for s in steps], np.int64)
    return Frontier(top_w, tier, np.array([s[1] for s in steps]), np.array([s[2] for s in steps]))


prices = st.floats(0.001, 10.0)
steps = st.lists(st.tuples(st.integers(0, 2), prices, st.floats(1.0, 400.0)), min_size=1, max_size=8)


@st.composite
def claims(draw: st.DrawFn, tiers: bool, stays: bool) -> Claim:
    found = [(t if tiers else 0, p, w) for t, p, w in draw(steps)]
    offered_w = sum(w for _, _, w in found)
    top_w = offered_w + draw(st.floats(0.0, 500.0))
    least_w = draw(st.floats(0.0, 1.0)) * top_w
    most_w = max(least_w, top_w * draw(st.floats(0.7, 1.5)))
    has_w = draw(st.floats(0.0, 1.2)) * top_w if stays else None
    scope, priority = draw(st.sampled_from((0, 1, 2))), draw(st.integers(0, 1))
    return Claim(scope, least_w, most_w, _frontier(top_w, found), priority, has_w)


@st.composite
def sites(draw: st.DrawFn, tiers: bool = True, fits: bool = False, stays: bool = True) -> Site:
    of = tuple(draw(st.lists(claims(tiers, stays), min_size=1, max_size=6)))
    most_w = sum(c.most_w for c in of)
    room_w = [draw(st.floats(0.0, 1.1)) * most_w for _ in TREE]
    if fits:
        least_w = [sum(c.least_w for c in of if s in (0, c.scope)) for s in range(3)]
        room_w = [max(room, least) for room, least in zip(room_w, least_w, strict=True)]
    return Site(of, tuple(room_w))


def within(site: Site, s: int) -> list[int]:
    return [i for i, claim in enumerate(site.claims) if s in (0, claim.scope)]


@settings(max_examples=50)
@given(sites())
def test_no_scope_is_passed_unless_all_in_it_are_at_their_least_and_what_is_missing_is_said(site: Site) -> None:
    found = split(site.claims, np.array(site.room_w), TREE)
    for s, room_w in enumerate(site.room_w):
        here = within(site, s)
        over_w = found.watts_w[here].sum() - room_w
        if over_w > 1e-6:
            assert np.allclose(found.watts_w[here], [site.claims[i].least_w for i in here])
            assert found.short_w[s] > 0.0
        else:
            assert found.short_w[s] <= 1e-5 or not here


@settings(max_examples=50)
@given(sites())
def test_nobody_gets_less_than_its_least_or_more_than_its_most(site: Site) -> None:
    for claim, watts_w in zip(site.claims, site.watts_w(), strict=True):
        assert claim.least_w - 1e-6 <= watts_w <= claim.most_w + 1e-6


@settings(max_examples=50)
@given(sites(fits=True))
def test_where_the_root_binds_a_watt_costs_the_same_to_all_who_are_not_at_a_bound(site: Site) -> None:
    one = Site(tuple(replace(c, scope=0) for c in site.claims), site.room_w)
    watts_w = one.watts_w()
    if sum(watts_w) < one.room_w[0] - 1e-6:
        return
    less = [margin(c.frontier, w).less for c, w in zip(one.claims, watts_w, strict=True) if w > c.least_w + 1e-3]
    more = [margin(c.frontier, w).more for c, w in zip(one.claims, watts_w, strict=True) if w < c.most_w - 1e-3]
    if less and more:
        (tier, price), (worth_tier, worth) = min(less), max(more)
        assert (worth_tier, worth) <= (tier, price * 1.01)


@settings(max_examples=50)
@given(sites(fits=True), st.floats(0.0, 1000.0))
def test_more_room_at_the_root_never_gives_anyone_less(site: Site, more_w: float) -> None:
    wider = Site(site.claims, (site.room_w[0] + more_w, *site.room_w[1:]))
    assert (wider.watts_w() >= site.watts_w() - 1e-6).all()


@settings(max_examples=50)
@given(sites(), st.randoms(use_true_random=False))
def test_the_order_of_claims_does_not_matter(site: Site, chance: object) -> None:
    order = list(range(len(site.claims)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    mixed = Site(tuple(site.claims[i] for i in order), site.room_w)
    assert np.allclose(mixed.watts_w(), site.watts_w()[order], atol=1e-6)


@settings(max_examples=50)
@given(sites(tiers=False, fits=True, stays=False))
def test_it_costs_what_the_linear_programme_says(site: Site) -> None:
    watts_w = site.watts_w()
    cost = sum(_cost(c, w) for c, w in zip(site.claims, watts_w, strict=True))
    best = _programme(site)
    assert abs(cost - best) <= 1e-6 * max(1.0, best)


def _cost(claim: Claim, watts_w: float) -> float:
    """Money an hour; watts that a claim does not offer are dear."""
    of, left_w, total = claim.frontier, max(0.0, claim.frontier.top_w - watts_w), 0.0
    for price, freed_w in zip([*of.price, DEAR], [*of.freed_w, np.inf], strict=True):
        taken_w = min(left_w, freed_w)
        total, left_w = total + price * taken_w, left_w - taken_w
    return total


DEAR = 1e4


def _programme(site: Site) -> float:
    """The least cost, HiGHS: a variable for each step that is given up, one for what is not offered, one for slack."""
    price: list[float] = []
    high: list[float] = []
    owner: list[int] = []
    for i, claim in enumerate(site.claims):
        of = claim.frontier
        slack_w = max(0.0, claim.most_w - of.top_w)
        for p, w in zip([0.0, *of.price, DEAR], [slack_w, *of.freed_w, 1e6], strict=True):
            price.append(p)
            high.append(w)
            owner.append(i)
    mine = (np.array(owner)[None, :] == np.arange(len(site.claims))[:, None]).astype(float)
    full_w = np.array([max(c.most_w, c.frontier.top_w) for c in site.claims])
    # what remains is at least the least and at most the most, and fits every scope
    least = np.array([c.least_w for c in site.claims])
    most = np.array([c.most_w for c in site.claims])
    rows, bounds = [mine, -mine], [full_w - least, most - full_w]
    for s, room_w in enumerate(site.room_w):
        here = np.zeros(len(site.claims))
        here[within(site, s)] = 1.0
        rows.append(-(here @ mine)[None, :])
        bounds.append(np.array([room_w - here @ full_w]))
    found = linprog(price, A_ub=np.vstack(rows), b_ub=np.concatenate(bounds), bounds=[(0, h) for h in high])
    assert found.status == 0, found.message
    assert found.fun is not None
    return float(found.fun)


def test_noise_in_prices_moves_no_watt_between_clusters_whose_watts_cost_the_same() -> None:
    def had(price: float, has_w: float) -> Claim:
        return Claim(0, 100.0, 1000.0, _frontier(1000.0, [(0, price, 900.0)]), 0, has_w)

    first = split([had(1.0, 900.0), had(1.004, 600.0)], np.array([1500.0]), (NONE,))
    assert first.watts_w.tolist() == [900.0, 600.0]
    assert split([had(1.0, 900.0), had(1.02, 600.0)], np.array([1500.0]), (NONE,)).watts_w.tolist() == [500.0, 1000.0]


def test_of_two_at_one_price_the_lower_priority_gives_first_and_equals_give_in_proportion() -> None:
    alike = Claim(0, 100.0, 1000.0, _frontier(1000.0, [(0, 1.0, 900.0)]))
    first = replace(alike, priority=1)
    assert split([alike, first], np.array([1500.0]), (NONE,)).watts_w.tolist() == [500.0, 1000.0]
    assert split([alike, alike], np.array([1500.0]), (NONE,)).watts_w.tolist() == [750.0, 750.0]


def test_a_lower_tier_is_used_up_everywhere_before_the_next_is_touched_anywhere() -> None:
    cheap_breach = Claim(0, 0.0, 1000.0, _frontier(1000.0, [(0, 5.0, 200.0), (1, 0.001, 800.0)]))
    dear = Claim(0, 0.0, 1000.0, _frontier(1000.0, [(0, 9.0, 600.0)]))
    found = split([cheap_breach, dear], np.array([1200.0]), (NONE,))
    assert found.watts_w.tolist() == [800.0, 400.0]
    assert found.price == ((0, 9.0),)
