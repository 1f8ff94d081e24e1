"""Figures taken from public measurements, each with its source; `docs/curves.md` says how, a test fits them again.

The files themselves are not part of Wattlease. What no file holds is said to be assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from wattlease.core.model import Step

Shape = tuple[float, ...]

ZEUS = "ml-energy/zeus, NSDI'23 power traces (Apache-2.0)"
PHOENIX = "ai-emerald/emerald-ai-demo-may-2025, dvfs_sweep.csv (Apache-2.0)"
MLPERF = "mlcommons/inference_results_v4.1, NVIDIA 8xH200 MaxQ against default (Apache-2.0)"
POWER_LAB = "gpu-power-lab, B300 at 1,100 W, tensor bf16, one run"
ML_ENERGY = "ml-energy/leaderboard, lm-arena-chat and gpqa (Apache-2.0)"
OPENG2G = "gpu2grid/openg2g, H100 traces at 0.1 s (Apache-2.0)"

V100_TRAINING: Shape = (
    0.341, 0.410, 0.478, 0.546, 0.615, 0.688, 0.762, 0.825, 0.871, 0.899, 0.923, 0.944, 0.961, 0.974, 0.988, 1.0,
)  # fmt: skip
"""Median of 46 training set-ups that draw at least half of 250 W; under about half draw few were measured."""

A40_TRAINING: Shape = (
    0.161, 0.193, 0.225, 0.270, 0.337, 0.428, 0.546, 0.663, 0.780, 0.877, 0.922, 0.951, 0.973, 0.985, 0.994, 1.0,
)  # fmt: skip
"""Median of 35 training set-ups that draw at least half of 300 W; falls off a cliff under 65 % of draw."""

A100_PRETRAINING: Shape = (
    0.174, 0.250, 0.337, 0.424, 0.513, 0.604, 0.674, 0.731, 0.787, 0.822, 0.858, 0.886, 0.915, 0.943, 0.972, 1.0,
)  # fmt: skip
"""Median of MPT 7B, 13B small and 13B large; no point between 27 and 51 % of draw."""

A100_SERVING: Shape = (
    0.212, 0.297, 0.403, 0.509, 0.615, 0.721, 0.796, 0.831, 0.866, 0.891, 0.915, 0.937, 0.956, 0.975, 0.988, 1.0,
)  # fmt: skip
"""Inference of Llama 8B: one sweep, which the file repeats for three sizes; no point between 27 and 53 % of draw."""

A100_FINE_TUNING: Shape = (
    0.202, 0.254, 0.355, 0.456, 0.557, 0.658, 0.759, 0.818, 0.854, 0.889, 0.911, 0.931, 0.950, 0.966, 0.983, 1.0,
)  # fmt: skip
"""Median of two fine-tunings of Llama 8B; no point between 29 and 57 % of draw."""

HOPPER_SERVING: Shape = (
    0.185, 0.260, 0.352, 0.445, 0.537, 0.630, 0.675, 0.719, 0.762, 0.796, 0.830, 0.864, 0.898, 0.932, 0.966, 1.0,
)  # fmt: skip
"""Through GPT-J at 350 W (0.630), SDXL at 450 W (0.758), Llama2-70B and Mixtral at 500 W (0.806) of 700 W.

A saturated card is assumed to keep the same share of its cap throughout, so that draw falls as the cap does. Under
350 W nothing was measured: it falls there as A100's serving does.
"""

HOPPER_WORK: Shape = tuple(map(min, HOPPER_SERVING, A100_PRETRAINING))
"""No public sweep of training on Hopper: the lower of `HOPPER_SERVING` and `A100_PRETRAINING` at each draw."""

BLACKWELL_TENSOR: Shape = (
    0.303, 0.364, 0.424, 0.485, 0.549, 0.613, 0.671, 0.728, 0.783, 0.832, 0.881, 0.929, 0.956, 0.971, 0.985, 1.0,
)  # fmt: skip
"""Matrix products on B300 at 900, 700, 550 and 450 W (0.947, 0.770, 0.613, 0.496) of 1,100 W."""

MEMORY_BOUND: Shape = (
    0.382, 0.458, 0.535, 0.611, 0.687, 0.764, 0.840, 0.916, 0.980, 0.982, 0.985, 0.988, 0.991, 0.994, 0.997, 1.0,
)  # fmt: skip
"""The flattest that a job is thought to be: BabelStream on a 300 W A100 capped to 150 W keeps 0.979 of its speed with
0.655 of the energy, so at 0.641 of its draw. Less than that was not measured and falls straight to nothing.
"""

_HOPPER = f"{MLPERF}; draw taken as cap/700 W"
_HOPPER_WORK = f"not measured on Hopper: the lower of {PHOENIX} pre-training on A100 and {_HOPPER}"
_LIKE_TRAINING = "this kind was not measured: as training, "

SHAPES: Mapping[tuple[str, str], tuple[Shape, str]] = MappingProxyType(
    {
        ("V100", "Training"): (V100_TRAINING, f"{ZEUS}, 46 set-ups at 100-250 W"),
        ("A40", "Training"): (A40_TRAINING, f"{ZEUS}, 35 set-ups at 100-300 W"),
        ("A100", "Training"): (A100_PRETRAINING, f"{PHOENIX}, pre-training at 100-400 W"),
        ("A100", "Inference"): (A100_SERVING, f"{PHOENIX}, inference at 100-400 W"),
        ("A100", "Batch"): (A100_FINE_TUNING, f"{PHOENIX}, fine-tuning at 100-400 W"),
        ("H100", "Training"): (HOPPER_WORK, _HOPPER_WORK),
        ("H100", "Inference"): (HOPPER_SERVING, f"taken over from H200: {_HOPPER}"),
        ("H100", "Generation"): (HOPPER_SERVING, f"taken over from H200: {_HOPPER}"),
        ("H200", "Training"): (HOPPER_WORK, _HOPPER_WORK),
        ("H200", "Inference"): (HOPPER_SERVING, _HOPPER),
        ("H200", "Generation"): (HOPPER_SERVING, _HOPPER),
        ("B200", "Training"): (BLACKWELL_TENSOR, f"not swept on B200: scaled from {POWER_LAB}"),
        ("B300", "Training"): (BLACKWELL_TENSOR, f"matrix products, no training loop: {POWER_LAB}"),
    }
)
"""Shapes that were measured, by family and kind of work; every other kind of a family runs as its training does."""


def shape_of(family: str, kind: str) -> tuple[Shape, str]:
    """The family's shape for the kind of work, or its training's, and where it is from. KeyError: family unknown."""
    if (family, kind) in SHAPES:
        return SHAPES[family, kind]
    shape, source = SHAPES[family, "Training"]
    return shape, _LIKE_TRAINING + source


TRACKED: Mapping[str, tuple[float, str]] = MappingProxyType(
    {
        "V100": (0.938, f"{ZEUS}: 0.80-0.98"),
        "A40": (0.952, f"{ZEUS}: 0.86-1.00; at its 100 W minimum 1.06, to 1.21"),
        "A100": (0.973, f"{PHOENIX}: 0.95-0.99 at 200 W and more"),
        "H100": (0.985, f"{OPENG2G}: Llama-3.1-8B at 689 W of 700 W"),
        "H200": (0.985, "taken over from H100"),
        "B200": (0.976, f"{ML_ENERGY}: the largest mean of any run, of 1,000 W"),
        "B300": (0.990, "gpu-power-lab: averages at 0.985-0.996 of the cap"),
    }
)
"""Mean draw of a card as a fraction of the cap that bites, with its source. Peaks pass the cap by 5-43 %."""

BATCH_STEPS: Mapping[str, tuple[Step, ...]] = MappingProxyType(
    {
        "H100": (Step(1 / 2, 0.964, 0.777), Step(1 / 4, 0.914, 0.543), Step(1 / 8, 0.850, 0.332)),
        "B200": (Step(1 / 2, 0.979, 0.744), Step(1 / 4, 0.916, 0.536), Step(1 / 8, 0.892, 0.351)),
    }
)
"""LLM serving with fewer sequences at once than the best throughput takes: medians over models, from `ML_ENERGY`.

A weak lever: half the batch saves 2-4 % of the draw and costs a quarter of the speed. In training (`ZEUS`) a smaller
batch saved nothing, so there are no steps for it.
"""


@dataclass(frozen=True, slots=True)
class ModelSwap:
    """A smaller language model in a larger one's place, 128 sequences at once: whole deployments, all GPUs together.

    `speed_frac` counts tokens and may pass 1; what the answers are worth only their owner knows.
    """

    family: str
    large: str
    large_gpus: int
    small: str
    small_gpus: int
    draw_frac: float
    speed_frac: float


MODEL_SWAPS: tuple[ModelSwap, ...] = (
    ModelSwap("H100", "Llama 3.1 405B Instruct FP8", 8, "Llama 3.1 70B Instruct", 4, 0.474, 2.045),
    ModelSwap("H100", "Llama 3.1 70B Instruct", 4, "Llama 3.1 8B Instruct", 1, 0.306, 1.815),
    ModelSwap("H100", "Qwen 3 32B", 2, "Qwen 3 14B", 1, 0.533, 1.146),
    ModelSwap("H100", "Gemma 3 27B", 2, "Gemma 3 12B", 1, 0.518, 0.955),
    ModelSwap("B200", "Llama 3.1 405B Instruct FP8", 4, "Llama 3.1 70B Instruct", 2, 0.497, 1.833),
    ModelSwap("B200", "Llama 3.1 70B Instruct", 2, "Llama 3.1 8B Instruct", 1, 0.235, 1.149),
    ModelSwap("B200", "Qwen 3 32B", 1, "Qwen 3 14B", 1, 0.726, 1.238),
)
"""What swaps free, from `ML_ENERGY` (lm-arena-chat), one run each: the lever that frees the most watts of serving."""

NODE_FLOOR_W = 2400.0
"""Wall draw of an 8xH200 node near idle, its eight idle cards included (`MLPERF`, 1 Hz)."""

NODE_OVERHEAD_W = 2220.0
"""What that node draws beyond its cards under load: median of six runs (1,870-2,360 W), cards at 0.985 of the cap."""
