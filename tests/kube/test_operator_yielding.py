"""Autoscalers that somebody else writes for ever: he has his way, and nobody is fought."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "bodies"))  # bodies are shared with the other tests of the operator

from api_door import until
from kube_bench import Bench, bench, service
from kube_bodies import Server, hpa, meta

from wattlease.core.actions import Downsize
from wattlease_operator.bodies import scaler_of
from wattlease_operator.kinds import HPAS, SCALED_OBJECTS
from wattlease_operator.words import SCALE_OUT_PAUSED, Scaler
from wattlease_operator.writes import Write
from wattlease_operator.yielding import LONGEST_S, YIELD_S, Yielding

INF = float("inf")


def scaled_object() -> dict[str, Any]:
    return {"metadata": meta("so"), "spec": {"maxReplicaCount": 9, "scaleTargetRef": {"name": "chat"}}}


@dataclass
class Hall:
    """One autoscaler, its owner, and us, with a clock of the test's own."""

    keda: bool = False
    now_s: float = 0.0
    writes: list[tuple[float, Write]] = field(default_factory=list)
    told: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = Server(scaled_object() if self.keda else hpa("h", 9))
        self.owned = self.server.body()
        self.yielding = Yielding(lambda: self.now_s)

    @property
    def scaler(self) -> Scaler:
        return scaler_of(SCALED_OBJECTS if self.keda else HPAS, self.server.body())

    @property
    def held(self) -> bool:
        found = self.scaler
        return found.scale_out_paused if self.keda else found.most < 9

    def tick(self, most: float, seconds: float = 1.0) -> None:
        scaler = self.scaler
        self.told += [self.now_s for _ in self.yielding.look([scaler])]
        for write in self.yielding.bound(scaler, most):
            self.writes.append((self.now_s, write))
            self.server.write(write)
        self.now_s += seconds

    def owner_writes(self) -> None:
        """His own ceiling, as a tool applies it that takes it from whoever else wrote it."""
        if self.keda:
            self.server.update(("metadata", "annotations", SCALE_OUT_PAUSED), "false")
        else:
            self.server.update(("spec", "maxReplicas"), 9)

    def owner_replaces(self) -> None:
        """All of it, as `kubectl replace` does, which leaves none of our marks."""
        self.server = Server(self.owned)


WAYS: dict[str, Callable[[Hall], None]] = {"applies": Hall.owner_writes, "replaces": Hall.owner_replaces}


@pytest.mark.parametrize("keda", [False, True], ids=["HPA", "KEDA"])
@pytest.mark.parametrize("way", WAYS)
def test_an_owner_who_writes_for_ever_is_overruled_three_times_in_an_hour_and_told_so(keda: bool, way: str) -> None:
    hall, times = Hall(keda), 0
    while hall.now_s < 3600.0:
        before = hall.held
        hall.tick(4)
        times += hall.held and not before
        if int(hall.now_s) % 2 == 0:
            WAYS[way](hall)
    assert times == 3  # at once, after ten minutes, and after twenty more
    assert len(hall.told) == 3
    assert len(hall.writes) <= 2 * times


@pytest.mark.parametrize("keda", [False, True], ids=["HPA", "KEDA"])
@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from([1, 4, 9, INF]), st.integers(1, 900)), max_size=20))
def test_who_is_not_written_by_others_is_never_left_alone(keda: bool, steps: list[tuple[float, int]]) -> None:
    hall = Hall(keda)
    for most, seconds in steps:
        hall.tick(most)
        assert hall.held == (most < 9)
        hall.tick(most, seconds)
    hall.tick(INF)
    assert not hall.told
    assert hall.server.body() == hall.owned


@pytest.mark.parametrize("keda", [False, True], ids=["HPA", "KEDA"])
@pytest.mark.parametrize("way", WAYS)
def test_while_it_is_left_alone_nothing_of_ours_is_on_it(keda: bool, way: str) -> None:
    hall = Hall(keda)
    hall.tick(4)
    hall.tick(4)
    WAYS[way](hall)
    while hall.now_s < YIELD_S:
        hall.tick(4)
        assert not hall.held
    assert hall.yielding.yields(hall.scaler)
    assert not hall.scaler.ours
    assert hall.scaler.before is None
    hall.tick(4, 5.0)
    hall.tick(4)
    assert hall.held


def test_the_time_for_which_it_is_left_alone_grows_and_is_short_again_after_a_bound_that_was_kept() -> None:
    hall = Hall()
    waits = []
    for _ in range(8):
        hall.tick(4)
        assert hall.held
        hall.owner_writes()
        begun_s = hall.now_s
        while not hall.held:
            hall.tick(4)
        waits.append(hall.now_s - begun_s)
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(YIELD_S, abs=3.0)
    assert waits[-1] == pytest.approx(LONGEST_S, abs=3.0)
    hall.tick(INF)
    hall.tick(4)
    hall.owner_writes()
    hall.tick(4, YIELD_S + 1.0)
    hall.tick(4)
    assert hall.held


def test_an_autoscaler_that_is_made_anew_under_the_same_name_is_another() -> None:
    hall = Hall()
    hall.tick(4)
    fresh = {**hall.owned, "metadata": {**hall.owned["metadata"], "uid": "another"}}
    hall.server = Server(fresh)
    hall.tick(4)
    assert hall.held
    assert not hall.told


def test_what_another_leader_gave_back_was_written_by_nobody_else() -> None:
    hall = Hall()
    hall.tick(4)
    hall.owner_replaces()  # it stands as the other leader left it
    hall.yielding.forget()
    hall.tick(4)
    assert hall.held
    assert not hall.told


async def test_a_ceiling_that_is_applied_again_is_left_alone_and_its_people_are_told_why() -> None:
    async with bench(pods=service(4), horizontalpodautoscalers=[hpa("h", 9, least=2)]) as at:
        marks = (await at.asked("h", state="shedding"))["metadata"]["annotations"]
        at.put("horizontalpodautoscalers", hpa("h", 4, least=2, annotations=marks))
        assert await at.quiet(state="shedding")
        at.put("horizontalpodautoscalers", hpa("h", 9, least=2, annotations=marks))
        dropped = await at.asked("h", state="shedding")
        assert "spec" not in dropped
        assert "annotations" not in dropped["metadata"]
        await until(lambda: events(at))
        [event] = events(at)
        assert (event["reason"], event["regarding"]["name"]) == ("CeilingOverruled", "h")
        assert "left alone for 10 minutes" in event["note"]
        at.put("horizontalpodautoscalers", hpa("h", 9, least=2))
        for _ in range(3):
            at.now_s += 60.0
            at.cache.hear()
            assert await at.quiet(state="shedding")
        at.now_s += YIELD_S
        at.cache.hear()
        assert (await at.asked("h", state="shedding"))["spec"] == {"maxReplicas": 4}


async def test_no_plan_counts_on_fewer_replicas_of_a_service_that_is_left_alone() -> None:
    async with bench(pods=service(4), horizontalpodautoscalers=[hpa("h", 9, least=2)]) as at:
        shrink = Downsize("deployment/ml/chat", 0.5, "")
        assert any(terms.steps for terms in at.tick()[0].site.terms)
        marks = (await at.asked("h", shrink, state="shedding"))["metadata"]["annotations"]
        at.put("horizontalpodautoscalers", hpa("h", 2, least=2, annotations=marks))
        at.act(state="shedding")
        at.put("horizontalpodautoscalers", hpa("h", 9, least=2, annotations=marks))
        at.act(state="shedding")
        snapshot = at.tick()[0]
        [terms] = [snapshot.site.terms[t] for t in snapshot.jobs.terms]
        assert not terms.steps


def events(at: Bench) -> list[Any]:
    return [body for _, path, body in at.door.asked if "/events" in path]
