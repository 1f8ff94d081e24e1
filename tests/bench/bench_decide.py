"""What a decision costs, from a ready snapshot to a plan: 10,000 jobs on 100,000 GPUs, and ten times as many.

The limit is 80 % of what all want. Memory is carried from two ticks before, so that caps bite and jobs are known. A
fast tick moves caps only; a slow one also pauses, starts and resizes.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter, process_time

import numpy as np

from wattlease.core.decide import SLOW_S, decide
from wattlease.core.memory import FRESH
from wattlease.sim import instances
from wattlease.sim.instances import Shape

SIZES = {
    "small": Shape(running=950, waiting=45, paused=5),
    "10,000": Shape(running=9_500, waiting=450, paused=50),
    "100,000": Shape(running=95_000, waiting=4_500, paused=500),
}


def timed(shape: Shape, runs: int) -> tuple[int, dict[str, tuple[float, float]]]:
    """GPUs, and for the fast and the slow tick the median CPU and wall seconds."""
    seen = instances.snapshot(np.random.default_rng(1), shape)
    wants_w, memory = seen.gpus.power_w, FRESH
    for _ in range(2):
        plan, memory = decide(seen, memory)
        seen = instances.obeyed(seen, wants_w, plan.cap_w, 1.0)
    slow = instances.obeyed(seen, wants_w, plan.cap_w, SLOW_S)
    taken: dict[str, tuple[float, float]] = {}
    for name, snapshot in (("fast", seen), ("slow", slow)):
        times = []
        for _ in range(runs):
            cpu_s, wall_s = process_time(), perf_counter()
            decide(snapshot, memory)
            times.append((process_time() - cpu_s, perf_counter() - wall_s))
        cpu, wall = zip(*times, strict=True)
        taken[name] = (median(cpu), median(wall))
    return len(seen.gpus.job), taken


def main() -> None:
    """Print CPU and wall time of each kind of tick."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--quick", action="store_true", help="a thousand jobs only")
    quick = ask.parse_args().quick
    for name in ("small",) if quick else ("10,000", "100,000"):
        runs = 5 if name == "100,000" else 9
        shape = SIZES[name]
        gpus, taken = timed(shape, runs)
        jobs = shape.running + shape.waiting + shape.paused
        for kind, (cpu_s, wall_s) in taken.items():
            times = f"{1e3 * cpu_s:.0f} ms CPU, {1e3 * wall_s:.0f} ms wall"
            print(f"decide {jobs} jobs on {gpus} GPUs, {kind} tick: {times} (median of {runs})", flush=True)


if __name__ == "__main__":
    main()
