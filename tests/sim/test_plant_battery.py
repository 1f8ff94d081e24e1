import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.actions import Charge, Discharge
from wattlease.core.model import StorageUnit
from wattlease.sim.battery import Batteries
from wattlease.sim.plant import Plant

UNIT = StorageUnit("pack", 0, 1.8e6, 2000.0, 3000.0, 0.2, round_trip_frac=0.81)


@settings(max_examples=100, deadline=None)
@given(orders=st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=40), soc=st.floats(0, 1))
def test_charge_and_power_stay_within_their_bounds_whatever_is_ordered(orders: list[float], soc: float) -> None:
    pack = Batteries([UNIT], soc, 60.0)
    for i, power_w in enumerate(orders):
        pack.order("pack", power_w)
        pack.refresh(i * 30.0)
        drawn_w = pack.run(i * 30.0, 30.0, 3)
        assert 0.0 <= pack.soc_frac[0] <= 1.0
        assert -2000.0 <= drawn_w[0, 0] <= 3000.0


def test_a_round_trip_loses_what_it_is_said_to_lose() -> None:
    pack = Batteries([UNIT], 0.5, 1e9)
    pack.refresh(0.0)
    pack.order("pack", -1000.0)
    for t in range(60):
        pack.run(float(t), 1.0, 1)
    stored = pack.soc_frac[0]
    assert (stored - 0.5) * UNIT.capacity_j == pytest.approx(60_000 * 0.9)
    pack.order("pack", 1000.0)
    given_j = 0.0
    while pack.soc_frac[0] > 0.5:
        given_j += pack.run(60.0, 0.1, 1)[0, 0] * 0.1
    assert given_j == pytest.approx(60_000 * 0.81, rel=0.01)


def test_a_battery_goes_idle_when_nobody_refreshes_its_order(small, order) -> None:
    plant = Plant(small(storageReversionSeconds=20), 1)
    plant.act(order(plant.observe(), Discharge("pack", 1500.0)))
    assert plant.advance(19.0).storage_w[-1, 0] == 1500.0
    plant.advance(2.0)
    assert plant.advance(1.0).storage_w[-1, 0] == 0.0


def test_the_feed_falls_by_what_is_discharged_and_rises_by_what_is_charged(small, order) -> None:
    feeds = {}
    for action in (Discharge("pack", 1500.0), Charge("pack", 500.0)):
        plant = Plant(small(), 2)
        plant.act(order(plant.observe(), action))
        feeds[type(action)] = plant.advance(10.0).feed_w[:, 0]
    np.testing.assert_allclose(feeds[Charge] - feeds[Discharge], 2000.0, atol=1e-6)
