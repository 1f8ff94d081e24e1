from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wattlease.core.memory import FRESH
from wattlease.runtime.replay import replay


@pytest.fixture
def path(tmp_path, night, evenly, record):
    record(path := tmp_path / "record.jsonl", night, evenly)
    return path


def altered(evenly, tick, change):
    """The policy, but for what `change` makes of its plan at one tick."""

    def decide(snapshot, memory):
        plan, after = evenly(snapshot, memory)
        return (change(plan) if after.debts["ticks"] == tick else plan), after

    return decide


def test_the_same_policy_decides_the_same_bytes(path, evenly) -> None:
    assert replay(path, evenly) is None


def test_every_tick_is_watched(path, evenly) -> None:
    seen = []
    replay(path, evenly, lambda tick: seen.append(tick.number))
    assert seen == [1, 2, 3, 4, 5, 6]


def test_the_first_different_tick_is_named_with_its_job(path, evenly) -> None:
    found = replay(path, altered(evenly, 3, lambda plan: replace(plan, cap_w=plan.cap_w + np.array([0.0, 1e-9]))))
    assert found is not None
    assert (found.tick, found.line) == (3, 5)
    assert found.text == (
        "tick 3 (2025-05-03 23:30:02 UTC, line 5): "
        "cap_w of job j2 was recorded as 400.0 and is decided as 400.000000001"
    )


def test_the_first_different_node_is_named(path, evenly) -> None:
    found = replay(path, altered(evenly, 1, lambda plan: replace(plan, grant_w=plan.grant_w * 2)))
    assert found is not None
    assert found.field == "grant_w of node n1"


def test_an_action_that_is_gone_is_said(path, evenly) -> None:
    found = replay(path, altered(evenly, 2, lambda plan: replace(plan, actions=())))
    assert found is not None
    assert (found.tick, found.field, found.decided) == (2, "actions[0]", "nothing")


def test_a_value_that_json_prints_apart_is_a_difference(path, evenly) -> None:
    scope = lambda plan: replace(plan, scopes=(replace(plan.scopes[0], draw_w=-0.0, planned_w=0.0),))  # noqa: E731
    found = replay(path, altered(evenly, 2, scope))
    assert found is not None
    assert (found.field, found.recorded, found.decided) == ("scopes[0].draw_w", "640.0", "-0.0")


def test_memory_is_carried_from_tick_to_tick(path, evenly) -> None:
    found = replay(path, lambda snapshot, memory: evenly(snapshot, FRESH))
    assert found is not None
    assert found.tick == 2


def test_a_segment_replays_alone_from_its_own_memory(tmp_path, night, evenly, record) -> None:
    record(tmp_path / "record.jsonl", night, evenly, segment_s=2.0)
    segments = list(tmp_path.iterdir())
    assert len(segments) == 3
    assert [replay(s, evenly) for s in segments] == [None, None, None]
