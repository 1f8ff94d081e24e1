"""What an agent logs while all is well, and while its guard can do no more: changes, not repetitions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wattlease.agent.enforce import Overhead
from wattlease.agent.grant_log import EVERY_S, GrantLog
from wattlease.agent.hands import Hands
from wattlease.agent.originals import Originals
from wattlease.core.lease import Grant


def grant(watts_w: float) -> Grant:
    return Grant(holder="n", epoch=1, sequence=1, watts_w=watts_w, fallback_w=100.0, ttl_s=10.0, caps_w=())


def test_grants_are_told_when_they_begin_return_or_change_much(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now_s = [0.0]
    told = GrantLog(clock=lambda: now_s[0])
    steps = [(0.0, 1000.0, 1), (1.0, 1050.0, 1), (2.0, 2000.0, 1), (EVERY_S, 2000.0, 2), (3 * EVERY_S, 2100.0, 2)]
    for at_s, watts_w, lines in steps:
        now_s[0] = at_s
        told.note(grant(watts_w))
        assert len(caplog.records) == lines
    told.note(None)
    told.note(grant(2100.0))
    assert len(caplog.records) == 3


def test_a_guard_that_can_take_off_no_more_says_so_once(
    virtual_machine: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now_s, machine = [0.0], virtual_machine()
    hands = Hands(machine.driver, Originals(tmp_path / "originals"), Overhead(), clock=lambda: now_s[0])
    hands.fall(1200.0)
    for _ in range(200):
        now_s[0] += 0.2
        hands.watch(1500.0)
    assert hands.in_force_w == 800.0
    told = [record.getMessage() for record in caplog.records if "guard" in record.getMessage()]
    assert 2 <= len(told) <= 4
    assert sum("no card can give more" in line for line in told) == 1
