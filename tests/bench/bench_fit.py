"""How far the fit's cost lies above the exact optimum, and how many times faster it is; HiGHS, same instances.

The laws of `tests/core/test_fit_laws.py` stand on the same instances and the same exact optimum.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import process_time

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from wattlease.core.fit import STRICT_TIER, Points, fit

LEVELS = 7
LUMPS = 2
SIZES = np.array([1, 1, 2, 4, 8, 8, 16, 32])


def instance(rows: int, rng: np.random.Generator, tiers: int = 1) -> Points:
    """Jobs of 1-32 cards at 300-650 W: caps whose price rises on the way down, then two lumps (downsize, pause).

    With more than one tier each row breaks its contract from a level of its own on; one row in eight is protected.
    """
    columns = LEVELS + LUMPS
    full_w = rng.choice(SIZES, rows) * rng.uniform(300.0, 650.0, rows)
    worth = rng.uniform(0.5, 4.0, rows) * full_w / 500.0
    level = np.linspace(1.0, 0.4, LEVELS)[:, None]
    lost = (1.0 - level) ** rng.uniform(1.2, 3.0, rows) * rng.uniform(0.5, 1.5, rows)
    watts_w = np.vstack([full_w * level, 0.3 * full_w[None], 0.1 * full_w[None]])
    cost = np.vstack([worth * lost, worth * rng.uniform(0.3, 0.9, (1, rows)), worth * rng.uniform(0.8, 1.3, (1, rows))])
    chain = np.zeros(columns, bool)
    chain[1:LEVELS] = True
    tier = np.zeros((columns, rows), np.int64)
    if tiers > 1:
        tier = (np.arange(columns)[:, None] >= rng.integers(1, columns + 1, rows)).astype(np.int64)
    if tiers > 2:
        tier[1:, rng.random(rows) < 0.125] = STRICT_TIER
    return Points(watts_w, cost, tier, chain)


def exact(points: Points, limit_w: float) -> float:
    """Cost of the optimum: lumps whole, caps mixed freely within their chain, which no blend of neighbours beats."""
    columns, rows = points.watts_w.shape
    one_each = sparse.kron(sparse.eye_array(rows), np.ones((1, columns)))
    sums = sparse.vstack([one_each, sparse.coo_array(points.watts_w.T.reshape(1, -1))], format="csr")
    lumps = ~(points.chain | np.append(points.chain[1:], False))
    solved = milp(
        points.cost.T.ravel(),
        constraints=LinearConstraint(sums, np.append(np.ones(rows), -np.inf), np.append(np.ones(rows), limit_w)),
        integrality=np.tile(lumps, rows).astype(int),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 1e-6, "time_limit": 20.0},
    )
    if solved.status != 0:
        raise RuntimeError(f"HiGHS did not solve {rows} rows: {solved.message}")
    return float(solved.fun)


def compare(rows: int, seed: int) -> tuple[float, float, float]:
    """The gap as a fraction, and the CPU seconds of the fit and of HiGHS."""
    rng = np.random.default_rng((rows, seed))
    points = instance(rows, rng)
    limit_w = float(points.watts_w[0].sum()) * rng.uniform(0.5, 0.95)
    begin_s = process_time()
    choice = fit(points, np.arange(rows), limit_w)
    fitted_s = process_time()
    best = exact(points, limit_w)
    return float(choice.cost.sum()) / best - 1.0, fitted_s - begin_s, process_time() - fitted_s


def at_scale_s(rows: int) -> float:
    """CPU seconds of one fit at 70 % of full draw, where no exact optimum is at hand."""
    points = instance(rows, np.random.default_rng(rows))
    limit_w = 0.7 * float(points.watts_w[0].sum())
    begin_s = process_time()
    fit(points, np.arange(rows), limit_w)
    return process_time() - begin_s


def main() -> None:
    """Print gap and time ratio for each number of rows."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--quick", action="store_true", help="a few instances of each size")
    quick = ask.parse_args().quick
    for rows, runs in ((10, 60), (100, 20), (1000, 5), (2000, 3)):
        gaps, fitted_s, exact_s = zip(*(compare(rows, seed) for seed in range(3 if quick else runs)), strict=True)
        print(
            f"fit {rows} rows: gap median {100 * median(gaps):.4f} %, worst {100 * max(gaps):.4f} % "
            f"(of {len(gaps)}); {1e3 * median(fitted_s):.1f} ms, HiGHS {1e3 * median(exact_s):.0f} ms, "
            f"{median(exact_s) / median(fitted_s):.0f} times as long"
        )
    for rows in (10_000,) if quick else (10_000, 100_000):
        print(f"fit {rows} rows: {1e3 * median(at_scale_s(rows) for _ in range(3)):.0f} ms CPU (median of 3)")


if __name__ == "__main__":
    main()
