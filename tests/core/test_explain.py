from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wattlease.core import explain
from wattlease.core.actions import (
    Action,
    Cap,
    Charge,
    Discharge,
    Downsize,
    Hold,
    Pause,
    Release,
    Restore,
    Resume,
    ScopePlan,
)
from wattlease.core.decide import decide
from wattlease.core.explain import Facts
from wattlease.core.memory import FRESH
from wattlease.core.model import JobState, Snapshot
from wattlease.sim import instances
from wattlease.sim.instances import Shape

RACK = ScopePlan("rack-2", 120_000.0, "breaker", "the breaker's 120 kW", 110_000.0, 118_000.0, "shedding")
FACTS = Facts(draw_w=5600.0, free_w=2100.0, lost_s=720.0, speed_frac=0.87, ahead=3)


@pytest.mark.parametrize(
    ("value_w", "words"),
    [(0.0, "0 W"), (870.4, "870 W"), (999.7, "1.0 kW"), (5600.0, "5.6 kW"), (120_000.0, "120 kW"),
     (999_900.0, "1.00 MW"), (1_254_000.0, "1.25 MW"), (-5600.0, "-5.6 kW")],
)  # fmt: skip
def test_watts_are_said_as_a_person_says_them(value_w: float, words: str) -> None:
    assert explain.watts(value_w) == words


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 s"), (720, "12 min"), (9000, "2.5 h")])
def test_spans_are_said_as_a_person_says_them(seconds: float, words: str) -> None:
    assert explain.span(seconds) == words


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Pause("job-7"), ("paused", "job-7", "5.6 kW", "12 min")),
        (Resume("job-7"), ("resumed", "job-7", "5.6 kW")),
        (Hold("job-7"), ("held", "job-7", "5.6 kW", "2.1 kW", "3 jobs ahead")),
        (Release("job-7"), ("released", "job-7", "5.6 kW", "2.1 kW")),
        (Downsize("job-7", 0.5, ""), ("downsized", "job-7", "50%", "87%")),
        (Downsize("job-7", 1.0, "tiny"), ("downsized", "job-7", "tiny", "87%")),
        (Restore("job-7"), ("restored", "job-7", "5.6 kW")),
        (Cap("job-7", 410.0), ("capped", "job-7", "410 W", "87%")),
        (Discharge("pack", 3000.0), ("pack", "gives", "3.0 kW")),
        (Charge("pack", 3000.0), ("pack", "takes", "3.0 kW")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Action) else "",
)
def test_a_sentence_names_the_watts_the_scope_and_the_source(action: Action, words: tuple[str, ...]) -> None:
    text = explain.sentence(action, RACK, FACTS)
    for word in (*words, "rack-2", "120 kW", "breaker"):
        assert word in text
    assert "\n" not in text


def test_work_that_is_not_known_to_be_lost_is_none() -> None:
    assert "loses 0 s" in explain.sentence(Pause("job-7"), RACK, Facts(lost_s=float("nan")))


def seen(limit_frac: float, **shape: Any) -> Snapshot:
    return instances.snapshot(np.random.default_rng(6), Shape(**shape, limit_frac=limit_frac, sizes=(8,)))


def test_every_action_of_a_plan_comes_with_a_sentence_of_its_scope_and_source() -> None:
    plan, _ = decide(seen(0.4, running=8, paused=2, waiting=2), FRESH)
    assert plan.actions
    for action, why in zip(plan.actions, plan.why, strict=True):
        assert getattr(action, "job", "") in why
        assert plan.scopes[0].scope in why
        assert plan.scopes[0].source in why


def test_each_job_is_told_how_it_runs_or_why_it_does_not() -> None:
    snapshot = seen(0.72, running=6, paused=1, waiting=1)
    plan, _ = decide(snapshot, FRESH)
    told = [explain.job(snapshot, replace(plan, actions=(), why=()), j) for j in range(len(snapshot.jobs.id))]
    of = {JobState(s): told[j] for j, s in enumerate(snapshot.jobs.state.tolist())}
    assert of[JobState.PAUSED].startswith("paused: waits until its watts fit under hall's")
    assert of[JobState.HELD].startswith(f"held: {snapshot.jobs.id[-1]} needs")
    for text, speed in zip(told[:6], plan.speed_frac, strict=False):
        assert text.startswith("capped at" if speed < 0.9995 else "runs at full power")


def test_a_queue_with_watts_to_spare_waits_for_gpus() -> None:
    snapshot = seen(3.0, running=2, waiting=2)
    plan, _ = decide(snapshot, FRESH)
    text = explain.job(snapshot, replace(plan, actions=(), why=()), 3)
    assert text.startswith("waits for GPUs")
    assert "are free under hall's" in text


def test_the_scope_with_the_least_left_is_the_one_that_is_named() -> None:
    roomy = replace(RACK, scope="hall", planned_w=10_000.0)
    assert explain.tightest((roomy, RACK)).scope == "rack-2"


def test_a_held_job_is_told_what_it_would_draw_and_its_cards_rating_where_that_is_not_known() -> None:
    snapshot = seen(0.72, running=6, paused=1, waiting=1)
    plan, _ = decide(snapshot, FRESH)
    bare, last = replace(plan, actions=(), why=()), len(snapshot.jobs.id) - 1
    rated_w = snapshot.site.models[int(snapshot.jobs.model[last])].rated_w * int(snapshot.jobs.gpus[last])
    assert f"needs {explain.watts(rated_w)}," in explain.job(snapshot, bare, last)
    assert "needs 1.2 kW," in explain.job(snapshot, bare, last, 1234.0)
