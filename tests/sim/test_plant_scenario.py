import pytest
from pydantic import ValidationError

from wattlease.sim.plant import Plant


@pytest.mark.parametrize("name", ["phoenix", "step", "philly-week", "day"])
def test_every_example_is_a_scenario_that_runs(example, run, name: str) -> None:
    plant = Plant(example(name), 1)
    assert run(plant, 60).min() > 0


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"tickSecond": 1}, "Extra inputs"),
        ({"stepSeconds": 0.3}, "does not divide"),
        ({"budgets": []}, "budgetFile"),
        ({"jobs": [{"name": "a", "cluster": "c", "gpus": 17, "profile": "train"}]}, "more than cluster"),
        ({"jobs": [{"name": "a", "cluster": "x", "gpus": 1, "profile": "train"}]}, "'x' is not defined"),
        ({"jobs": [{"name": "a", "cluster": "c", "gpus": 1, "profile": "tran"}]}, "'tran' is not defined"),
        ({"jobs": [{"name": "a", "cluster": "c", "gpus": 1, "profile": "train"}] * 2}, "used twice"),
        ({"noise": {"slowPercent": float("nan")}}, "finite"),
        ({"noise": {"dipSeconds": [40, 10]}}, "longest"),
        ({"durationSeconds": -5}, "greater than"),
    ],
)
def test_a_mistake_is_refused_with_what_would_be_right(small, parts: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        small(**parts)


def test_shares_of_arrivals_must_make_a_whole(small) -> None:
    arrivals = {"trace": "synthetic", "cluster": "c", "mix": [{"profile": "train", "percent": 60}]}
    with pytest.raises(ValidationError, match="sum to 60"):
        small(arrivals=arrivals)


def test_synthetic_arrivals_stand_in_for_a_missing_trace_and_it_is_said(small) -> None:
    mix = [{"profile": "train", "percent": 100}]
    arrivals = {"trace": "philly", "orSynthetic": True, "cluster": "c", "fromDay": 0, "toDay": 1, "mix": mix}
    plant = Plant(small(arrivals=arrivals, dataFolder="no-such-folder"), 1)
    assert len(plant.work.entries) > 500
    assert "synthetic" in plant.notes[0]
