"""The GPU models that Wattlease knows: their range of power limits, their idle draw, and the names they go by.

Where an agent reads a card's own limits from the driver, those hold; this table stands in until then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from wattlease.core.model import CardModel


@dataclass(frozen=True, slots=True)
class GpuModel:
    """A GPU model's rated power, the least limit its driver takes, and its draw without work; watts per card."""

    name: str
    rated_w: float
    min_cap_w: float
    idle_w: float
    source: str

    @property
    def family(self) -> str:
        """The name under which its curves are kept: all forms of a chip share their shapes."""
        return self.name.partition("-")[0].removeprefix("G")

    @property
    def card(self) -> CardModel:
        """The same card as a site lists it."""
        return CardModel(self.name, self.rated_w, self.min_cap_w, self.idle_w)


_MIN = "least limit assumed as H100's"
_SHEET = f"rated as in NVIDIA's data sheet; {_MIN}"

_TABLE = (
    GpuModel("V100", 300.0, 150.0, 45.0, "SXM2: range in nvidia-docker issue 1076; idle assumed"),
    GpuModel("V100-PCIE", 250.0, 100.0, 35.0, "range swept in Zeus, NSDI'23; idle assumed"),
    GpuModel("A40", 300.0, 100.0, 31.0, "range swept in Zeus, NSDI'23; idle 30.5 W in nvidia-docker issue 1447"),
    GpuModel("A100", 400.0, 100.0, 60.0, "SXM4: range swept in the Phoenix trial; idle assumed"),
    GpuModel("A100-PCIE", 300.0, 150.0, 50.0, "80 GB: range of a public sweep; idle assumed"),
    GpuModel("H100", 700.0, 200.0, 75.0, "SXM5: range and 64 W idle in NVIDIA's DGX manual; 79 W idle at a site"),
    GpuModel("H100-PCIE", 350.0, 200.0, 55.0, f"{_SHEET}; idle assumed"),
    GpuModel("H100-NVL", 400.0, 200.0, 50.0, f"{_SHEET}; idle 49 W of Cornell's H100, which never passes 400 W"),
    GpuModel("H200", 700.0, 200.0, 80.0, "SXM5: on H100's board; idle assumed a little higher for its memory"),
    GpuModel("H200-NVL", 600.0, 200.0, 75.0, f"{_SHEET}; idle assumed"),
    GpuModel("B200", 1000.0, 200.0, 140.0, f"runs at up to 976 W in ML.ENERGY; {_MIN}; idle assumed"),
    GpuModel("GB200", 1200.0, 200.0, 160.0, f"1,200 W in arXiv 2605.24461 (Meta); {_MIN}; idle assumed"),
    GpuModel("B300", 1100.0, 200.0, 182.0, f"gpu-power-lab: 1,100 W, 182 W with a model resident; {_MIN}"),
    GpuModel("GB300", 1400.0, 200.0, 190.0, f"1,400 W in facebookexperimental/triton pull 2023; {_MIN}; idle assumed"),
)

GPU_MODELS: Mapping[str, GpuModel] = MappingProxyType({model.name: model for model in _TABLE})
"""All models by name; a bare chip's name is its SXM form where there is one."""

_CHIP = re.compile(r"gb300|b300|gb200|b200|h200|h100|a100|a40|v100s?")


def gpu_model(name: str) -> GpuModel | None:
    """The model that a product string or a scheduler's label names ("NVIDIA H100 80GB HBM3", "a100-pcie"), or None."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    chip = next((found for found in map(_CHIP.fullmatch, words) if found), None)
    if chip is None:
        return None
    bare = chip[0].removesuffix("s").upper()
    form = "PCIE" if "pcie" in words or chip[0] == "v100s" else "NVL" if "nvl" in words else ""
    return GPU_MODELS.get(f"{bare}-{form}", GPU_MODELS[bare])
