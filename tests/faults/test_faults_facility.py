"""One run through all that goes wrong around a hall, one after the other and some of it at once, on real protocols.

What takes half a minute or more is shortened: a frozen meter is told after 8 s in place of 30, and a battery that
refused is tried again after 4 s in place of 60.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("pymodbus", reason="pymodbus is not installed: pip install wattlease[facility]")
pytest.importorskip("openleadr", reason="openleadr is not installed: pip install wattlease[facility]")

from fault_facility import GIVES_W, LIMIT_W, OLD_S, TOLD_PRICE, WRITTEN_PRICE
from fault_facility_kinds import FAULTS
from fault_facility_run import Run, in_time, run, table
from fault_picture import picture

from wattlease.facility import equipment
from wattlease.facility.battery.batteries import Batteries
from wattlease.facility.battery.belief import USUAL
from wattlease.facility.meters import judging

pytestmark = pytest.mark.timeout(600)

NAMES = tuple(fault.__name__ for fault in FAULTS)
OF_THE_METER = tuple(name for name in NAMES if name.startswith("the_meter"))
NOTHING_W = 1780.0
"""Both nodes at their least limits, and the cooling."""


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """Those that were made: a test that is tried again looks at another run."""
    return []


@pytest.fixture
def ran(runs: list[Run], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    tries: int = getattr(request.node, "execution_count", 1)
    if len(runs) < tries:
        monkeypatch.setattr(judging, "FROZEN_S", 8.0)
        monkeypatch.setattr(equipment, "Batteries", partial(Batteries, patience=replace(USUAL, retry_s=4.0)))
        runs.append(asyncio.run(run(tmp_path)))
        print(table(runs[-1]), picture(runs[-1]), sep="\n")
    return runs[tries - 1]


@pytest.mark.parametrize("name", NAMES)
def test_the_limit_holds_while(ran: Run, name: str) -> None:
    looks = ran.looks_of(name)
    over = [look for look in looks if look.limit_frac > 1.0]
    assert not over, f"{len(over)} of {len(looks)} looks, the first {over[0]}, the last {over[-1]}"
    assert len(looks) > 40, "the meter of the tests stood still"


@pytest.mark.parametrize("name", NAMES)
def test_all_comes_back_after(ran: Run, name: str) -> None:
    spell = ran.spells[name]
    assert spell.seen, "it was not seen as what it is"
    assert spell.back_s is not None, "limits, battery and meter are not as they were"


@pytest.mark.parametrize("name", OF_THE_METER)
def test_nobody_is_cut_while(ran: Run, name: str) -> None:
    assert min(look.may_w for look in in_time(ran.looks_of(name))) > 0.9 * (LIMIT_W + GIVES_W)


def test_nodes_are_never_cut_to_nothing(ran: Run) -> None:
    assert min(look.may_w for look in in_time(ran.looks)) > 1.2 * NOTHING_W


def test_the_price_feed_is_hours_old_and_runs_out(ran: Run) -> None:
    first, last = ran.prices
    assert first.age_s == pytest.approx(OLD_S, abs=600.0)
    assert (first.price, last.price) == (TOLD_PRICE, WRITTEN_PRICE)
    assert "503" in last.text
