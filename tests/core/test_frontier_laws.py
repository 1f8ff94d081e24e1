"""Laws of a cluster's frontier: it says what the cluster's own decision would cost, on random sites."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.api import Tariff
from wattlease.core.decide import decide
from wattlease.core.frontier import Frontier, frontier, margin
from wattlease.core.memory import FRESH
from wattlease.core.model import NO_PRICES, Snapshot
from wattlease.sim import instances
from wattlease.sim.instances import Shape

SEEDS = st.integers(0, 2**32 - 1)
shapes = st.builds(
    Shape,
    running=st.integers(4, 24),
    waiting=st.just(0),
    paused=st.just(0),
    limit_frac=st.floats(0.7, 1.2),
    racks=st.just(1),
    counts=st.sampled_from(["Draw", "Limits"]),
)


def seen(seed: int, shape: Shape) -> Snapshot:
    """Running jobs that can be throttled and nothing else, and energy for nothing: a decision costs speed alone."""
    snapshot = instances.snapshot(np.random.default_rng(seed), shape)
    terms = tuple(replace(t, pausable=False, steps=(), variants=(), protected=False) for t in snapshot.site.terms)
    free = replace(snapshot, site=replace(snapshot.site, terms=terms), prices=NO_PRICES)
    return limited(free, snapshot.site.scopes[0].budget.spec.limit_watts)


def limited(snapshot: Snapshot, limit_w: float) -> Snapshot:
    """The same under another limit, energy for nothing."""
    hall = snapshot.site.scopes[0]
    tariff = Tariff(price_per_kilowatt_hour=0.0)
    spec = hall.budget.spec.model_copy(update={"tariff": tariff, "limit_watts": round(limit_w)})
    changed = replace(hall, budget=hall.budget.model_copy(update={"spec": spec}))
    return replace(snapshot, site=replace(snapshot.site, scopes=(changed,)))


def spent(of: Frontier, watts_w: float) -> float:
    """Money an hour for coming down from the top to these watts."""
    ends_w = np.cumsum(of.freed_w)
    over_w = max(0.0, of.top_w - watts_w)
    return float((of.price * np.clip(over_w - (ends_w - of.freed_w), 0.0, of.freed_w)).sum())


@settings(max_examples=12)
@given(SEEDS, shapes)
def test_prices_never_fall_on_the_way_down_and_every_step_frees_something(seed: int, shape: Shape) -> None:
    of = frontier(seen(seed, shape), FRESH)
    keys = list(zip(of.tier.tolist(), of.price.tolist(), strict=True))
    assert keys == sorted(keys)
    assert (of.freed_w > 0.0).all()
    assert (of.price >= 0.0).all()


@settings(max_examples=12)
@given(SEEDS, shapes)
def test_at_its_top_a_cluster_holds_nothing_back_and_below_it_does(seed: int, shape: Shape) -> None:
    snapshot = seen(seed, shape)
    of = frontier(snapshot, FRESH)
    whole, _ = decide(limited(snapshot, of.top_w + 1.0), FRESH)
    assert whole.speed_frac.min() > 1.0 - 1e-9
    cut, _ = decide(limited(snapshot, 0.9 * of.top_w), FRESH)
    assert cut.speed_frac.min() < 1.0


@settings(max_examples=16)
@given(SEEDS, shapes, st.floats(0.0, 1.0))
def test_where_a_step_ends_it_costs_what_the_decision_under_that_limit_costs(
    seed: int, shape: Shape, deep: float
) -> None:
    snapshot = seen(seed, shape)
    of = frontier(snapshot, FRESH)
    within = np.flatnonzero(of.tier == 0)  # the price of a broken contract is no money
    if not len(within):
        return
    step = round(deep * (len(within) - 1))
    limit_w = np.ceil(of.top_w - np.cumsum(of.freed_w)[step])
    plan, _ = decide(limited(snapshot, limit_w), FRESH)
    assert abs(spent(of, limit_w) - plan.cost_per_h.sum()) <= 0.01 * plan.cost_per_h.sum() + 0.01


@settings(max_examples=16)
@given(SEEDS, shapes, st.floats(0.75, 0.99))
def test_within_a_step_it_tells_no_less_than_the_decision_costs_and_more_only_by_the_slack_of_one_cap(
    seed: int, shape: Shape, frac: float
) -> None:
    """Where limits count, the first watts of a job's first step lie above its draw: its price is a mean over them."""
    snapshot = seen(seed, shape)
    of = frontier(snapshot, FRESH)
    limit_w = round(frac * of.top_w)
    tier, price = margin(of, limit_w).less
    if tier > 0:
        return
    plan, _ = decide(limited(snapshot, limit_w), FRESH)
    over_w = of.top_w - limit_w
    into_step_w = over_w - max((w for w in np.append(0.0, np.cumsum(of.freed_w)) if w <= over_w), default=0.0)
    slack = price * into_step_w if shape.counts == "Limits" else 0.0
    close = 0.01 * plan.cost_per_h.sum() + 1e-3
    assert -close <= spent(of, limit_w) - plan.cost_per_h.sum() <= close + slack


@settings(max_examples=8)
@given(SEEDS, shapes, st.floats(0.8, 1.2))
def test_it_does_not_depend_on_the_limit_under_which_it_was_made(seed: int, shape: Shape, frac: float) -> None:
    snapshot = seen(seed, shape)
    other = limited(snapshot, round(frac * snapshot.site.scopes[0].budget.spec.limit_watts))
    one, two = frontier(snapshot, FRESH), frontier(other, FRESH)
    assert np.isclose(one.top_w, two.top_w, rtol=1e-6)
    for watts_w in np.linspace(0.7, 1.0, 5) * one.top_w:
        assert np.isclose(spent(one, watts_w), spent(two, watts_w), rtol=0.01, atol=1e-3)


def test_a_margin_is_what_a_watt_costs_and_what_it_spares() -> None:
    of = Frontier(1000.0, np.array([0, 0, 1]), np.array([1.0, 2.0, 0.5]), np.array([100.0, 200.0, 300.0]))
    assert margin(of, 1100.0).less == margin(of, 1100.0).more == (0, 0.0)
    assert margin(of, 950.0).less == margin(of, 950.0).more == (0, 1.0)
    assert (margin(of, 900.0).less, margin(of, 900.0).more) == ((0, 2.0), (0, 1.0))
    assert margin(of, 650.0).less == (1, 0.5)
    assert margin(of, 100.0).less[1] == np.inf
