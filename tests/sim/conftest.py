from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from wattlease.core.actions import Action, Plan
from wattlease.core.model import Snapshot
from wattlease.sim.plant import Plant
from wattlease.sim.scenario import Scenario

ROOT = Path(__file__).resolve().parents[2]

CURVE = [
    {"drawPercent": 100, "speedPercent": 100},
    {"drawPercent": 70, "speedPercent": 88},
    {"drawPercent": 30, "speedPercent": 23},
]

SMALL: dict[str, Any] = {
    "name": "small",
    "start": "2026-01-05T08:00:00Z",
    "durationSeconds": 3600,
    "tickSeconds": 1,
    "stepSeconds": 0.5,
    "groups": [
        {
            "name": "g",
            "cluster": "c",
            "budget": "site",
            "nodes": 4,
            "gpusPerNode": 4,
            "gpuModel": "A100",
            "card": {"ratedWatts": 400, "minCapWatts": 100, "idleWatts": 55},
            "nodeNameplateWatts": 2600,
            "overhead": {"floorWatts": 500, "perItPercent": 10},
        }
    ],
    "losses": {"conversionPercent": 4, "coolingPercent": 10, "coolingFloorWatts": 300},
    "budgets": [
        {
            "metadata": {"name": "site"},
            "spec": {
                "limitWatts": 12000,
                "meters": [{"name": "feed", "kind": "Virtual", "windowSeconds": 4, "delaySeconds": 1}],
                "storage": [
                    {"name": "pack", "capacityWattHours": 500, "maxChargeWatts": 2000, "maxDischargeWatts": 3000}
                ],
            },
        }
    ],
    "profiles": [
        {
            "metadata": {"name": "train"},
            "spec": {
                "kind": "Training",
                "maxSlowdownPercent": 20,
                "curve": CURVE,
                "checkpoint": {"everySeconds": 600, "restartSeconds": 30},
                "batchSteps": [{"batchPercent": 50, "drawPercent": 80, "speedPercent": 60}],
                "variants": [
                    {"name": "tiny", "drawPercent": 40, "speedPercent": 120, "qualityPercent": 90, "swapSeconds": 20}
                ],
            },
        },
        {"metadata": {"name": "chat"}, "spec": {"kind": "Interactive", "maxSlowdownPercent": 10, "curve": CURVE}},
    ],
    "jobs": [
        {"name": "a", "cluster": "c", "gpus": 8, "profile": "train", "running": True, "fullWattsPerGpu": 350},
        {"name": "b", "cluster": "c", "gpus": 4, "profile": "train", "fullWattsPerGpu": 300, "durationSeconds": 300},
    ],
}

Order = Callable[..., Plan]


@pytest.fixture
def small() -> Callable[..., Scenario]:
    """A site of sixteen cards with overhead, losses and a battery; keywords replace its parts."""
    return lambda **parts: Scenario.model_validate({**SMALL, **parts})


@pytest.fixture
def order() -> Order:
    """A plan for everything in a snapshot: one cap for all jobs, one grant for all nodes, and any actions."""

    def plan(seen: Snapshot, *actions: Action, cap_w: float = 400.0, grant_w: float = np.inf) -> Plan:
        jobs, nothing = len(seen.jobs.id), np.empty(0)
        grants_w = np.minimum(seen.site.nodes.nameplate_w, grant_w)
        unknown = np.full(jobs, np.nan)
        why = ("",) * len(actions)
        return Plan(seen.now_s, actions, why, (), np.full(jobs, cap_w), unknown, nothing, nothing, grants_w, nothing)

    return plan


@pytest.fixture
def run(order: Order) -> Callable[..., np.ndarray]:
    """Tick a plant for a while under one cap; the root scope's feed in every step."""

    def ticks(plant: Plant, seconds: float, cap_w: float = 400.0, grant_w: float = np.inf) -> np.ndarray:
        feed = []
        for _ in range(round(seconds / plant.scenario.tick_seconds)):
            plant.act(order(plant.observe(), cap_w=cap_w, grant_w=grant_w))
            feed.append(plant.advance(plant.scenario.tick_seconds).feed_w[:, 0])
        return np.concatenate(feed)

    return ticks


@pytest.fixture
def example() -> Callable[[str], Scenario]:
    """The scenario of an example."""
    return lambda name: Scenario.model_validate(
        yaml.safe_load((ROOT / "examples" / name / "scenario.yaml").read_text())
    )


@pytest.fixture
def data() -> Path:
    """The folder of public measurements."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public measurements (shared/data beside the checkout) are not at hand")
    return folder
