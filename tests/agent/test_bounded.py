"""Calls that hang hold up nobody."""

from __future__ import annotations

import subprocess
import sys
import time
from threading import Event, get_ident

import pytest

from wattlease.agent.bounded import BoundedCalls
from wattlease.agent.cards import Trouble

PATIENCE_S = 0.2
HANG_S = 60.0
"""Far more than a busy machine adds to anything: what is over before this did not wait for what hangs."""

NAMES = tuple("abcdefgh")


def test_quick_calls_share_one_thread() -> None:
    calls = BoundedCalls(HANG_S)
    seen = {calls.each(NAMES, lambda _: get_ident())[name] for name in NAMES for _ in range(3)}
    assert len(seen) == 1


def test_a_call_that_hangs_holds_up_no_other_and_is_left_alone_until_it_answers() -> None:
    calls, free, made = BoundedCalls(PATIENCE_S), Event(), []

    def call(name: str) -> str:
        made.append(name)
        if name == "c":
            free.wait(HANG_S)
        return name.upper()

    began_s = time.monotonic()
    told = calls.each(NAMES, call)
    assert time.monotonic() - began_s < HANG_S / 2
    assert isinstance(told["c"], Trouble)
    assert told["c"].hung
    assert [told[name] for name in NAMES if name != "c"] == [name.upper() for name in NAMES if name != "c"]
    assert calls.hung == {"c"}

    calls.patience_s = HANG_S
    began_s = time.monotonic()
    told = calls.each(NAMES, call)
    assert time.monotonic() - began_s < HANG_S / 2
    assert made.count("c") == 1
    free.set()
    while calls.hung:
        time.sleep(0.005)
    assert calls.each(NAMES, call)["c"] == "C"


def test_calls_that_together_take_longer_than_the_patience_all_answer() -> None:
    calls = BoundedCalls(8 * PATIENCE_S)

    def slow(name: str) -> str:
        time.sleep(1.6 * PATIENCE_S)
        return name

    assert calls.each(NAMES, slow) == {name: name for name in NAMES}


def test_when_all_hang_they_are_waited_for_together_and_not_one_after_the_other() -> None:
    calls, free, names = BoundedCalls(PATIENCE_S), Event(), [str(card) for card in range(100)]
    began_s = time.monotonic()
    told = calls.each(names, lambda _: free.wait(HANG_S))
    assert time.monotonic() - began_s < len(names) * PATIENCE_S / 2
    assert all(isinstance(answer, Trouble) for answer in told.values())
    free.set()


def test_a_fault_in_a_driver_is_told_as_trouble(caplog: pytest.LogCaptureFixture) -> None:
    nothing: dict[str, int] = {}
    told = BoundedCalls(PATIENCE_S).one("a", lambda: nothing["missing"])
    assert isinstance(told, Trouble)
    assert "KeyError" in told.text
    assert "a call failed" in caplog.text


def test_a_hung_call_does_not_hold_up_the_exit() -> None:
    script = (
        "import time; from wattlease.agent.bounded import BoundedCalls\n"
        "BoundedCalls(0.05).one('a', lambda: time.sleep(600))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=HANG_S)
