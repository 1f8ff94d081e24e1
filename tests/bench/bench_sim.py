"""Simulated site-days per minute of CPU: the plant with nobody steering, and under Wattlease.

Phoenix is 256 GPUs with six jobs, the Philly week 512 GPUs with a queue that is never empty (its arrivals are drawn
with Philly's sizes and lengths where the trace is not at hand).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import process_time

import yaml

from wattlease.sim import loop
from wattlease.sim.scenario import Scenario

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DAY_S = 86_400.0


def cut(name: str, seconds: int) -> Scenario:
    """The first seconds of an example."""
    told = yaml.safe_load((EXAMPLES / name / "scenario.yaml").read_text())
    return Scenario.model_validate({**told, "durationSeconds": seconds})


def taken_s(scenario: Scenario, policy: str) -> float:
    """CPU seconds of the closed loop, its start included."""
    begin_s = process_time()
    loop.run(scenario, policy, 1)
    return process_time() - begin_s


def main() -> None:
    """Print site-days a minute for each site, and how long a tick takes."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--quick", action="store_true", help="a few minutes of each site")
    quick = ask.parse_args().quick
    for name, seconds in (("phoenix", 600 if quick else 5400), ("philly-week", 300 if quick else 3600)):
        scenario = cut(name, seconds)
        days = scenario.duration_seconds / DAY_S
        ticks = scenario.duration_seconds / scenario.tick_seconds
        for policy, words in (("none", "the plant with nobody steering"), ("wattlease", "the plant and wattlease")):
            cpu_s = taken_s(scenario, policy)
            speed = f"{60 * days / cpu_s:.2f} site-days a minute of CPU, {1e3 * cpu_s / ticks:.1f} ms a tick"
            print(f"sim {name}, {seconds} s in ticks of {scenario.tick_seconds:g} s, {words}: {speed}", flush=True)


if __name__ == "__main__":
    main()
