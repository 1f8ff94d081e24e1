"""`wattlease simulate`, through the command line and the files that it leaves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml
from click.testing import CliRunner

from wattlease.runtime.cli import main
from wattlease.sim.ride import Loss, Ride
from wattlease.sim.ride_words import worst
from wattlease.sim.simulating import scenario_of

SWEEP = [
    {"capWatts": 100, "drawWatts": 100, "speedPercent": 23},
    {"capWatts": 200, "drawWatts": 195, "speedPercent": 78},
    {"capWatts": 300, "drawWatts": 288, "speedPercent": 93},
    {"capWatts": 400, "drawWatts": 370, "speedPercent": 100},
]
CURVE = [{"drawPercent": 100 * p["drawWatts"] / 370, "speedPercent": p["speedPercent"]} for p in reversed(SWEEP)]

TINY: dict[str, Any] = {
    "name": "tiny",
    "start": "2026-01-05T08:00:00Z",
    "durationSeconds": 1500,
    "groups": [
        {
            "name": "n",
            "cluster": "c",
            "budget": "site",
            "nodes": 2,
            "gpusPerNode": 4,
            "gpuModel": "A100",
            "card": {"ratedWatts": 400, "minCapWatts": 100, "idleWatts": 55},
            "nodeNameplateWatts": 1600,
        }
    ],
    "budgets": [
        {
            "metadata": {"name": "site"},
            "spec": {
                "limitWatts": 3200,
                "meters": [{"name": "feed", "kind": "Virtual", "windowSeconds": 5, "delaySeconds": 1}],
                "band": {"counts": "Draw"},
                "demandResponse": [
                    {
                        "name": "peak",
                        "start": "2026-01-05T08:05:00Z",
                        "end": "2026-01-05T08:18:00Z",
                        "limitWatts": 2300,
                        "rampSeconds": 60,
                    }
                ],
            },
        }
    ],
    "profiles": [
        {
            "metadata": {"name": "half"},
            "spec": {"kind": "Training", "maxSlowdownPercent": 50, "pausable": False, "curve": CURVE},
        }
    ],
    "jobs": [
        {"name": f"job-{x}", "cluster": "c", "gpus": 4, "profile": "half", "running": True, "sweep": SWEEP}
        for x in "ab"
    ],
}


def simulate(folder: Path, *words: object, **changes: Any) -> tuple[int, str, str]:
    path = folder / "tiny.yaml"
    # through JSON, so that nothing is shared and written as an alias
    path.write_text(yaml.safe_dump(orjson.loads(orjson.dumps(TINY | changes))), encoding="utf-8")
    result = CliRunner().invoke(main, ["simulate", str(path), "--out", str(folder / "out"), *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    folder = tmp_path_factory.mktemp("simulated")
    code, out, progress = simulate(folder, policies=["none", "wattlease"])
    assert code == 0, progress
    return folder / "out", out, progress


def test_a_run_leaves_a_report_a_summary_and_a_record(made):
    folder, out, progress = made
    assert {p.name for p in folder.iterdir()} == {"report.html", "plotly.min.js", "summary.json", "record.jsonl"}
    assert "none" in out
    assert str(folder / "report.html") in out
    assert "none, seed 1: 100 %" in progress
    assert "wattlease, seed 1: 100 %" in progress


def test_the_summary_tells_how_the_event_was_ridden(made):
    data = orjson.loads((made[0] / "summary.json").read_bytes())
    free, steered = data["events"]
    assert [free["policy"], steered["policy"]] == ["none", "wattlease"]
    assert free["settle_s"] is None
    assert steered["settle_s"] <= 300
    assert steered["minutes_over"] == 0
    assert steered["mean_frac"] < 2300 / 2960 < free["mean_frac"]
    assert steered["beyond_class_frac"] < 0
    assert 0.95 < steered["of_best_frac"] < 1.03
    assert [loss["tolerated_frac"] for loss in steered["losses"]] == [0.5, 0.5]
    assert data["runs"][1]["over_s"] < data["runs"][0]["over_s"]


def test_its_record_is_decided_again_byte_for_byte(made):
    result = CliRunner().invoke(main, ["replay", str(made[0] / "record.jsonl")])
    assert result.exit_code == 0, result.output
    assert "1500 ticks" in result.output


def test_an_old_record_is_replaced_and_none_is_written_when_none_is_asked_for(tmp_path):
    short = {"durationSeconds": 60}
    for words, names in (
        ((), {"record.jsonl"}),
        (("--record", "gz"), {"record.jsonl.gz"}),
        (("--no-record",), set()),
    ):
        assert simulate(tmp_path, *words, **short)[0] == 0
        assert {p.name for p in (tmp_path / "out").glob("record*")} == names


def test_many_seeds_are_a_line_each_and_the_worst_of_every_measure(tmp_path):
    code, out, _ = simulate(tmp_path, "--seeds", 2, "--seed", 7)
    assert code == 0
    data = orjson.loads((tmp_path / "out" / "summary.json").read_bytes())
    assert [row["seed"] for row in data["seeds"]] == [7, 8]
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["seed", "seed", "worst"]
    assert data["worst"]["settle_s"] == max(row["settle_s"] for row in data["seeds"])
    assert data["worst"]["of_best_frac"] == min(row["of_best_frac"] for row in data["seeds"])


def test_one_policy_may_be_named(tmp_path):
    assert simulate(tmp_path, "--policy", "uniform", durationSeconds=60)[0] == 0
    runs = orjson.loads((tmp_path / "out" / "summary.json").read_bytes())["runs"]
    assert [run["policy"] for run in runs] == ["uniform"]
    assert not list((tmp_path / "out").glob("record*"))


def test_a_scenario_with_a_mistake_is_refused_with_file_line_and_field(tmp_path):
    code, _, told = simulate(tmp_path, durationSeconds=-5)
    assert code == 2
    line = (tmp_path / "tiny.yaml").read_text().splitlines().index("durationSeconds: -5") + 1
    assert f"tiny.yaml:{line}: durationSeconds" in told
    assert not (tmp_path / "out").exists()


def test_budgets_may_stand_in_a_file_beside_the_scenario(tmp_path):
    budgets = [b | {"apiVersion": "wattlease.io/v1alpha1", "kind": "PowerBudget"} for b in TINY["budgets"]]
    (tmp_path / "budgets.yaml").write_text(yaml.safe_dump_all(budgets), encoding="utf-8")
    path = tmp_path / "tiny.yaml"
    without = {k: v for k, v in TINY.items() if k != "budgets"} | {"budgetFile": "budgets.yaml"}
    path.write_text(yaml.safe_dump(orjson.loads(orjson.dumps(without))))
    assert [b.name for b in scenario_of(path).budgets] == ["site"]
    (tmp_path / "budgets.yaml").write_text(yaml.safe_dump(budgets[0] | {"spec": {"limitWatts": -1}}))
    result = CliRunner().invoke(main, ["simulate", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "budgets.yaml:" in result.stderr
    assert "limitWatts" in result.stderr


def ride(**changes: Any) -> Ride:
    kept = {
        "event": "e", "before_w": 100.0, "settle_s": 60.0, "minutes_over": 0, "mean_frac": 0.7, "lowest_frac": 0.6,
        "throughput_frac": 0.8, "best_used_frac": 0.8, "best_allowed_frac": 0.9, "rise_frac": 0.04,
        "after_rise_frac": 0.06,
        "losses": (Loss("a", 0.1, 0.25), Loss("b", 0.2, 0.1)),
    }  # fmt: skip
    return Ride(**kept | changes)


def test_a_job_beyond_its_class_is_seen_beside_one_that_kept_it():
    assert ride().beyond_class_frac == pytest.approx(0.1)
    assert ride(losses=()).beyond_class_frac != ride().beyond_class_frac
    assert math.isnan(ride(losses=()).beyond_class_frac)


def test_the_worst_of_seeds_takes_each_measure_from_its_own_worse_side():
    rows = [{"settle_s": s, "of_best_frac": f} for s, f in ((60.0, 0.99), (np.inf, 0.999), (90.0, math.nan))]
    assert worst(rows) == {"settle_s": math.inf, "of_best_frac": 0.99}
