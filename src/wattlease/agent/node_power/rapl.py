"""Processors and memory by the kernel's running average power limit (RAPL) counters.

Zones overlap: a package holds its cores and its graphics, the platform (psys) holds everything. So the platform's
counter is read alone where there is one, else every package with its memory, which no package counts. The same
packages show up once more as `intel-rapl-mmio`; those are left out. AMD's have the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wattlease.agent.cards import Trouble
from wattlease.agent.node_power import NodePower

ROOT = Path("/sys/class/powercap")

ZONE_MAX_W = 2_000.0
"""No package or memory channel draws as much (the largest packages are rated 500 W); more is a counter's jump."""

PLATFORM_MAX_W = 20_000.0
"""No node draws as much."""

SPAN_MIN_S = 0.05
"""The counters move about every millisecond; over a shorter span the last move decides the power."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A counter: joules since it was last at zero, and the joules at which it starts anew."""

    name: str
    energy_j: float
    wraps_j: float

    @property
    def max_w(self) -> float:
        """The power above which two of its readings do not belong together."""
        return PLATFORM_MAX_W if self.name == "psys" else ZONE_MAX_W


class Rapl:
    """Powers from the counters; each call tells the mean since the one before."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._before: dict[str, Zone] = {}
        self._before_s = 0.0

    def read(self, now_s: float) -> NodePower | Trouble:
        """The mean power since the last call, by a clock that only counts up; Trouble where it cannot be told."""
        zones = zones_of(self._root)
        if isinstance(zones, Trouble):
            self._before = {}
            return zones
        before, span_s = self._before, now_s - self._before_s
        if before.keys() == zones.keys() and span_s < SPAN_MIN_S:
            return Trouble(f"{self._root}: asked again within {SPAN_MIN_S:g} s")
        self._before, self._before_s = zones, now_s
        if before.keys() != zones.keys():
            return Trouble(f"{self._root}: counters found; their power is known from the next reading on")
        return _power(self._root, before, zones, span_s)


def zones_of(root: Path = ROOT) -> dict[str, Zone] | Trouble:
    """The counters that together hold everything once, by the folder of each."""
    try:
        named = {path: (path / "name").read_text().strip() for path in sorted(root.glob("intel-rapl:*"))}
        counted = _counted(named)
        if not counted:
            return Trouble(f"{root}: no RAPL counters here (a virtual machine, or a kernel without intel_rapl)")
        return {path.name: _zone(path, named[path]) for path in counted}
    except PermissionError as error:
        return Trouble(f"{error.filename}: only root may read it (CVE-2020-8694); run the agent as root")
    except (OSError, ValueError) as error:
        return Trouble(f"{root}: {error}")


def _counted(named: Mapping[Path, str]) -> list[Path]:
    platform = [path for path, name in named.items() if name == "psys"]
    return platform or [path for path, name in named.items() if name.startswith("package") or name == "dram"]


def _zone(path: Path, name: str) -> Zone:
    energy_uj = int((path / "energy_uj").read_text())
    wraps_uj = int((path / "max_energy_range_uj").read_text())
    return Zone(name, energy_uj / 1e6, wraps_uj / 1e6)


def _power(root: Path, before: Mapping[str, Zone], now: Mapping[str, Zone], span_s: float) -> NodePower | Trouble:
    power_w = 0.0
    for key, zone in now.items():
        drawn_j = _drawn_j(before[key], zone)
        if not 0.0 < drawn_j <= zone.max_w * span_s:
            what = "stands still" if drawn_j == 0.0 else f"jumped by {drawn_j:.0f} J in {span_s:.1f} s"
            return Trouble(f"{root / key} ({zone.name}): {what}; this reading is dropped")
        if zone.wraps_j < zone.max_w * span_s:
            return Trouble(
                f"{root / key} ({zone.name}): may have wrapped more than once in {span_s:.0f} s; read sooner"
            )
        power_w += drawn_j / span_s
    whole = any(zone.name == "psys" for zone in now.values())
    return NodePower(power_w, 0.0, "rapl platform" if whole else "rapl package+dram", whole)


def _drawn_j(before: Zone, now: Zone) -> float:
    drawn_j = now.energy_j - before.energy_j
    return drawn_j if drawn_j >= 0.0 else drawn_j + now.wraps_j
