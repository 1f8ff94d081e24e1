"""How long a storage plan takes: a day and two days in quarters of an hour, two days in steps of five minutes."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import numpy as np

from wattlease.core.model import StorageUnit
from wattlease.core.storage_plan import Outlook, plan_storage

SHAPES = ((96, 900.0), (192, 900.0), (576, 300.0))
RUNS = 9


def outlook(steps: int, step_s: float, seed: int) -> Outlook:
    """A noisy day-night draw of 0.6 to 1 MW, hourly prices, a demand charge, and an evening event at three quarters."""
    chance = np.random.default_rng(seed)
    hour = np.arange(steps) * step_s / 3600
    draw_w = 8e5 + 2e5 * np.sin(2 * np.pi * (hour - 9) / 24) + chance.normal(0, 2e4, steps)
    event = (hour % 24 >= 16) & (hour % 24 < 19)
    return Outlook(
        start_s=1.75e9 // 900 * 900,
        step_s=step_s,
        draw_w=draw_w,
        high_w=1.05 * draw_w,
        limit_w=np.where(event, 7.5e5, 1.1e6),
        energy_per_kwh=chance.uniform(-0.02, 0.3, 49)[hour.astype(int)],
        carbon_per_kwh=np.full(steps, 0.02),
        demand_per_kw=15.0,
        peak_so_far_w=8e5,
    )


def plan_s(steps: int, step_s: float, seed: int) -> float:
    """Seconds for one plan of a 1 MWh, 500 kW battery."""
    unit = StorageUnit("b1", 0, 3.6e9, 5e5, 5e5, reserve_frac=0.2)
    ahead = outlook(steps, step_s, seed)
    begin_s = perf_counter()
    plan = plan_storage(unit, 0.5, ahead)
    taken_s = perf_counter() - begin_s
    if not plan.power_w.any():
        raise RuntimeError(f"nothing was planned, so the time says nothing: {plan.note}")
    return taken_s


def main() -> None:
    """Print the median for each shape, over outlooks that differ."""
    for steps, step_s in SHAPES:
        taken_s = median(plan_s(steps, step_s, seed) for seed in range(RUNS))
        print(f"storage_plan H={steps}: {1e3 * taken_s:.1f} ms (median of {RUNS})")


if __name__ == "__main__":
    main()
