from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlease.core.actions import Charge, Discharge
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH
from wattlease.core.model import Snapshot, Storage, StorageUnit
from wattlease.core.storage_plan import StoragePlan
from wattlease.core.storing import REPLAN_S, Stores, set_points_w, to_scopes
from wattlease.core.tick import assess
from wattlease.sim import instances
from wattlease.sim.instances import Shape

MOST_W = 5000.0
PACK = StorageUnit("pack", 0, 3.6e7, MOST_W, MOST_W, reserve_frac=0.2, fade_frac=0.1, wear_per_kwh=1e6)
"""10 kWh, and so dear to wear that the fit itself never asks for it: only the plan of the day does."""


def site(limit_frac: float, soc_frac: float = 0.8, unit: StorageUnit = PACK, racks: int = 1) -> Snapshot:
    shape = Shape(running=4, sizes=(8,), limit_frac=limit_frac, racks=racks)
    snapshot = instances.snapshot(np.random.default_rng(9), shape)
    state = Storage(soc_frac, 1.0, 0.0, 1.0, True)
    return replace(snapshot, site=replace(snapshot.site, storages=(unit,)), storages=(state,))


def day(snapshot: Snapshot, power_w: float) -> StoragePlan:
    """A plan of the day that gives (positive) or takes the same power throughout."""
    flat = np.full(96, power_w)
    return StoragePlan(snapshot.now_s - 1800.0, 900.0, flat, np.full(96, 0.5), 0.0 * flat, 0.0, 0.0, 0.0)


def planned(snapshot: Snapshot, power_w: float) -> tuple[float, float]:
    """The battery's set point (positive when it gives) and the watts of all jobs, under such a plan of the day."""
    memory = replace(FRESH, storage_plans=(day(snapshot, power_w),), storage_planned_s=snapshot.now_s)
    plan, _ = decide(snapshot, memory)
    (order,) = (a for a in plan.actions if isinstance(a, Charge | Discharge))
    return (order.power_w if isinstance(order, Discharge) else -order.power_w), float(plan.job_w.sum())


def test_the_help_of_a_battery_fades_to_nothing_above_its_reserve() -> None:
    help_w = [float(assess(site(0.9, soc), FRESH)[0].stores.help_w[0]) for soc in (0.8, 0.25, 0.22, 0.2, 0.1)]
    assert help_w[0] == MOST_W
    assert help_w[0] > help_w[1] > help_w[2] > help_w[3] == help_w[4] == 0.0


@pytest.mark.parametrize("change", [{"available": False}, {"age_s": 60.0}, {"soc_frac": float("nan")}])
def test_a_battery_that_cannot_be_relied_on_helps_nobody(change: dict[str, Any]) -> None:
    snapshot = site(0.9)
    lost = replace(snapshot, storages=(replace(snapshot.storages[0], **change),))
    assert assess(lost, FRESH)[0].stores.help_w[0] == 0.0


def test_a_battery_helps_its_scope_and_all_above_it_and_no_other() -> None:
    tick, _ = assess(site(0.9, unit=replace(PACK, scope=2), racks=3), FRESH)
    assert tick.stores.help_w.tolist() == [MOST_W, 0.0, MOST_W, 0.0]


def test_planned_discharge_lowers_what_jobs_must_give() -> None:
    snapshot = site(0.85)
    idle, alone_w = planned(snapshot, 0.0)
    given, helped_w = planned(snapshot, 4000.0)
    assert idle == pytest.approx(0.0, abs=1.0)
    assert given == pytest.approx(4000.0, abs=1.0)
    assert helped_w - alone_w == pytest.approx(4000.0, rel=0.01)


def test_no_more_is_discharged_than_can_be_sustained() -> None:
    low = site(0.8, soc_frac=0.22)
    most_w = float(assess(low, FRESH)[0].stores.help_w[0])
    given, _ = planned(low, 4000.0)
    assert 0.0 < given == pytest.approx(most_w)
    assert most_w < 1000.0


def test_a_battery_charges_only_from_what_is_left() -> None:
    roomy, tight = site(1.5), site(0.8)
    assert planned(roomy, -3000.0)[0] == -3000.0
    assert planned(tight, -3000.0)[0] == pytest.approx(0.0, abs=1.0)
    draw_w = assess(roomy, FRESH)[0].known.draw_w[0]
    some = instances.limited(roomy, draw_w + 1000.0)
    assert -1001.0 < planned(some, -3000.0)[0] < -500.0


@given(st.lists(st.floats(-500.0, 9000.0), min_size=4, max_size=4), st.integers(0, 3), st.integers(0, 3))
def test_what_charges_below_a_scope_is_never_more_than_is_left_in_it(left_w: list[float], one: int, two: int) -> None:
    """Of nested scopes those in the middle count too."""
    snapshot = site(0.9, racks=3)
    scopes = tuple(replace(scope, parent=s - 1) for s, scope in enumerate(snapshot.site.scopes))
    units = (replace(PACK, scope=one), replace(PACK, id="second", scope=two))
    nested = replace(snapshot.site, scopes=scopes, storages=units)
    snapshot = replace(snapshot, site=nested, storages=2 * snapshot.storages)
    stored = Stores(np.zeros(2), np.full(2, MOST_W), np.zeros(2), np.zeros(4))
    power_w = set_points_w(snapshot, stored, np.zeros(2), np.array(left_w))
    assert (power_w <= 0.0).all()
    assert (to_scopes(snapshot, -power_w) <= np.maximum(left_w, 0.0) + 1e-6).all()
    assert power_w[0] == -min(MOST_W, *(max(watts, 0.0) for watts in left_w[: one + 1]))


def test_charging_takes_no_watt_from_a_job() -> None:
    snapshot = instances.limited(site(1.0), assess(site(1.0), FRESH)[0].known.draw_w[0] + 1000.0)
    assert planned(snapshot, -3000.0)[1] == pytest.approx(planned(snapshot, 0.0)[1])


def test_the_plan_of_the_day_is_renewed_when_it_is_due() -> None:
    snapshot = site(0.9)
    _, memory = assess(snapshot, FRESH)
    assert len(memory.storage_plans) == 1
    soon = assess(replace(snapshot, now_s=snapshot.now_s + REPLAN_S - 1), memory)[1]
    due = assess(replace(snapshot, now_s=snapshot.now_s + REPLAN_S), memory)[1]
    assert soon.storage_plans is memory.storage_plans
    assert due.storage_plans is not memory.storage_plans
