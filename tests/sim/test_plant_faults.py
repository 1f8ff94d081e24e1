import numpy as np
import pytest

from wattlease.core.errors import BudgetError
from wattlease.sim.plant import Plant


def spoilt(small, kind: str, target: str, **more: float):
    return small(faults=[{"kind": kind, "target": target, "atSeconds": 10, "seconds": 20, **more}])


@pytest.mark.parametrize("kind", ["stale", "frozen", "zero", "absurd", "negative"])
@pytest.mark.parametrize("target", ["g-0001", "feed"])
def test_faults_show_in_readings_and_not_in_the_truth(small, run, kind: str, target: str) -> None:
    well, ill = Plant(small(), 4), Plant(spoilt(small, kind, target), 4)
    np.testing.assert_array_equal(run(well, 9), run(ill, 9))
    np.testing.assert_array_equal(well.observe().gpus.power_w, ill.observe().gpus.power_w)
    np.testing.assert_allclose(run(well, 15), run(ill, 15), rtol=0.2)
    good, bad = well.observe(), ill.observe()
    if target == "feed":
        assert bad.meters[0] != good.meters[0]
    else:
        assert (bad.gpus.power_w[:4] != good.gpus.power_w[:4]).all()
        assert (bad.gpus.age_s[:4] > 5.0).all() == (kind == "stale")
    assert abs(ill.node_w[0] - well.node_w[0]) < 0.3 * well.node_w[0]


@pytest.mark.parametrize(("kind", "watts"), [("zero", 0.0), ("absurd", 9000.0), ("negative", -100.0)])
def test_wrong_readings_have_the_value_that_they_should(small, run, kind: str, watts: float) -> None:
    plant = Plant(spoilt(small, kind, "g-0002"), 1)
    run(plant, 12)
    assert (plant.observe().gpus.power_w[4:8] == watts).all()


def test_readings_come_back_when_a_fault_ends(small, run) -> None:
    plant = Plant(spoilt(small, "absurd", "*"), 1)
    run(plant, 31)
    seen = plant.observe()
    assert seen.gpus.power_w.max() < 600.0
    assert seen.gpus.age_s.max() < 1.0


def test_a_fault_of_nothing_that_is_there_is_refused(small) -> None:
    with pytest.raises(BudgetError, match="neither a node nor a meter"):
        Plant(spoilt(small, "stale", "g-9999"), 1)


def test_a_meter_is_late_and_averages(small, run) -> None:
    plant = Plant(small(), 1)
    feed_w = run(plant, 30)
    reading = plant.observe().meters[0]
    assert (reading.age_s, reading.window_s) == (1.0, 4.0)
    assert reading.power_w == pytest.approx(feed_w[-10:-2].mean(), rel=1e-9)
