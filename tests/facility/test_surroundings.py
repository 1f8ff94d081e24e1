"""The facility beside a loop: what it tells a tick, who may touch a battery, and what outlives the process."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pymodbus", reason="pymodbus is not installed: pip install wattlease[facility]")
sys.path.insert(0, str(Path(__file__).parent))  # the hall stands in a module beside the tests

from facility_plant import Hall, open_hall
from leased_nodes import until

from wattlease.core.actions import Discharge, Plan
from wattlease.core.api import PowerBudget
from wattlease.core.decide import decide
from wattlease.core.errors import BudgetError
from wattlease.core.memory import FRESH
from wattlease.core.model import Prices, Site
from wattlease.facility import surroundings
from wattlease.facility.battery.batteries import NOBODYS
from wattlease.facility.billing import grams_per_kwh
from wattlease.facility.keeping import Keeping, Remembered
from wattlease.facility.prices.month import MonthPeak
from wattlease.facility.surroundings import FacilitySurroundings
from wattlease.runtime.controller.surroundings import speaks_of_surroundings
from wattlease.runtime.site import site_of


def budget(spec: dict[str, Any], name: str = "hall") -> PowerBudget:
    return PowerBudget.model_validate({"metadata": {"name": name}, "spec": spec})


def pack(name: str) -> dict[str, Any]:
    return {"name": name, "capacityWattHours": 1000, "maxChargeWatts": 100, "maxDischargeWatts": 100}


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    async with open_hall(tmp_path) as opened:
        yield opened


def site_with(hall: Hall, *budgets: PowerBudget) -> Site:
    told = hall.settings(hall.spec(4000))
    return site_of("hall", told.groups, budgets, ())


@asynccontextmanager
async def running(around: FacilitySurroundings) -> AsyncIterator[None]:
    task = asyncio.create_task(around.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def asked(around: FacilitySurroundings, site: Site, for_s: float) -> None:
    """A loop that leads asks each tick."""
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s:
        around.around(site, time.time())
        await asyncio.sleep(0.1)


# --- what a tick is told ---


async def test_storages_stand_beside_the_sites_by_name_and_one_that_nobody_reaches_is_unavailable(hall: Hall) -> None:
    named = budget(hall.spec(4000))
    around = FacilitySurroundings([named], hall.folder)
    spec = hall.spec(4000)
    spec["storage"] = [pack("new"), *spec["storage"]]
    site = site_with(hall, budget(spec))
    async with running(around):
        await asked(around, site, 2.5)
        new, known = around.around(site, time.time()).storages
    assert [unit.id for unit in site.storages] == ["new", "pack"]
    assert new == NOBODYS
    assert known.available
    assert known.soc_frac == pytest.approx(0.8, abs=0.01)


async def test_the_feed_is_told_in_the_place_of_its_scope(hall: Hall) -> None:
    root, hall_budget = budget({"limitWatts": 9000}, "site"), budget(hall.spec(4000, parent="site"))
    around = FacilitySurroundings([hall_budget, root], hall.folder)
    site = site_with(hall, hall_budget, root)
    async with running(around):
        await asked(around, site, 2.5)
        (reading,) = around.around(site, time.time()).meters
        (shown,) = around.standing().meters
    assert site.scopes[reading.scope].id == "hall"
    assert reading.power_w == pytest.approx(hall.feed_w, abs=10.0)
    assert reading.age_s < 3.0
    assert (shown.state, shown.scope) == ("Good", "hall")


async def test_budgets_that_do_not_fit_change_nothing(hall: Hall, caplog: pytest.LogCaptureFixture) -> None:
    named = budget(hall.spec(4000))
    around = FacilitySurroundings([named], hall.folder)
    twin = budget({"limitWatts": 2000, "parent": "hall", "storage": [pack("pack")]}, "rack")
    good, bad = site_with(hall, named), site_with(hall, named, twin)
    async with running(around):
        await asked(around, good, 2.5)
        with caplog.at_level(logging.ERROR):
            await asked(around, bad, 0.5)
        told = around.around(bad, time.time())
    assert [record.message for record in caplog.records if "pack" in record.message] == [
        "budgets: storage 'pack' is named in two budgets; give each battery a name of its own; "
        "what was followed before is followed on"
    ]
    assert told.meters


def test_tariffs_that_differ_are_refused(tmp_path: Path) -> None:
    night, day = ({"periods": [{"name": n, "pricePerKilowattHour": 0.1}]} for n in ("night", "day"))
    root = budget({"limitWatts": 9000, "tariff": night}, "site")
    with pytest.raises(BudgetError, match="budgets 'site' and 'hall' have tariffs that differ"):
        FacilitySurroundings([root, budget({"limitWatts": 900, "parent": "site", "tariff": day})], tmp_path)
    FacilitySurroundings([root, budget({"limitWatts": 900, "parent": "site", "tariff": night})], tmp_path)


async def test_hours_with_a_price_and_a_cap_on_carbon_reach_the_tick(hall: Hall) -> None:
    tariff = {
        "periods": [{"name": "always", "pricePerKilowattHour": 0.3}],
        "carbonGramsPerKilowattHour": 400.0,
        "carbonCap": {"tonnes": 0.01, "per": "Day"},
    }
    named = budget(hall.spec(4000, tariff=tariff))
    around = FacilitySurroundings([named], hall.folder)
    site = site_with(hall, named)
    async with running(around):
        await asked(around, site, 3.5)
        told = around.around(site, time.time())
    assert told.prices.energy_per_kwh.tolist() == [0.3]
    (window,) = told.windows
    assert (window.name, window.scope) == ("carbon-cap", 0)
    assert 1600.0 <= window.limit_w < 4000.0


async def test_what_the_converter_allows_now_reaches_the_tick(hall: Hall) -> None:
    named = budget(hall.spec(4000))
    around = FacilitySurroundings([named], hall.folder)
    site = site_with(hall, named)
    hall.battery.map.put(802, WDisChaRteMax=30, WChaRteMax=20)
    async with running(around):
        await asked(around, site, 2.5)
        (known,) = around.around(site, time.time()).storages
    assert (known.max_discharge_w, known.max_charge_w) == (300.0, 200.0)


@pytest.mark.parametrize(("days_ago", "peak_w", "before_w"), [(0, 3500.0, 3000.0), (62, 0.0, 3500.0)])
def test_the_months_peak_and_that_of_the_month_before_reach_the_tick_from_disk(
    hall: Hall, days_ago: int, peak_w: float, before_w: float
) -> None:
    named = budget(hall.spec(4000, demandCharge={"targetWatts": 3900, "pricePerKilowatt": 15}))
    month = datetime.fromtimestamp(time.time() - 86_400.0 * days_ago, UTC).strftime("%Y-%m")
    kept = Remembered(peaks={"hall": MonthPeak(month, 3500.0, 3.0, before_w=3000.0)})
    Keeping(hall.folder / "facility" / "kept.json").save(kept)
    around = FacilitySurroundings([named], hall.folder)
    told = around.around(site_with(hall, named), time.time())
    (peak,) = told.peaks
    assert (peak.scope, peak.peak_w, peak.before_w) == (0, peak_w, before_w)


# --- who touches a battery ---


async def test_who_does_not_lead_asks_nobody_and_orders_nothing(hall: Hall) -> None:
    around = FacilitySurroundings([budget(hall.spec(4000))], hall.folder)
    async with running(around):
        await asyncio.sleep(1.5)
    assert not hall.battery.writes
    assert not hall.meter.asked


async def test_who_leads_no_more_lets_the_battery_go(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "SLOW_TICK_S", 1.0)
    monkeypatch.setattr(surroundings, "LEADS_S", 2.0)
    named = budget(hall.spec(4000))
    around = FacilitySurroundings([named], hall.folder)
    site = site_with(hall, named)
    async with running(around):
        await asked(around, site, 2.0)
        around.act(*ordered(hall, site, 600.0))
        await until(lambda: hall.battery_w == 600.0)
        await until(lambda: hall.battery_w == 0.0)
        await asyncio.sleep(0.5)
        before = len(hall.battery.writes)
        await asyncio.sleep(1.5)
        assert len(hall.battery.writes) == before


async def test_between_two_ticks_the_battery_helps_where_the_feed_is_over_its_limit(hall: Hall) -> None:
    named = budget(hall.spec(4000))
    around = FacilitySurroundings([named], hall.folder)
    site = site_with(hall, named)
    async with running(around):
        await asked(around, site, 2.5)
        around.act(*ordered(hall, site, 0.0))
        hall.cooling_w = 3500.0
        await until(lambda: hall.battery_w > 500.0 and hall.feed_w <= 4100.0)


async def test_in_shadow_no_battery_is_touched_whatever_a_lower_budget_says(hall: Hall) -> None:
    root, lower = budget({"limitWatts": 9000, "mode": "Shadow"}, "site"), budget(hall.spec(4000, parent="site"))
    around = FacilitySurroundings([root, lower], hall.folder)
    site = site_with(hall, root, lower)
    async with running(around):
        await asked(around, site, 3.0)
        (state,) = around.around(site, time.time()).storages
    assert state.available
    assert not hall.battery.writes


def ordered(hall: Hall, site: Site, power_w: float) -> tuple[Any, Plan]:
    """A snapshot of the site without a job, and its plan with this order to the battery."""
    snapshot = hall.snapshot(site)
    plan, _ = decide(snapshot, FRESH)
    return snapshot, replace(plan, actions=(Discharge("pack", power_w),), why=("as told",))


# --- what outlives the process ---


async def test_wear_and_the_months_peak_are_on_disk_for_who_leads_next(hall: Hall) -> None:
    charge = {"windowSeconds": 60, "targetWatts": 3000}
    named = budget(hall.spec(4000, demandCharge=charge))
    site = site_with(hall, named)
    around = FacilitySurroundings([named], hall.folder)
    async with running(around):
        await asked(around, site, 2.0)
        around.act(*ordered(hall, site, 600.0))
        await until(lambda: hall.battery_w == 600.0)
        await asked(around, site, 2.5)
    successor = FacilitySurroundings([named], hall.folder)
    successor.around(site, time.time())
    assert successor.standing().peaks["hall"].energy_j > 0.0
    kept = Keeping(hall.folder / "facility" / "kept.json").load()
    assert 0.0 < kept.batteries["pack"].discharged_joules < 600.0 * 60.0


def test_what_is_remembered_survives_the_disk(tmp_path: Path) -> None:
    keeping = Keeping(tmp_path / "facility" / "kept.json")
    remembered = Remembered(peaks={"hall": MonthPeak("2026-11", 1.1e6, 3.0)})
    keeping.save(remembered)
    assert keeping.load() == remembered


def test_a_broken_file_is_told_and_all_is_counted_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "kept.json").write_text('{"batteries": 3}')
    assert Keeping(tmp_path / "kept.json").load() == Remembered()
    assert "counted anew" in caplog.text


# --- the mean of what carbon is ahead ---

grams = st.lists(st.tuples(st.floats(1.0, 1e5), st.floats(0.0, 2000.0)), min_size=1, max_size=8)


@given(grams, st.floats(0.0, 2e5), st.floats(0.0, 2e5))
@settings(max_examples=100, deadline=None)
def test_the_mean_is_never_outside_of_what_is_known(
    steps: list[tuple[float, float]], from_s: float, for_s: float
) -> None:
    at_s, value = np.cumsum([step for step, _ in steps]), np.array([g for _, g in steps])
    mean = grams_per_kwh(Prices(at_s, np.zeros(len(at_s)), value), from_s, from_s + for_s)
    assert value.min() - 1e-6 <= mean <= value.max() + 1e-6


def test_each_part_of_a_span_counts_by_its_length() -> None:
    prices = Prices(np.array([0.0, 100.0]), np.zeros(2), np.array([100.0, 500.0]))
    assert grams_per_kwh(prices, 50.0, 250.0) == pytest.approx((50 * 100 + 150 * 500) / 200)


# --- which budgets need all this ---


@pytest.mark.parametrize(
    ("spec", "speaks"),
    [
        ({}, False),
        ({"meters": [{"name": "m", "kind": "Virtual"}]}, False),
        ({"meters": [{"name": "m", "kind": "SunSpec", "sunSpec": {"host": "meter"}}]}, True),
        ({"storage": [pack("a")]}, True),
        ({"tariff": {"pricePerKilowattHour": 0.2}}, False),
        ({"tariff": {"periods": [{"name": "day", "pricePerKilowattHour": 0.2}]}}, True),
        ({"tariff": {"feed": {"file": {"path": "prices.csv"}}}}, True),
        ({"tariff": {"carbonCap": {"tonnes": 5}}}, True),
        ({"guaranteedWatts": 10, "gridEvents": {"file": {"path": "events.yaml"}}}, True),
    ],
)
def test_a_budget_that_names_what_must_be_followed_is_recognised(spec: dict[str, Any], speaks: bool) -> None:
    assert speaks_of_surroundings(budget({"limitWatts": 1000, **spec})) == speaks
