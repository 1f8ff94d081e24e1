"""A change of models as laws: a world of models that start, fail, crash and are edited by others, step after step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease_operator.cache import Ref, Resource
from wattlease_operator.swap import OWN, Course, Model, Move, Rules, Sleep, Wake, home, serving, step
from wattlease_operator.swap_route import Route, Rule, dealt, route_of

RULES = Rules(ready_s=60.0, drain_s=30.0)
ROUTE = Ref(Resource("gateway.networking.k8s.io", "v1", "httproutes"), "ml", "chat")
LOOK_S = 2.0
LONG = 150
"""Looks that are enough for any way there or back."""


@dataclass
class World:
    """Models behind a route: those that are woken are ready after `starts_s`, those of `broken` never answer."""

    weights: list[int] = field(default_factory=lambda: [100, 0])
    up: list[bool] = field(default_factory=lambda: [True, False])
    starts_s: float = 10.0
    broken: set[int] = field(default_factory=set)
    unready: set[int] = field(default_factory=set)
    erring: set[int] = field(default_factory=set)
    busy: bool = False
    now_s: float = 0.0
    course: Course = field(default_factory=Course)
    moves: int = 0
    woken_s: dict[int, float] = field(default_factory=dict)
    ours: set[int] = field(default_factory=set)

    def models(self) -> tuple[Model, ...]:
        return tuple(self.model(i) for i in range(len(self.weights)))

    def model(self, i: int) -> Model:
        ready = self.up[i] and i not in self.unready and self.now_s - self.woken_s.get(i, -math.inf) >= self.starts_s
        good = (i not in self.broken) if ready else None
        errors = 0.5 if i in self.erring and self.weights[i] else 0.0
        busy = 1 if self.busy else 0
        return Model(self.weights[i], self.up[i], i in self.ours, ready, good, busy, errors)

    def able(self) -> set[int]:
        return {i for i, m in enumerate(self.models()) if m.may_gain}

    def look(self, wanted: int) -> None:
        """One look and what comes of it, with the laws of every single step."""
        before, able = self.models(), self.able()
        self.course, deed = step(before, self.course, wanted, self.now_s, RULES)
        match deed:
            case Wake(i):
                assert not self.up[i]
                self.up[i], self.woken_s[i] = True, self.now_s
                self.mark(i, back=i == OWN)
            case Move(shares):
                weights = dealt(100, shares)
                assert sum(weights) == 100
                assert all(
                    new <= old or i in able for i, (new, old) in enumerate(zip(weights, self.weights, strict=True))
                )
                self.weights, self.moves = list(weights), self.moves + 1
            case Sleep(i):
                assert self.weights[i] == 0
                assert all(self.weights[k] == 0 or k in able for k in range(len(self.weights)))
                assert i == OWN or i in self.ours, "a model that its owner keeps awake stays so"
                self.up[i] = False
                self.mark(i, back=i != OWN)
        if any(before[i].weight for i in able) or (able and not home(before)):
            assert any(self.weights[i] for i in able), "who could serve was left without a request"
        self.now_s += LOOK_S

    def mark(self, i: int, *, back: bool) -> None:
        (self.ours.discard if back else self.ours.add)(i)

    def run(self, wanted: int, looks: int = LONG) -> None:
        for _ in range(looks):
            self.look(wanted)

    @property
    def rests(self) -> bool:
        """As its owner made it."""
        return self.weights == [100, 0] and self.up == [True, False] and not self.ours


def test_a_model_is_swapped_and_comes_back_and_all_is_as_it_was() -> None:
    world = World()
    world.run(1)
    assert (world.weights, world.up) == ([0, 100], [False, True])
    assert serving(world.models()) == 1
    moves = world.moves
    assert moves == 3
    world.run(OWN)
    assert world.rests
    assert world.moves == 2 * moves
    world.run(OWN)
    assert world.moves == 2 * moves


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["broken", "unready", "erring"]), st.integers(0, 60), st.floats(0.0, 50.0))
def test_whatever_fails_in_the_smaller_model_ends_with_the_own_one(how: str, after: int, starts_s: float) -> None:
    world = World(starts_s=starts_s)
    world.run(1, after)
    getattr(world, how).add(1)
    world.run(1)
    assert world.weights == [100, 0]
    assert world.up[OWN]
    assert world.course.failed
    world.run(OWN, 60)
    assert world.rests
    assert not world.course.failed


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), wanted=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 40)), max_size=6))
def test_models_that_come_and_go_never_leave_a_route_without_whoever_can_serve(
    seed: int, wanted: list[tuple[int, int]]
) -> None:
    chance, world = Random(seed), World()
    for model, looks in wanted:
        for _ in range(looks):
            for troubled in (world.broken, world.unready):
                if chance.random() < 0.1:
                    troubled ^= {chance.randrange(2)}
            if chance.random() < 0.05:
                world.course = Course()  # another operator leads
            world.look(model)
    world.broken, world.unready = set(), set()
    world.run(OWN)
    assert world.rests


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 120), max_size=5))
def test_who_forgets_the_course_goes_on_from_what_stands(forgets: list[int]) -> None:
    world = World()
    for i in range(LONG):
        if i in forgets:
            world.course = Course()
        world.look(1)
    assert serving(world.models()) == 1
    for i in range(LONG):
        if i in forgets:
            world.course = Course()
        world.look(OWN)
    assert world.rests


@settings(max_examples=30, deadline=None)
@given(every=st.integers(1, 30), first=st.integers(1, 60))
def test_weights_that_somebody_puts_back_again_and_again_are_left_to_him(every: int, first: int) -> None:
    world, edits = World(), 0
    for i in range(2 * LONG):
        if i >= first and (i - first) % every == 0 and world.weights != [100, 0]:
            world.weights, edits = [100, 0], edits + 1
        world.look(1)
    if edits > RULES.most_fights + 1:
        assert "somebody else" in world.course.failed
    if world.course.failed:
        assert world.weights == [100, 0]
        assert world.up[OWN]
        moves = world.moves
        world.run(1)
        assert world.moves == moves


def test_a_smaller_model_that_its_owner_keeps_awake_is_not_put_to_sleep() -> None:
    world = World(up=[True, True])
    world.run(1)
    world.run(OWN)
    assert (world.weights, world.up) == ([100, 0], [True, True])


def test_an_own_model_that_does_not_answer_us_is_no_reason_to_begin() -> None:
    world = World(broken={OWN})
    world.run(1)
    assert world.up == [True, False]
    assert "own model" in world.course.failed


def test_a_model_with_requests_under_way_is_waited_for_and_no_longer_than_agreed() -> None:
    world = World(busy=True)
    while world.weights != [0, 100]:
        world.look(1)
    full_s = world.now_s
    while world.up[OWN]:
        world.look(1)
    assert RULES.drain_s <= world.now_s - full_s <= RULES.drain_s + 3 * LOOK_S


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 1000), st.lists(st.floats(0.01, 1.0), min_size=2, max_size=4))
def test_weights_keep_their_sum_and_are_off_by_less_than_one(total: int, parts: list[float]) -> None:
    shares = [part / sum(parts) for part in parts]
    weights = dealt(total, shares)
    assert sum(weights) == total
    assert all(abs(w - total * s) < 1.0 for w, s in zip(weights, shares, strict=True))


def test_a_route_of_one_whole_weight_is_moved_at_once() -> None:
    rules = replace(RULES, grain=1)
    small = Model(weight=0, up=True, ready=True, good=True)
    own = replace(small, weight=1)
    _, deed = step((own, small), Course(1), 1, 100.0, rules)
    assert deed == Move((0.0, 1.0))


def test_the_patch_of_a_route_tests_what_it_replaces_and_touches_no_other_backend() -> None:
    refs = [{"name": "canary", "weight": 7}, {"name": "large", "weight": 90}, {"name": "small", "weight": 0}]
    body = {"metadata": {"uid": "u"}, "spec": {"rules": [{"backendRefs": [{"name": "docs"}]}, {"backendRefs": refs}]}}
    route = route_of(ROUTE, body, ("large", "small"))
    assert isinstance(route, Route)
    assert route.rules == (Rule(1, (1, 2), (90, 0)),)
    steps = route.steps(route.moved((0.0, 1.0)))
    assert {s["path"].split("/")[5] for s in steps} == {"1", "2"}
    assert [s["value"] for s in steps if s["op"] == "replace"] == [0, 90]
    assert len(steps) == 6
