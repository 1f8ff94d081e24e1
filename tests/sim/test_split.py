from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wattlease.core.errors import BudgetError
from wattlease.sim.split import Sweep, best_split, uniform_cap

PHOENIX = Path(__file__).parents[3] / "shared" / "data" / "emerald-phoenix" / "dvfs_sweep.csv"


@st.composite
def sweep(draw) -> Sweep:
    """A rising sweep of four points, seldom concave."""
    steps_w = draw(st.lists(st.integers(20, 120), min_size=4, max_size=4))
    gains = draw(st.lists(st.floats(0.05, 1.0), min_size=4, max_size=4))
    power_w = np.cumsum(steps_w).astype(float)
    speed_frac = np.cumsum(gains) / np.sum(gains)
    return Sweep(draw(st.integers(1, 64)), draw(st.sampled_from([0.0, 0.5, 0.9])), power_w + 5, power_w, speed_frac)


def draw_w(sweeps, gpu_w) -> float:
    return sum(s.gpus * w for s, w in zip(sweeps, gpu_w, strict=True))


def full_w(sweeps) -> float:
    return draw_w(sweeps, [s.power_w[-1] for s in sweeps])


@given(st.lists(sweep(), min_size=1, max_size=4), st.floats(0.5, 1.1))
@settings(max_examples=40, deadline=None)
def test_the_best_split_keeps_the_limit_and_every_class_and_lies_on_the_sweeps(sweeps, share) -> None:
    try:
        split = best_split(sweeps, share * full_w(sweeps))
    except BudgetError:
        assume(False)
    assert draw_w(sweeps, split.gpu_w) <= share * full_w(sweeps) * (1 + 1e-7)
    for s, gpu_w, speed in zip(sweeps, split.gpu_w, split.speed_frac, strict=True):
        assert speed >= s.floor_frac - 1e-6
        assert speed == pytest.approx(np.interp(gpu_w, s.power_w, s.speed_frac), abs=1e-6)


@given(sweep(), sweep(), st.floats(0.6, 1.0))
@settings(max_examples=25, deadline=None)
def test_no_split_on_a_fine_grid_is_better(one, two, share) -> None:
    limit_w = share * full_w([one, two])
    grids = [np.unique(np.append(np.linspace(s.power_w[0], s.power_w[-1], 60), s.power_w)) for s in (one, two)]
    on_one = zip(grids[0], np.interp(grids[0], one.power_w, one.speed_frac), strict=True)
    on_two = zip(grids[1], np.interp(grids[1], two.power_w, two.speed_frac), strict=True)
    found = [
        (one.gpus * a + two.gpus * b) / (one.gpus + two.gpus)
        for (w1, a), (w2, b) in product(on_one, on_two)
        if draw_w([one, two], (w1, w2)) <= limit_w and a >= one.floor_frac and b >= two.floor_frac
    ]
    assume(found)
    assert best_split([one, two], limit_w).throughput_frac >= max(found) - 1e-6


@given(st.lists(sweep(), min_size=1, max_size=3), st.floats(0.7, 0.95))
@settings(max_examples=25, deadline=None)
def test_more_watts_never_buy_less(sweeps, share) -> None:
    try:
        less = best_split(sweeps, share * full_w(sweeps))
    except BudgetError:
        assume(False)
    assert best_split(sweeps, (share + 0.05) * full_w(sweeps)).throughput_frac >= less.throughput_frac - 1e-6


def test_a_steep_stretch_cannot_be_bought_without_the_flat_one_before_it() -> None:
    late = Sweep(1, 0.0, np.array([1.0, 2.0, 3.0]), np.array([100.0, 200.0, 300.0]), np.array([0.1, 0.2, 1.0]))
    assert best_split([late], 200.0).throughput_frac == pytest.approx(0.2)


def test_a_limit_below_the_floors_is_refused() -> None:
    job = Sweep(8, 0.9, np.array([100.0, 400.0]), np.array([100.0, 400.0]), np.array([0.2, 1.0]))
    with pytest.raises(BudgetError, match="no split of 2000 W keeps every class"):
        best_split([job], 2000.0)
    with pytest.raises(BudgetError, match="the lowest cap draws 800 W"):
        uniform_cap([job], 700.0)


@pytest.fixture(scope="module")
def phoenix() -> list[Sweep]:
    """The field trial's six jobs and classes."""
    if not PHOENIX.exists():
        pytest.skip("the public measurements are not beside the checkout")
    rows = list(csv.DictReader(PHOENIX.open()))

    def job(work: str, gpus: int, loss_frac: float) -> Sweep:
        mine = [r for r in rows if r["Workload"] == work]
        names = ("GPU power cap", "power per GPU", "normalized throughput")
        return Sweep(gpus, 1 - loss_frac, *(np.array([float(r[name]) for r in mine]) for name in names))

    return [
        job("ft_llama_8b_p3", 32, 0.25),
        job("infer_llama_8b_32g", 32, 0.50),
        job("infer_llama_8b_48g", 48, 0.10),
        job("infer_llama_8b_48g", 48, 0.25),
        job("pt_mpt_13b_sm", 48, 0.50),
        job("pt_mpt_7b_fast", 48, 0.50),
    ]


@pytest.mark.data
def test_the_phoenix_site_draws_what_was_published(phoenix) -> None:
    assert full_w(phoenix) == pytest.approx(94_840, abs=10)


@pytest.mark.data
@pytest.mark.parametrize(("share", "best"), [(0.75, 0.8960), (0.70, 0.8678), (0.684, 0.8569), (0.60, 0.7913)])
def test_the_best_that_the_phoenix_site_could_do(phoenix, share, best) -> None:
    assert best_split(phoenix, share * full_w(phoenix)).throughput_frac == pytest.approx(best, abs=1e-4)


@pytest.mark.data
def test_what_a_uniform_cap_keeps_at_phoenix(phoenix) -> None:
    split = uniform_cap(phoenix, 0.75 * full_w(phoenix))
    assert split.throughput_frac == pytest.approx(0.892, abs=5e-4)
    assert draw_w(phoenix, split.gpu_w) == pytest.approx(0.75 * full_w(phoenix))
