"""The shipped figures against the public measurements they were taken from, fitted again where those are at hand."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from wattlease.core import measured
from wattlease.core.curves import GPU_MODELS, GRID, TRACK_FRAC, curve_for, from_points
from wattlease.core.model import Floats

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
LLM_CAP_W, RATED_W, NODE_GPUS = 500.0, 700.0, 8
MLPERF_CAP_W = {
    "llama2-70b-99/Offline": 500.0,
    "llama2-70b-99/Server": 500.0,
    "mixtral-8x7b/Offline": 500.0,
    "mixtral-8x7b/Server": 500.0,
    "resnet50/Offline": 350.0,
    "resnet50/Server": 400.0,
}

Sweep = list[tuple[float, float, float]]
"""Cap in watts, draw in watts, speed; by rising cap."""

Folder = Callable[[str], Path]


@pytest.fixture
def folder() -> Folder:
    def find(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"the public measurements '{name}' are not beside the checkout, in ../shared/data")
        return DATA / name

    return find


def zeus_sweeps(path: Path, rated_w: float) -> dict[tuple[str, str, str, str], Sweep]:
    """Training set-ups that draw at least half of the rating when uncapped."""
    found = defaultdict(list)
    for row in csv.DictReader(path.open()):
        name = (row["dataset"], row["network"], row["batch_size"], row["optimizer"])
        found[name].append((float(row["power_limit"]), float(row["average_power"]), 1 / float(row["time_per_epoch"])))
    sweeps = {name: sorted(points) for name, points in found.items()}
    return {n: s for n, s in sweeps.items() if s[-1][0] == rated_w and s[-1][1] >= rated_w / 2}


def phoenix_sweeps(path: Path, names: str) -> list[Sweep]:
    found = defaultdict(list)
    for row in csv.DictReader((path / "dvfs_sweep.csv").open()):
        point = (float(row["GPU power cap"]), float(row["power per GPU"]), float(row["throughput"]))
        found[row["Workload"]].append(point)
    return [sorted(points) for name, points in found.items() if re.match(names, name)]


def median_curve(sweeps: Iterable[Sweep]) -> Floats:
    """Each sweep on the grid, straight between its points; their median, made concave from half draw up."""
    rows = []
    for sweep in sweeps:
        draw, speed = np.array(sorted((d / sweep[-1][1], min(s / sweep[-1][2], 1.0)) for _, d, s in sweep)).T
        rows.append(np.interp(GRID, [0.0, *draw], [0.0, *np.maximum.accumulate(speed)]))
    return np.array(from_points(GRID.tolist(), np.median(rows, axis=0).tolist()))


def tracked(sweeps: Iterable[Sweep], least_cap_w: float) -> float:
    """Median draw over cap where the cap lies clearly under the uncapped draw."""
    return float(np.median([d / cap for s in sweeps for cap, d, _ in s if least_cap_w < cap <= 0.9 * s[-1][1]]))


def throughput(summary: Path) -> float:
    found = re.search(r"^(?:Completed s|S)amples per second\s*: ([\d.]+)", summary.read_text(), re.MULTILINE)
    assert found is not None, f"{summary.name} says no throughput"
    return float(found[1])


def wall_w(log: Path) -> Floats:
    return np.array([float(line.split(",")[3]) for line in log.read_text().splitlines() if ",Watts," in line])


def serving_runs(path: Path, family: str, tasks: Sequence[str]) -> dict[tuple[str, str, int], dict[int, Floats]]:
    """Watts of all GPUs and tokens per second by the number of sequences, for each task, model and number of GPUs."""
    found: dict[tuple[str, str, int], dict[int, Floats]] = defaultdict(dict)
    for task in tasks:
        for run in json.loads((path / f"{task}.json").read_text())["configurations"]:
            if run["gpu_model"] == family:
                both = np.array([run["avg_power_watts"], run["output_throughput_tokens_per_sec"]])
                found[task, f"{run['nickname']} {run['weight_precision']}", run["num_gpus"]][run["max_num_seqs"]] = both
    return found


def on_curve(name: str, kind: str, draw_frac: float) -> float:
    return float(np.interp(draw_frac, GRID, curve_for(name, kind).speed_frac))


@pytest.mark.data
@pytest.mark.parametrize(("name", "file", "rated_w", "setups"), [("V100", "v100", 250, 46), ("A40", "a40", 300, 35)])
def test_training_on_v100_and_a40_is_the_median_of_zeus(
    folder: Folder, name: str, file: str, rated_w: float, setups: int
) -> None:
    sweeps = zeus_sweeps(folder("zeus-nsdi23") / f"summary_power_{file}.csv", rated_w)
    assert len(sweeps) == setups
    np.testing.assert_allclose(curve_for(name, "Training").speed_frac, median_curve(sweeps.values()), atol=0.002)
    assert TRACK_FRAC[name] == pytest.approx(tracked(sweeps.values(), 100.0), abs=0.002)


@pytest.mark.data
@pytest.mark.parametrize(
    ("kind", "names"),
    [("Training", "pt_"), ("Inference", "infer_llama_8b_48g"), ("Batch", "ft_"), ("Generation", "pt_")],
)
def test_the_curves_of_a100_are_those_of_phoenix(folder: Folder, kind: str, names: str) -> None:
    sweeps = phoenix_sweeps(folder("emerald-phoenix"), names)
    np.testing.assert_allclose(curve_for("A100", kind).speed_frac, median_curve(sweeps), atol=0.002)


@pytest.mark.data
def test_no_workload_of_phoenix_lies_far_from_its_kinds_curve(folder: Folder) -> None:
    for kind, names in (("Training", "pt_"), ("Inference", "infer_"), ("Batch", "ft_")):
        for sweep in phoenix_sweeps(folder("emerald-phoenix"), names):
            for _, draw_w, speed in sweep:
                assert on_curve("A100", kind, draw_w / sweep[-1][1]) == pytest.approx(speed / sweep[-1][2], abs=0.03)


@pytest.mark.data
def test_an_a100_tracks_its_cap_as_in_phoenix(folder: Folder) -> None:
    assert TRACK_FRAC["A100"] == pytest.approx(tracked(phoenix_sweeps(folder("emerald-phoenix"), ""), 100.0), abs=0.002)


@pytest.mark.data
def test_serving_on_h200_keeps_what_mlperf_measured_at_500_w(folder: Folder) -> None:
    node = folder("mlperf-h200-wall")
    kept = {
        run: throughput(node / run / "mlperf_log_summary.txt")
        / throughput(node / "default_no_power" / run / "mlperf_log_summary.txt")
        for run in MLPERF_CAP_W
    }
    llm = [kept[run] for run, cap_w in MLPERF_CAP_W.items() if cap_w == LLM_CAP_W]
    assert on_curve("H200", "Inference", LLM_CAP_W / RATED_W) == pytest.approx(np.mean(llm), abs=0.005)
    for run, cap_w in MLPERF_CAP_W.items():  # no run keeps much less than the curve says
        assert on_curve("H200", "Inference", cap_w / RATED_W) <= kept[run] + 0.02


@pytest.mark.data
def test_an_h200_node_draws_a_floor_and_an_overhead_beyond_its_cards(folder: Folder) -> None:
    node, overhead_w = folder("mlperf-h200-wall"), []
    for run, cap_w in MLPERF_CAP_W.items():
        drawn_w = wall_w(node / run / "spl.txt")
        assert drawn_w.min() == pytest.approx(measured.NODE_FLOOR_W, abs=50)
        loaded_w = np.median(drawn_w[drawn_w > 0.8 * np.percentile(drawn_w, 99)])
        overhead_w.append(loaded_w - NODE_GPUS * cap_w * TRACK_FRAC["H200"])
    assert np.median(overhead_w) == pytest.approx(measured.NODE_OVERHEAD_W, abs=10)
    assert np.ptp(overhead_w) < 500


@pytest.mark.data
def test_a_saturated_h100_draws_nearly_its_limit(folder: Folder) -> None:
    trace = folder("openg2g-h100") / "traces" / "Llama-3.1-8B_num_gpus_1_max_num_seqs_256.csv"
    drawn_w = [float(row["power_total_W"]) for row in csv.DictReader(trace.open())]
    assert np.mean(drawn_w) / GPU_MODELS["H100"].rated_w == pytest.approx(TRACK_FRAC["H100"], abs=0.003)


@pytest.mark.data
def test_no_b200_draws_more_than_it_is_said_to(folder: Folder) -> None:
    runs = serving_runs(folder("mlenergy"), "B200", ["lm-arena-chat", "gpqa"])
    most_w = max(both[0] / gpus for (_, _, gpus), by_seqs in runs.items() for both in by_seqs.values())
    assert most_w / GPU_MODELS["B200"].rated_w == pytest.approx(TRACK_FRAC["B200"], abs=0.001)


@pytest.mark.data
@pytest.mark.parametrize("family", ["H100", "B200"])
def test_smaller_batches_save_and_cost_what_ml_energy_measured(folder: Folder, family: str) -> None:
    runs = serving_runs(folder("mlenergy"), family, ["lm-arena-chat", "gpqa"])
    for step in measured.BATCH_STEPS[family]:
        ratios = []
        for by_seqs in runs.values():
            top = max(by_seqs, key=lambda seqs: float(by_seqs[seqs][1]))
            small = by_seqs.get(round(top * step.batch_frac))
            if small is not None and top >= 64:
                ratios.append(small / by_seqs[top])
        assert len(ratios) >= 20
        np.testing.assert_allclose([step.draw_frac, step.speed_frac], np.median(ratios, axis=0), atol=0.002)


@pytest.mark.data
def test_half_the_batch_saves_no_watts_in_training(folder: Folder) -> None:
    for file, rated_w in (("v100", 250.0), ("a40", 300.0)):
        sweeps = zeus_sweeps(folder("zeus-nsdi23") / f"summary_power_{file}.csv", rated_w)
        ratios = []
        for data, network, optimizer in {(d, n, o) for d, n, _, o in sweeps}:
            batches = sorted(int(b) for d, n, b, o in sweeps if (d, n, o) == (data, network, optimizer))
            whole, half = ((data, network, str(b), optimizer) for b in (batches[-1], batches[-1] // 2))
            if half in sweeps:
                ratios.append(sweeps[half][-1][1] / sweeps[whole][-1][1])
        assert np.median(ratios) > 1.0


@pytest.mark.data
@pytest.mark.parametrize("swap", measured.MODEL_SWAPS, ids=lambda swap: f"{swap.family} {swap.large} to {swap.small}")
def test_a_smaller_model_frees_what_ml_energy_measured(folder: Folder, swap: measured.ModelSwap) -> None:
    runs = serving_runs(folder("mlenergy"), swap.family, ["lm-arena-chat"])
    large, small = (
        next(by_seqs[128] for (_, model, g), by_seqs in runs.items() if g == gpus and model.startswith(f"{name} "))
        for name, gpus in ((swap.large, swap.large_gpus), (swap.small, swap.small_gpus))
    )
    np.testing.assert_allclose([swap.draw_frac, swap.speed_frac], small / large, atol=0.002)


@pytest.mark.data
def test_an_idle_h100_draws_what_cornell_saw(folder: Folder) -> None:
    path = folder("cornell") / "cbsugpu08_usage_stats.txt"
    with path.open(encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["powermin"]]
    idle_w = [float(row["powermin"]) for row in rows if float(row["utilave"]) == float(row["gmemave"]) == 0.0]
    assert np.median(idle_w) == pytest.approx(GPU_MODELS["H100-NVL"].idle_w, abs=2.0)
    assert max(float(row["powermax"]) for row in rows) <= GPU_MODELS["H100-NVL"].rated_w


@pytest.mark.parametrize(("cap_w", "kept"), [(900, 0.947), (700, 0.770), (550, 0.613), (450, 0.496)])
def test_blackwell_runs_through_the_four_points_published_for_b300(cap_w: float, kept: float) -> None:
    for name in ("B200", "B300"):
        assert on_curve(name, "Training", cap_w / 1100.0) == pytest.approx(kept, abs=0.009)


@pytest.mark.parametrize(("cap_w", "kept"), [(350, 0.630), (450, 0.7575), (500, 0.806)])
def test_hopper_runs_through_the_means_of_mlperfs_language_models_and_sdxl(cap_w: float, kept: float) -> None:
    for name in ("H100", "H200"):
        assert on_curve(name, "Generation", cap_w / RATED_W) == pytest.approx(kept, abs=0.003)
        assert on_curve(name, "Training", cap_w / RATED_W) <= kept + 0.003
