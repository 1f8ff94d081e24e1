"""Laws of the curves: what holds for any curve and any observation, then the names and the numbers by example."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.curves import (
    CURVES,
    DEFAULT,
    GPU_MODELS,
    GRID,
    KINDS,
    SHAPE_VAR,
    batch_steps,
    curve_for,
    draw_for,
    from_points,
    gpu_model,
    learn,
    shaped,
    speed_at,
    track_frac,
)
from wattlease.core.measured import MEMORY_BOUND, MODEL_SWAPS
from wattlease.core.model import Floats

LIBRARY = np.array([curve.speed_frac for curve in (*CURVES.values(), DEFAULT)])
FROM_HALF = slice(5, None)
SEEDS = st.integers(0, 2**32 - 1)
FRACS = st.floats(0.0, 1.0)
SHAPES = st.floats(-1.0, 1.0)
SWEEPS = st.lists(st.tuples(st.floats(0.01, 0.99), FRACS), min_size=2, max_size=12).map(
    lambda points: (sorted(draw for draw, _ in points), sorted(speed for _, speed in points))
)


def some_curves(seed: int, n: int = 20) -> Floats:
    """Random lawful curves: the library's, and rising ones that no card has."""
    rng = np.random.default_rng(seed)
    free = np.sort(rng.random((n, len(GRID))) ** rng.uniform(0.2, 3.0, (n, 1)), axis=1)
    free[:, -1] = 1.0
    return np.where(rng.random((n, 1)) < 0.5, LIBRARY[rng.integers(0, len(LIBRARY), n)], free)


def is_lawful(curves: Floats) -> bool:
    return bool(np.all(np.diff(curves) >= 0.0) and np.all(curves >= 0.0) and np.all(curves[:, -1] == 1.0))


def concave_from_half(curves: Floats) -> bool:
    return bool(np.all(np.diff(curves[:, FROM_HALF], n=2) <= 1e-9))


def test_every_curve_of_the_library_rises_to_one_and_is_concave_from_half_draw_up() -> None:
    assert is_lawful(LIBRARY)
    assert concave_from_half(LIBRARY)


def test_every_curve_of_the_library_lies_under_the_memory_bound_one_and_says_where_it_is_from() -> None:
    assert np.all(np.array(MEMORY_BOUND)[FROM_HALF] >= LIBRARY[:, FROM_HALF])
    assert all(len(curve.source) > 20 for curve in (*CURVES.values(), DEFAULT))


@given(SWEEPS)
def test_a_sweep_becomes_a_lawful_curve_on_or_above_its_points(
    sweep: tuple[list[float], list[float]],
) -> None:
    draw, speed = sweep
    curve = np.array([from_points(draw, speed)])
    assert is_lawful(curve)
    assert concave_from_half(curve)
    at = GRID[FROM_HALF]
    straight = np.interp(at, [0.0, *draw, 1.0], [0.0, *speed, 1.0])
    assert np.all(speed_at(np.repeat(curve, len(at), 0), at) >= straight - 1e-9)


@given(SWEEPS, SEEDS)
def test_the_order_of_a_sweeps_points_does_not_matter(sweep: tuple[list[float], list[float]], seed: int) -> None:
    draw, speed = map(np.array, sweep)
    mixed = np.random.default_rng(seed).permutation(len(draw))
    assert from_points(draw.tolist(), speed.tolist()) == from_points(draw[mixed].tolist(), speed[mixed].tolist())


@given(SEEDS, FRACS, FRACS)
def test_more_draw_is_never_slower_and_speed_stays_a_fraction(seed: int, a: float, b: float) -> None:
    curves = some_curves(seed)
    low, high = (speed_at(curves, np.full(len(curves), x)) for x in sorted((a, b)))
    assert np.all((low >= 0.0) & (low <= high + 1e-12) & (high <= 1.0))


@given(SEEDS, FRACS)
def test_the_draw_for_a_speed_is_the_least_that_keeps_it(seed: int, wanted: float) -> None:
    curves = some_curves(seed)
    draw = draw_for(curves, np.full(len(curves), wanted))
    assert np.all((draw >= 0.0) & (draw <= 1.0))
    np.testing.assert_allclose(speed_at(curves, draw), wanted, atol=1e-9)
    less = speed_at(curves, np.maximum(draw - 1e-3, 0.0))
    assert np.all((less < wanted) | (draw == 0.0) | np.isclose(less, wanted, atol=1e-9))


@given(SEEDS, st.floats(0.0, 1.0))
def test_on_a_curve_that_rises_everywhere_draw_and_speed_are_inverse(seed: int, draw: float) -> None:
    curves = LIBRARY[np.random.default_rng(seed).integers(0, len(LIBRARY), 8)]
    at = np.full(len(curves), draw)
    np.testing.assert_allclose(draw_for(curves, speed_at(curves, at)), at, atol=1e-9)


@given(SEEDS, SHAPES)
def test_a_shaped_curve_is_lawful_and_lies_on_the_side_of_its_shape(seed: int, shape: float) -> None:
    prior = some_curves(seed)
    curves = shaped(prior, np.full(len(prior), shape))
    assert is_lawful(curves)
    side = curves - prior
    assert np.all(side >= -1e-12) if shape >= 0.0 else np.all(side <= 1e-12)


@given(SEEDS)
def test_no_shape_leaves_a_curve_as_it_was(seed: int) -> None:
    prior = some_curves(seed)
    np.testing.assert_array_equal(shaped(prior, np.zeros(len(prior))), prior)


@given(SEEDS, st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True, allow_infinity=True))
def test_no_observation_drives_a_shape_out_of_its_range_or_makes_it_less_known(
    seed: int, draw: float, speed: float
) -> None:
    rng, prior = np.random.default_rng(seed), some_curves(seed)
    shape, var = rng.uniform(-1.0, 1.0, len(prior)), rng.uniform(0.0, 1.0, len(prior))
    seen = np.where(rng.random(len(prior)) < 0.5, rng.uniform(0.0, 1.3, len(prior)), speed)
    new, new_var = learn(shape, var, prior, np.full(len(prior), draw), seen, float(rng.uniform(0.0, 0.1)))
    assert np.all((new >= -1.0) & (new <= 1.0))
    assert np.all((new_var >= 0.0) & (new_var <= var))


@pytest.mark.parametrize(
    ("draw", "speed"),
    [
        (0.7, np.nan),
        (np.nan, 0.8),
        (0.7, np.inf),
        (0.7, 0.0),
        (0.7, -0.3),
        (0.7, 4.0),
        (0.1, 0.5),
        (0.99, 0.2),
        (1.0, 1.0),
    ],
)
def test_what_cannot_be_meant_or_tells_nothing_changes_nothing(draw: float, speed: float) -> None:
    shape, var = np.linspace(-1.0, 1.0, len(LIBRARY)), np.full(len(LIBRARY), SHAPE_VAR)
    new, new_var = learn(shape, var, LIBRARY, np.full(len(shape), draw), np.full(len(shape), speed), 0.02)
    np.testing.assert_array_equal(new, shape)
    np.testing.assert_array_equal(new_var, var)


@given(SEEDS)
@settings(max_examples=25)
def test_learning_finds_the_true_shape_through_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prior = LIBRARY[rng.integers(0, len(LIBRARY), 300)]
    true = rng.uniform(-1.0, 1.0, len(prior))
    truth, shape, var = shaped(prior, true), np.zeros(len(prior)), np.full(len(prior), SHAPE_VAR)
    for _ in range(60):
        draw = rng.uniform(0.5, 0.9, len(prior))
        seen = speed_at(truth, draw) + rng.normal(0.0, 0.02, len(prior))
        shape, var = learn(shape, var, prior, draw, seen, 0.02)
    error = np.abs(shaped(prior, shape) - truth)[:, FROM_HALF]
    assert np.mean(error) < 0.008
    assert np.quantile(error, 0.99) < 0.04
    assert np.mean(var) < SHAPE_VAR / 20


def test_a_job_that_changes_its_ways_is_learned_again() -> None:
    prior, at = LIBRARY[:1], np.array([0.65])
    shape, var = np.zeros(1), np.full(1, SHAPE_VAR)
    for true, rounds in ((-0.8, 300), (0.8, 300)):
        seen = speed_at(shaped(prior, np.array([true])), at)
        for _ in range(rounds):
            shape, var = learn(shape, var, prior, at, seen, 0.02)
        assert shape[0] == pytest.approx(true, abs=0.05)


@given(SEEDS)
def test_the_order_of_jobs_does_not_matter(seed: int) -> None:
    rng, prior = np.random.default_rng(seed), some_curves(seed)
    n = len(prior)
    shape, var, draw, seen = rng.uniform(-1, 1, n), rng.random(n), rng.uniform(0.2, 1.1, n), rng.uniform(0.1, 1.4, n)
    mixed = rng.permutation(n)
    straight = learn(shape, var, prior, draw, seen, 0.03)
    shuffled = learn(shape[mixed], var[mixed], prior[mixed], draw[mixed], seen[mixed], 0.03)
    np.testing.assert_array_equal(straight[0][mixed], shuffled[0])
    np.testing.assert_array_equal(straight[1][mixed], shuffled[1])


def test_no_jobs_are_no_trouble() -> None:
    none, no_curves = np.empty(0), np.empty((0, len(GRID)))
    assert learn(none, none, no_curves, none, none, 0.03)[0].size == 0
    assert speed_at(no_curves, none).size == draw_for(no_curves, none).size == 0
    assert shaped(no_curves, none).shape == (0, len(GRID))


def test_a_hundred_thousand_jobs_learn_within_a_tick() -> None:
    rng = np.random.default_rng(7)
    prior = LIBRARY[rng.integers(0, len(LIBRARY), 100_000)]
    shape, var = np.zeros(len(prior)), np.full(len(prior), SHAPE_VAR)
    draw, seen = rng.uniform(0.4, 0.9, len(prior)), rng.uniform(0.4, 1.0, len(prior))
    took_s = []
    for _ in range(5):
        began_s = time.process_time()
        learn(shape, var, prior, draw, seen, 0.03)
        took_s.append(time.process_time() - began_s)
    assert min(took_s) < 0.2  # some 15 ms on a quiet core


@pytest.mark.parametrize(
    ("draw", "speed", "says"),
    [
        ([0.5, 0.8, 1.0], [0.5, 0.9], "one speed for each draw"),
        ([0.8], [0.9], "at least two"),
        ([50.0, 100.0], [0.6, 1.0], "draw 50"),
        ([0.0, 1.0], [0.0, 1.0], "draw 0"),
        ([0.5, 0.8], [0.6, 90.0], "speed 90"),
        ([0.5, 0.8], [0.6, float("nan")], "speed nan"),
        ([0.5, 0.8, 0.9], [0.6, 0.95, 0.7], "speed 0.7 at draw 0.9 is below 0.95"),
        ([0.5, 1.0], [0.6, 0.8], "speed 0.8 at draw 1 is below 1"),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_refused_with_the_value_at_fault(
    draw: list[float], speed: list[float], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        from_points(draw, speed)


def test_a_sweep_of_watts_runs_through_its_points_and_to_uncapped() -> None:
    uncapped_w, uncapped_tokens = 388.0, 0.124
    draw_w, tokens = (198.0, 247.0, 296.0, 343.0), (0.0775, 0.0975, 0.108, 0.116)
    curve = np.array([from_points([w / uncapped_w for w in draw_w], [t / uncapped_tokens for t in tokens])])
    for w, t in zip(draw_w, tokens, strict=True):
        assert speed_at(curve, np.array([w / uncapped_w]))[0] == pytest.approx(t / uncapped_tokens, abs=0.01)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100-PCIE"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA A100 80GB PCIe", "A100-PCIE"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("Tesla V100S-PCIE-32GB", "V100-PCIE"),
        ("NVIDIA A40", "A40"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA GB200", "GB200"),
        ("NVIDIA B300 SXM6 AC", "B300"),
        ("h100", "H100"),
        ("nvidia_h100_80gb_hbm3", "H100"),
        ("a100_80gb", "A100"),
    ],
)
def test_a_card_is_known_by_its_product_string_and_its_labels(text: str, name: str) -> None:
    model = gpu_model(text)
    assert model is not None
    assert model.name == name


@pytest.mark.parametrize("text", ["", "NVIDIA RTX A4000", "Tesla T4", "NVIDIA A10", "NVIDIA GH200 480GB", "AMD MI300X"])
def test_a_card_that_is_not_known_is_none_and_gets_the_most_cautious_curve(text: str) -> None:
    assert gpu_model(text) is None
    assert curve_for(text, "Training") is DEFAULT
    assert track_frac(text) == 1.0
    assert batch_steps(text, "Inference") == ()
    assert np.all(np.array(DEFAULT.speed_frac) <= LIBRARY)


def test_every_card_has_a_range_a_curve_for_every_kind_of_work_and_its_own_name() -> None:
    for name, model in GPU_MODELS.items():
        assert gpu_model(name) is model
        assert 0.0 < model.idle_w < model.min_cap_w < model.rated_w
        assert (model.card.name, model.card.rated_w) == (name, model.rated_w)
        assert 0.9 < track_frac(name) <= 1.0
        for kind in KINDS:
            assert curve_for(name, kind) is CURVES[model.family, kind]


def test_an_unknown_kind_of_work_gets_the_most_cautious_curve() -> None:
    assert curve_for("H100", "Mining") is DEFAULT


def test_batch_is_a_weak_lever_a_swap_a_strong_one() -> None:
    for name in ("H100", "B200"):
        steps = batch_steps(name, "Inference")
        assert batch_steps(name, "Training") == ()
        assert all(a.batch_frac > b.batch_frac and a.draw_frac > b.draw_frac for a, b in pairwise(steps))
        curve = np.array([curve_for(name, "Inference").speed_frac])
        for step in steps:
            assert step.speed_frac < speed_at(curve, np.array([step.draw_frac]))[0]  # a cap to that draw costs less
    assert min(swap.draw_frac for swap in MODEL_SWAPS) < 0.35
