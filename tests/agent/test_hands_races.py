"""What comes between: other hands between a write and its reading back, a fall before a raise, a disk that hangs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from wattlease.agent.cards import Trouble
from wattlease.agent.enforce import Overhead
from wattlease.agent.hands import Hands
from wattlease.agent.keeper import Keeper
from wattlease.agent.originals import Originals
from wattlease.agent.standing import RETRY_S
from wattlease.core.lease import Grant, Holder

PATIENCE_S = 0.4
ALLOWED_W = 4 * 450.0
Machine = Any


class Between:
    """A driver with something in the way of some calls."""

    def __init__(self, driver: Any, **ways: Callable[..., Any]) -> None:
        self._driver, self.ways = driver, ways

    def __getattr__(self, name: str) -> Any:
        return self.ways.get(name) or getattr(self._driver, name)


def hands_on(driver: Any, folder: Path, patience_s: float = PATIENCE_S, **others: Any) -> Hands:
    return Hands(driver, Originals(folder / "originals.json"), Overhead(), patience_s=patience_s, **others)


def test_a_limit_lowered_by_others_before_our_write_was_read_back_is_raised_again(
    machine: Machine, tmp_path: Path
) -> None:
    now_s, foreign_w = [0.0], [220.0]

    def limit(uuid: str, limit_w: float) -> Any:
        told = machine.driver.limit(uuid, limit_w)
        if uuid == "GPU-1" and foreign_w:
            machine.state.write_limit(1, foreign_w.pop())
        return told

    hands = hands_on(Between(machine.driver, limit=limit), tmp_path, clock=lambda: now_s[0])
    caps_w = (450.0,) * 4
    hands.hold(ALLOWED_W, caps_w)
    assert machine.limits_w()[1] == 220.0
    calls = int(machine.state.cards["set_calls"][1])
    now_s[0] = RETRY_S - 1.0
    hands.look()
    hands.hold(ALLOWED_W, caps_w)
    assert int(machine.state.cards["set_calls"][1]) == calls  # it may be what the card makes of it
    now_s[0] = RETRY_S + 1.0
    hands.hold(ALLOWED_W, caps_w)
    assert machine.limits_w()[1] == pytest.approx(450.0, abs=0.01)


def test_a_card_that_always_takes_less_is_asked_again_only_now_and_then(machine: Machine, tmp_path: Path) -> None:
    now_s = [0.0]
    machine.state.cards["set_delta_mw"][1] = -20_000
    hands = hands_on(machine.driver, tmp_path, clock=lambda: now_s[0])
    for step in range(10):
        now_s[0] = step * RETRY_S / 3.0
        hands.hold(ALLOWED_W, (450.0,) * 4)
    assert 2 <= int(machine.state.cards["set_calls"][1]) <= 4


def test_a_raise_that_a_fall_overtook_is_not_made(machine: Machine, tmp_path: Path) -> None:
    hands = hands_on(machine.driver, tmp_path)
    hands.hold(ALLOWED_W)
    hands.fall(1000.0)
    outcome = hands.hold(ALLOWED_W, still=lambda: False)
    assert sum(machine.limits_w()) <= 1000.0
    assert outcome.allowed_w == hands.ordered_w == 1000.0


def test_a_keeper_raises_to_nothing_that_its_lease_no_longer_grants(machine: Machine, tmp_path: Path) -> None:
    """The lease is lowered, and the dead-man obeys, after the worker looked at it and before it has the cards."""
    now_s = [100.0]
    hands = hands_on(machine.driver, tmp_path, clock=lambda: now_s[0])
    hands.hold(1400.0)
    high = Holder("n", "l", 1000.0, grant=grant(ALLOWED_W), granted_from_s=99.0)
    low = Holder("n", "l", 1000.0, grant=grant(1200.0), granted_from_s=99.0)
    told = [high]

    def lease() -> Holder:
        holder = told[0]
        if holder is high:
            told[0] = low
            hands.fall(1200.0)
        return holder

    keeper = Keeper(hands, lease, 0.1, clock=lambda: now_s[0])
    keeper._hold()
    assert sum(machine.limits_w()) <= 1200.0


def grant(watts_w: float) -> Grant:
    return Grant(holder="n", epoch=1, sequence=1, watts_w=watts_w, fallback_w=1000.0, ttl_s=10.0, caps_w=())


def test_a_look_for_lost_cards_does_not_keep_a_fall_waiting(machine: Machine, tmp_path: Path) -> None:
    now_s, lost, begun, slow_s = [0.0], Trouble("gone", lost=True), Event(), 2.0
    slow = Between(machine.driver)
    hands = hands_on(slow, tmp_path, patience_s=slow_s / 1.6, clock=lambda: now_s[0])
    hands.hold(ALLOWED_W)

    def slowly(call: Callable[[], Any]) -> Callable[[], Any]:
        def made() -> Any:
            begun.set()
            time.sleep(slow_s)
            return call()

        return made

    slow.ways.update(read=lambda _uuid: lost, reopen=slowly(lambda: None), find=slowly(machine.driver.find))
    hands.look()
    now_s[0] = 60.0  # a lost card's driver is opened anew, the cards are sought, and all of it again as none answers
    looking = Thread(target=hands.look)
    looking.start()
    begun.wait()
    began_s = time.monotonic()
    hands.fall(1000.0)
    took_s = time.monotonic() - began_s
    looking.join()
    assert took_s < 2 * slow_s


def test_a_disk_that_hangs_holds_up_no_fall_and_its_cards_are_not_written(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    beside = tmp_path / "state" / f".originals.json.{os.getpid()}.new"
    os.mkfifo(beside)  # opening it to write waits for somebody who reads
    hands = hands_on(machine.driver, tmp_path / "state")
    began_s = time.monotonic()
    outcome = hands.fall(1000.0)
    assert time.monotonic() - began_s < 30.0
    assert machine.limits_w() == [700.0] * 4
    assert "not on disk" in outcome.troubles[0]
    reader = os.open(beside, os.O_RDONLY)
    beside.unlink()
    os.close(reader)
    ends_s = time.monotonic() + 30.0
    while hands.watch().troubles:
        assert time.monotonic() < ends_s
        hands.look()
        time.sleep(0.02)
    assert sum(machine.limits_w()) <= 1000.0
