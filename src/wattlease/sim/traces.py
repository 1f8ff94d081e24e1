"""Readers of public measurements; each says what is missing where the folder is not at hand.

None of the files is part of the project: `data/README.md` of the folder names their sources and licences.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from wattlease.core.errors import BudgetError
from wattlease.core.model import Floats, Ints

GRID_ZONES = {"california": "US-CAL-CISO", "texas": "US-TEX-ERCO"}


@dataclass(frozen=True, slots=True)
class PhillyJobs:
    """GPU jobs of Microsoft's Philly: seconds after the trace's first submission, seconds, GPUs, virtual cluster."""

    submit_s: Floats
    duration_s: Floats
    gpus: Ints
    owner: tuple[str, ...]

    def taken(self, index: Ints) -> PhillyJobs:
        """These of the jobs."""
        return PhillyJobs(
            self.submit_s[index], self.duration_s[index], self.gpus[index], tuple(self.owner[i] for i in index)
        )

    def between(self, since_s: float, zero_s: float, until_s: float) -> PhillyJobs:
        """Jobs submitted in [since, until), counted from `zero_s`; those before it wait at 0, in their order."""
        chosen = self.taken(np.flatnonzero((self.submit_s >= since_s) & (self.submit_s < until_s)))
        return PhillyJobs(np.maximum(chosen.submit_s - zero_s, 0.0), chosen.duration_s, chosen.gpus, chosen.owner)


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests a second, constant over `step_s` from 0 on; the last repeats from the first."""

    step_s: float
    per_s: Floats

    def at(self, t_s: float) -> float:
        """The rate at a time; the series repeats."""
        return float(self.per_s[int(t_s // self.step_s) % len(self.per_s)])


@dataclass(frozen=True, slots=True)
class FieldTrace:
    """Draw of a site at unix seconds."""

    t_s: Floats
    power_w: Floats


@dataclass(frozen=True, slots=True)
class Occupancy:
    """A cluster of Helios by the minute: GPUs there, GPUs running and GPUs waited for."""

    t_s: Floats
    gpus: Floats
    running: Floats
    pending: Floats


@dataclass(frozen=True, slots=True)
class GridHours:
    """Hourly price (money per kWh) and carbon (g per kWh) at unix seconds."""

    at_s: Floats
    energy_per_kwh: Floats
    carbon_g_per_kwh: Floats


def data_folder(named: str = "") -> Path:
    """The folder of public measurements: the one named, else `shared/data` beside the checkout. BudgetError if none."""
    folder = Path(named) if named else Path(__file__).resolve().parents[4] / "shared" / "data"
    if not folder.is_dir():
        where = f"there is no folder '{named}'" if named else "there is no folder shared/data beside the checkout"
        raise BudgetError(f"dataFolder: {where}; name the folder that holds the public traces, or do without them")
    return folder


def philly(folder: Path) -> PhillyJobs:
    """All GPU jobs of Philly, by submit time."""
    rows = [r for r in _rows(folder / "philly" / "philly.csv") if len(r) == 5 and float(r[1]) > 0]
    submit = np.array([datetime.fromisoformat(r[0] + "+00:00").timestamp() for r in rows])
    order = np.argsort(submit, kind="stable")
    jobs = PhillyJobs(
        submit - submit.min(),
        np.array([float(r[1]) for r in rows]),
        np.array([int(r[2]) for r in rows]),
        tuple(r[4] for r in rows),
    )
    return jobs.taken(order)


def azure_rates(folder: Path, kind: str = "conv") -> Rates:
    """Requests a second of Azure's LLM service in ten-second bins over an hour; `kind` is `conv` or `code`."""
    rows = _rows(folder / "azure-llm-2023" / f"AzureLLMInferenceTrace_{kind}.csv")
    # seven digits of a second are more than Python 3.11 reads
    t = np.array([datetime.fromisoformat(r[0][:26] + "+00:00").timestamp() for r in rows if r])
    counts, _ = np.histogram(t - t.min(), bins=np.arange(0.0, np.ptp(t) + 10.0, 10.0))
    return Rates(10.0, counts / 10.0)


def servegen_rates(folder: Path) -> Rates:
    """Requests a second of ServeGen's m-small, all clients together, in ten-minute windows over 14 days."""
    total: dict[float, float] = {}
    for path in sorted(_folder(folder / "servegen" / "m-small").glob("chunk-*-trace.csv")):
        for row in _rows(path, header=False):
            total[float(row[0])] = total.get(float(row[0]), 0.0) + float(row[1] or 0.0)
    return Rates(600.0, np.array([total[t] for t in sorted(total)]))


def helios(folder: Path) -> Occupancy:
    """31 days of a Helios cluster by the minute."""
    rows = list(_dicts(folder / "helios" / "Earth_vc6YE_cluster_sequence_vc.csv"))
    t = np.array([datetime.fromisoformat(r["time"] + "+00:00").timestamp() for r in rows])
    gpus, running, pending = (
        np.array([float(r[name]) for r in rows]) for name in ("total_gpu_num", "running_gpu_num", "pending_gpu_num")
    )
    return Occupancy(t, gpus, running, pending)


def phoenix_power(folder: Path) -> FieldTrace:
    """One-minute GPU power of 256 A100 through the demand-response event of May 2025."""
    rows = list(_rows(folder / "emerald-phoenix" / "SRP_total_power.csv"))
    t = np.array([datetime.fromisoformat(r[0]).timestamp() for r in rows])
    return FieldTrace(t, np.array([float(r[1]) for r in rows]))


def grid_hours(folder: Path, zone: str) -> GridHours:
    """Prices and carbon of 2024 by the hour; `zone` is `california` or `texas`."""
    name = GRID_ZONES[zone]
    prices = list(_dicts(folder / "grid-2024" / "prices" / f"{name}_2024.csv"))
    carbon = list(_dicts(folder / "grid-2024" / "carbon" / f"{name}_2024_hourly.csv"))
    at = np.array([datetime.fromisoformat(r["Datetime (UTC)"]).timestamp() for r in prices])
    per_kwh = np.array([float(r["Price (USD/MWh)"]) for r in prices]) / 1000.0
    carbon_at = np.array([datetime.fromisoformat(r["Datetime (UTC)"] + "+00:00").timestamp() for r in carbon])
    grams = np.array([float(r["Carbon Intensity gCO₂eq/kWh (direct)"]) for r in carbon])
    return GridHours(at, per_kwh, np.interp(at, carbon_at, grams))


def _rows(path: Path, header: bool = True) -> Iterator[list[str]]:
    with _open(path).open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        if header:
            next(lines)
        yield from (line for line in lines if line)


def _dicts(path: Path) -> Iterator[dict[str, str]]:
    with _open(path).open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)


def _open(path: Path) -> Path:
    if not path.is_file():
        raise BudgetError(f"trace {path.parent.name}/{path.name} is missing in '{path.parent.parent}'; put it there")
    return path


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise BudgetError(f"trace folder {path.parent.name}/{path.name} is missing; put it into the data folder")
    return path
