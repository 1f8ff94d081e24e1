"""The laws of the fit; its instances and the exact optimum are those of `tests/bench/bench_fit.py`."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.fit import STRICT_TIER, Choice, Points, fit
from wattlease.core.model import Floats

SPEC = importlib.util.spec_from_file_location("bench_fit", Path(__file__).parents[1] / "bench" / "bench_fit.py")
assert SPEC
assert SPEC.loader
BENCH = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(BENCH)

SEEDS = st.integers(0, 2**32 - 1)
ROWS = st.integers(1, 40)
TIERS = st.integers(1, 3)


def drawn(seed: int, rows: int, tiers: int = 1) -> tuple[Points, np.random.Generator]:
    rng = np.random.default_rng((seed, rows))
    return BENCH.instance(rows, rng, tiers), rng


def least_w(points: Points, tier: int) -> Floats:
    """The fewest watts of each row that this tier and those below it have to offer."""
    return np.where((points.tier <= tier) & np.isfinite(points.cost), points.watts_w, np.inf).min(axis=0)


def within(points: Points, frac: float) -> float:
    """A limit between what the least points draw and all that is wanted."""
    low_w = float(least_w(points, STRICT_TIER).sum())
    return low_w + frac * (float(points.watts_w[0].sum()) - low_w)


def next_level_w(points: Points, choice: Choice) -> Floats:
    rows = np.arange(len(choice.column))
    at = choice.column - points.chain[choice.column]
    return np.asarray(points.watts_w[at, rows])


@given(SEEDS, ROWS, TIERS, st.floats(0, 1), st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_sum_fits_whenever_the_least_points_do(seed: int, rows: int, tiers: int, frac: float, lumps: bool) -> None:
    points, rng = drawn(seed, rows, tiers)
    limit_w = within(points, frac)
    choice = fit(points, rng.permutation(rows), limit_w, lumps)
    assert choice.watts_w.sum() <= limit_w + 1e-4
    assert choice.short_w <= 1e-4


@given(SEEDS, ROWS, TIERS, st.floats(0.1, 0.999))
@settings(max_examples=40, deadline=None)
def test_what_cannot_fit_is_at_its_least_and_says_what_is_missing(
    seed: int, rows: int, tiers: int, frac: float
) -> None:
    points, rng = drawn(seed, rows, tiers)
    low_w = least_w(points, STRICT_TIER)
    choice = fit(points, rng.permutation(rows), frac * float(low_w.sum()))
    np.testing.assert_allclose(choice.watts_w, low_w)
    assert choice.short_w == pytest.approx((1 - frac) * low_w.sum())


@given(SEEDS, ROWS, TIERS)
@settings(max_examples=40, deadline=None)
def test_where_there_is_room_for_all_nobody_gives(seed: int, rows: int, tiers: int) -> None:
    points, rng = drawn(seed, rows, tiers)
    choice = fit(points, rng.permutation(rows), float(points.watts_w[0].sum()) + 1.0)
    assert not choice.column.any()
    assert choice.cost.sum() == 0.0


@pytest.mark.parametrize("rows", [10, 14, 25, 60, 150])
def test_the_cost_is_within_a_percent_of_the_optimum_from_ten_rows_up(rows: int) -> None:
    for seed in range(8):
        gap, _, _ = BENCH.compare(rows, 1000 + seed)
        assert -1e-4 <= gap <= 0.01


def test_the_cost_is_within_a_thousandth_of_the_optimum_from_a_thousand_rows_up() -> None:
    for seed in range(3):
        gap, _, _ = BENCH.compare(1000, 1000 + seed)
        assert -1e-4 <= gap <= 0.001


@given(SEEDS, ROWS, TIERS, st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_rows_does_not_matter(seed: int, rows: int, tiers: int, frac: float) -> None:
    points, rng = drawn(seed, rows, tiers)
    rank, order = rng.permutation(rows), rng.permutation(rows)
    other = Points(points.watts_w[:, order], points.cost[:, order], points.tier[:, order], points.chain)
    one, two = (fit(p, r, within(points, frac)) for p, r in ((points, rank), (other, rank[order])))
    assert np.array_equal(one.column[order], two.column)
    np.testing.assert_allclose(one.watts_w[order], two.watts_w)


@given(SEEDS, st.integers(20, 60), TIERS, st.floats(0, 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_halving_finds_the_same_steps_as_sorting(seed: int, rows: int, tiers: int, frac: float, lumps: bool) -> None:
    points, rng = drawn(seed, rows, tiers)
    points = replace(points, cost=np.round(points.cost, 1))  # so that many prices are the same
    rank, limit_w = rng.permutation(rows), within(points, frac)
    sorted_all = fit(points, rank, limit_w, lumps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wattlease.core.fit.FEW_STEPS", 4)
        halved = fit(points, rank, limit_w, lumps)
    assert np.array_equal(halved.column, sorted_all.column)
    np.testing.assert_allclose(halved.watts_w, sorted_all.watts_w)


def test_of_twins_the_one_of_lower_rank_gives() -> None:
    one, _ = drawn(3, 1)
    both = np.zeros(2, int)
    twins = Points(one.watts_w[:, both], one.cost[:, both], one.tier[:, both], one.chain)
    limit_w = float(twins.watts_w[0].sum() - 0.5 * (twins.watts_w[0, 0] - twins.watts_w[1, 0]))
    for rank in ([0, 1], [1, 0]):
        choice = fit(twins, np.array(rank), limit_w)
        assert choice.column[rank.index(0)] > choice.column[rank.index(1)] == 0


@given(SEEDS, st.integers(5, 40), st.floats(0, 1), st.floats(0.9, 1))
@settings(max_examples=60, deadline=None)
def test_a_lower_limit_never_costs_less_and_never_uses_more(seed: int, rows: int, frac: float, lower: float) -> None:
    points, rng = drawn(seed, rows)
    rank, limit_w = rng.permutation(rows), within(points, frac)
    high, low = fit(points, rank, limit_w), fit(points, rank, limit_w * lower)
    assert low.cost.sum() >= high.cost.sum() * (1 - 2e-4) - 1e-9  # the branching leaves that gap open
    assert low.watts_w.sum() <= high.watts_w.sum() + 1e-4


@given(SEEDS, ROWS, st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_while_a_protected_row_gives_all_others_give_all_they_have(seed: int, rows: int, frac: float) -> None:
    points, rng = drawn(seed, rows, 3)
    choice = fit(points, rng.permutation(rows), within(points, 0.3 * frac))
    all_w = least_w(points, STRICT_TIER - 1)
    touched = choice.watts_w < all_w - 1e-4
    if touched.any():
        np.testing.assert_allclose(choice.watts_w[~touched], all_w[~touched], rtol=1e-6)


@given(SEEDS, ROWS, st.integers(2, 3), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_while_a_contract_is_broken_the_others_keep_back_less_than_one_lump(
    seed: int, rows: int, tiers: int, frac: float
) -> None:
    points, rng = drawn(seed, rows, tiers)
    choice = fit(points, rng.permutation(rows), within(points, frac))
    all_w = least_w(points, 0)
    broken = choice.watts_w < all_w - 1e-4
    if broken.any():
        kept_back_w = float((choice.watts_w - all_w)[~broken].sum())
        lumps_w = (all_w - points.watts_w[choice.column, np.arange(rows)])[broken]
        assert kept_back_w <= lumps_w.max() + 1e-4


@given(SEEDS, ROWS, st.floats(0, 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_among_caps_a_blend_lies_between_its_level_and_the_next(seed: int, rows: int, frac: float, lumps: bool) -> None:
    points, rng = drawn(seed, rows)
    capped = np.arange(len(points.cost))[:, None] < BENCH.LEVELS
    points = replace(points, cost=np.where(capped, points.cost, np.inf))
    choice = fit(points, rng.permutation(rows), within(points, frac), lumps)
    rows_w = points.watts_w[choice.column, np.arange(rows)]
    assert np.all(choice.watts_w >= rows_w - 1e-6)
    assert np.all(choice.watts_w <= next_level_w(points, choice) + 1e-6)


def test_beside_lumps_a_blend_lies_below_the_next_level_too() -> None:
    for seed in range(300):
        points, rng = drawn(seed, 12, 2)
        choice = fit(points, rng.permutation(12), within(points, rng.uniform()))
        assert np.all(choice.watts_w <= next_level_w(points, choice) + 1e-6)
