from __future__ import annotations

from dataclasses import fields, is_dataclass, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.decide import decide
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import Snapshot
from wattlease.core.set_back import set_back
from wattlease.sim import instances
from wattlease.sim.instances import Shape

DAY_S = 86_400.0
SPANS = ("ran_s",)


def seen(seed: int, shape: Shape) -> Snapshot:
    return instances.snapshot(np.random.default_rng(seed), shape)


def later(snapshot: Snapshot, by_s: float) -> Snapshot:
    """The same site after a while, or on a clock that was set back, with all times that come from outside."""
    jobs = snapshot.jobs
    moved = replace(jobs, submitted_s=jobs.submitted_s + min(by_s, 0.0), since_s=jobs.since_s + min(by_s, 0.0))
    return replace(snapshot, now_s=snapshot.now_s + by_s, jobs=moved)


def times_s(value: object) -> list[float]:
    """All absolute times in a value: what ends in `_s` and is no span."""
    found: list[float] = []
    for field in fields(value):  # type: ignore[arg-type]
        part = getattr(value, field.name)
        if is_dataclass(part):
            found += times_s(part)
        elif isinstance(part, tuple) and part and is_dataclass(part[0]):
            found += [t for row in part for t in times_s(row)]
        elif field.name.endswith("_s") and field.name not in SPANS:
            found += np.ravel(part).tolist()
    return found


@given(st.integers(0, 2**32 - 1), st.floats(1.0, 400 * DAY_S))
@settings(max_examples=25)
def test_no_remembered_time_lies_in_the_future_of_a_clock_that_was_set_back(seed: int, by_s: float) -> None:
    snapshot = seen(seed, Shape(running=4, waiting=2, limit_frac=0.6))
    _, memory = decide(snapshot, FRESH)
    back = later(snapshot, -by_s)
    _, memory = decide(back, memory)
    remembered, now_s = times_s(replace(memory, storage_plans=())), back.now_s
    assert len(remembered) > 10
    assert not [t for t in remembered if t > now_s + 1e-3]


@given(st.floats(0.0, 400 * DAY_S))
def test_a_clock_that_goes_on_changes_no_memory(by_s: float) -> None:
    _, memory = decide(seen(3, Shape(running=4)), FRESH)
    assert set_back(memory, memory.now_s + by_s) is memory
    assert set_back(FRESH, by_s) is FRESH


def test_a_breaker_heats_on_after_the_clock_was_set_back() -> None:
    breaker = {"ratedWatts": 20_000, "tripCurve": [{"overPercent": 50, "seconds": 36_000}]}
    snapshot = seen(2, Shape(running=4, limit_frac=1.2))
    spec = snapshot.site.scopes[0].budget.spec
    hot = spec.model_validate({**spec.model_dump(by_alias=True, exclude_none=True), "breaker": breaker})
    scope = snapshot.site.scopes[0]
    budget = scope.budget.model_copy(update={"spec": hot})
    snapshot = replace(snapshot, site=replace(snapshot.site, scopes=(replace(scope, budget=budget),)))
    _, memory = decide(snapshot, FRESH)
    _, memory = decide(later(snapshot, 1.0), memory)
    before = heat(memory)
    for tick in range(3):
        _, memory = decide(later(snapshot, -DAY_S + tick), memory)
    assert heat(memory) > before


def heat(memory: Memory) -> float:
    return memory.limits.scopes[0].heat_frac
