"""RAPL counters in a folder as the kernel lays it out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.agent.cards import Trouble
from wattlease.agent.node_power import NodePower
from wattlease.agent.node_power.rapl import Rapl, Zone, _drawn_j

WRAPS_UJ = 262_143_328_850
Counters = dict[str, int]


def zone(root: Path, folder: str, name: str, energy_uj: int, wraps_uj: int = WRAPS_UJ) -> None:
    (root / folder).mkdir(exist_ok=True)
    (root / folder / "name").write_text(f"{name}\n")
    (root / folder / "energy_uj").write_text(f"{energy_uj}\n")
    (root / folder / "max_energy_range_uj").write_text(f"{wraps_uj}\n")


def server(root: Path, packages_j: tuple[float, float], dram_j: float) -> None:
    """Two sockets, one with its memory's counter; cores, and the packages' doubles, which must not be counted."""
    (root / "intel-rapl").mkdir(exist_ok=True)
    for socket, energy_j in enumerate(packages_j):
        zone(root, f"intel-rapl:{socket}", f"package-{socket}", int(energy_j * 1e6))
        zone(root, f"intel-rapl:{socket}:0", "core", int(energy_j * 0.9e6))
        zone(root, f"intel-rapl-mmio:{socket}", f"package-{socket}", int(energy_j * 1e6))
    zone(root, "intel-rapl:0:1", "dram", int(dram_j * 1e6))


def power(found: NodePower | Trouble) -> tuple[float, str, bool]:
    assert isinstance(found, NodePower), found
    return round(found.power_w, 6), found.source, found.whole


def text(found: NodePower | Trouble) -> str:
    assert isinstance(found, Trouble), found
    return found.text


@settings(deadline=None)
@given(st.floats(1.0, 1e5), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_counter_that_starts_anew_loses_no_joule(wraps_j: float, at_frac: float, drawn_frac: float) -> None:
    before_j, drawn_j = at_frac * wraps_j, drawn_frac * wraps_j * 0.999
    after_j = (before_j + drawn_j) % wraps_j
    found_j = _drawn_j(Zone("dram", before_j, wraps_j), Zone("dram", after_j, wraps_j))
    assert found_j == pytest.approx(drawn_j, abs=1e-6 * wraps_j)


def test_packages_and_their_memory_are_counted_once(tmp_path: Path) -> None:
    rapl = Rapl(tmp_path)
    server(tmp_path, (1000.0, 2000.0), 500.0)
    assert "next reading" in text(rapl.read(10.0))
    server(tmp_path, (1300.0, 2200.0), 540.0)
    assert power(rapl.read(12.0)) == ((300.0 + 200.0 + 40.0) / 2, "rapl package+dram", False)


def test_a_platforms_counter_is_read_alone(tmp_path: Path) -> None:
    rapl = Rapl(tmp_path)
    server(tmp_path, (1000.0, 2000.0), 500.0)
    zone(tmp_path, "intel-rapl:2", "psys", 5_000_000_000)
    rapl.read(0.0)
    server(tmp_path, (1300.0, 2200.0), 540.0)
    zone(tmp_path, "intel-rapl:2", "psys", 6_100_000_000)
    assert power(rapl.read(1.0)) == (1100.0, "rapl platform", True)


def test_a_counter_rolls_over(tmp_path: Path) -> None:
    rapl = Rapl(tmp_path)
    zone(tmp_path, "intel-rapl:0", "package-0", WRAPS_UJ - 100_000_000)
    rapl.read(0.0)
    zone(tmp_path, "intel-rapl:0", "package-0", 150_000_000)
    assert power(rapl.read(1.0))[0] == 250.0


@pytest.mark.parametrize(
    ("after_uj", "after_s", "told"),
    [
        (9_000_000_000_000, 1.0, "jumped"),
        (5_000_000, 1.0, "jumped"),  # set to zero: as a roll-over it would be 262 kW
        (10_000_000, 1.0, "stands still"),
        (400_000_000, 600.0, "more than once"),
    ],
)
def test_a_reading_that_cannot_be_is_dropped_and_the_next_one_counts(
    tmp_path: Path, after_uj: int, after_s: float, told: str
) -> None:
    rapl = Rapl(tmp_path)
    zone(tmp_path, "intel-rapl:0", "package-0", 10_000_000)
    rapl.read(0.0)
    zone(tmp_path, "intel-rapl:0", "package-0", after_uj)
    assert told in text(rapl.read(after_s))
    zone(tmp_path, "intel-rapl:0", "package-0", after_uj + 200_000_000)
    assert power(rapl.read(after_s + 1.0))[0] == 200.0


def test_asked_twice_at_once_it_says_so_and_forgets_nothing(tmp_path: Path) -> None:
    rapl = Rapl(tmp_path)
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    rapl.read(0.0)
    assert "again within" in text(rapl.read(0.01))
    zone(tmp_path, "intel-rapl:0", "package-0", 100_000_000)
    assert power(rapl.read(1.0))[0] == 100.0


def test_a_socket_that_appears_is_no_jump(tmp_path: Path) -> None:
    rapl = Rapl(tmp_path)
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    rapl.read(0.0)
    server(tmp_path, (100.0, 100.0), 10.0)
    assert "next reading" in text(rapl.read(1.0))


def test_no_counters_and_unreadable_ones_are_told(tmp_path: Path) -> None:
    assert "virtual machine" in text(Rapl(tmp_path).read(0.0))
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("none\n")
    assert "none" in text(Rapl(tmp_path).read(0.0))
