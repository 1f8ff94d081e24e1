"""The controller's loop with nodes on a real socket; the nodes' hardware obeys at once."""

from __future__ import annotations

import asyncio
import socket
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

sys.path.insert(0, str(Path(__file__).parent))  # the nodes stand in a module beside the tests

from leased_nodes import Node, hall_settings, leading, until

from wattlease.core.actions import Plan
from wattlease.core.decide import decide
from wattlease.core.memory import Memory
from wattlease.core.model import Snapshot
from wattlease.runtime.controller.controller import EARLY_S, Controller
from wattlease.runtime.controller.settings import ControllerSettings
from wattlease.runtime.controller.work import BareWork
from wattlease.runtime.lease.store import StateFolder
from wattlease.runtime.record import Recorder
from wattlease.runtime.replay import replay


def settings(folder: Path, limit_w: int = 3600, **more: Any) -> ControllerSettings:
    return hall_settings(folder, {"limitWatts": limit_w, "guaranteedWatts": 1600}, **{"tickSeconds": 1, **more})


def controlled(folder: Path, told: ControllerSettings, recorder: Recorder | None = None) -> Controller:
    return Controller(told, StateFolder(folder), BareWork(told.profiles), recorder=recorder)


def pair() -> tuple[Node, Node]:
    return Node("gpu-0001"), Node("gpu-0002")


async def test_nodes_get_watts_up_to_the_limit_and_never_more(tmp_path: Path) -> None:
    one, two = pair()
    async with leading(controlled(tmp_path, settings(tmp_path)), one, two):
        await until(lambda: one.in_force_w + two.in_force_w > 3400.0)
        for _ in range(40):
            assert one.in_force_w + two.in_force_w <= 3600.0
            await asyncio.sleep(0.05)


async def test_a_limit_that_falls_in_the_file_falls_on_the_nodes(tmp_path: Path) -> None:
    one, two = pair()
    control = controlled(tmp_path, settings(tmp_path))
    async with leading(control, one, two):
        await until(lambda: one.in_force_w + two.in_force_w > 3400.0)
        control.change(settings(tmp_path, limit_w=2600))
        await until(lambda: one.in_force_w + two.in_force_w <= 2600.0)
        await until(lambda: any(hint.speed_frac < 0.9 and "2.6 kW" in hint.why for hint in one.hints))


async def test_a_node_never_heard_counts_at_its_nameplate_and_the_other_keeps_to_its_fallback(tmp_path: Path) -> None:
    one, _ = pair()
    control = controlled(tmp_path, settings(tmp_path, limit_w=2600, grantSeconds=2.0))
    async with leading(control, one):
        await asyncio.sleep(3.0)
        assert one.in_force_w == pytest.approx(640.0)  # the fallback: 200 W and four cards at 100 W with their share


class PowerSaving(BareWork):
    """A scheduler that has switched the second node off."""

    asleep = frozenset({"gpu-0002"})


async def test_a_node_that_its_scheduler_switched_off_leaves_its_nameplate_to_the_others(tmp_path: Path) -> None:
    one, _ = pair()
    told = settings(tmp_path, limit_w=2600, grantSeconds=2.0)
    control = Controller(told, StateFolder(tmp_path), PowerSaving(()))
    async with leading(control, one):
        await until(lambda: one.in_force_w > 1500.0)
        assert one.in_force_w + 640.0 <= 2600.0


async def test_watts_that_an_idle_node_leaves_go_to_the_one_that_works(tmp_path: Path) -> None:
    one, two = pair()
    two.wants_w = 60.0
    async with leading(controlled(tmp_path, settings(tmp_path, limit_w=2600)), one, two):
        await until(lambda: one.in_force_w > 1700.0)
        assert one.in_force_w + two.in_force_w <= 2600.0


async def test_a_job_is_steered_by_the_profile_of_its_name(tmp_path: Path) -> None:
    one, two = pair()
    one.jobs, two.jobs = ("team/chat-7",), ("team/train-1",)
    profiles = [
        {"metadata": {"name": "chat"}, "spec": {"selector": {"names": ["*/chat-*"]}, "protected": True}},
        {"metadata": {"name": "train"}, "spec": {"selector": {"names": ["*/train-*"]}, "maxSlowdownPercent": 60}},
    ]
    control = controlled(tmp_path, settings(tmp_path, limit_w=2900, profiles=profiles))
    async with leading(control, one, two):
        await until(lambda: min(one.caps_w) >= 385.0 and max(two.caps_w) < 300.0)
        assert {hint.job for hint in two.hints} == {"team/train-1"}


async def test_a_rack_is_held_as_well_as_the_hall(tmp_path: Path) -> None:
    one, two = pair()
    base = settings(tmp_path).model_dump(by_alias=True, exclude_unset=True)
    rack = {"metadata": {"name": "rack"}, "spec": {"parent": "hall", "limitWatts": 1300, "guaranteedWatts": 700}}
    first, second = ({**base["groups"][0], "name": f"g{i}", "nodes": 1, "nodeNames": [f"gpu-000{i}"]} for i in (1, 2))
    groups = [{**first, "budget": "rack"}, second]
    control = controlled(tmp_path, settings(tmp_path, groups=groups, budgets=[*base["budgets"], rack]))
    async with leading(control, one, two):
        await until(lambda: two.in_force_w > 1900.0)
        for _ in range(20):
            assert one.in_force_w <= 1300.0
            await asyncio.sleep(0.05)


async def test_what_was_recorded_is_decided_again(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    control = controlled(tmp_path, settings(tmp_path), Recorder(record))
    async with leading(control, *pair()):
        await until(lambda: control.page.sequence >= 3)
    seen: list[object] = []
    assert replay(record, decide, seen.append) is None
    assert len(seen) >= 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"listen": {"port": 0}}, "nobody is believed otherwise"),
        ({"tickSeconds": -1}, "greater than"),
        ({"groups": []}, "at least 1 item"),
    ],
)
def test_a_mistake_in_the_settings_is_told(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        settings(tmp_path, **change)


async def test_in_shadow_nothing_is_held_back_and_the_page_says_what_would_be(tmp_path: Path) -> None:
    one, two = pair()
    spec = {"limitWatts": 2600, "guaranteedWatts": 1600, "mode": "Shadow"}
    told = settings(tmp_path, budgets=[{"metadata": {"name": "hall"}, "spec": spec}])
    control = controlled(tmp_path, told)
    async with leading(control, one, two):
        await until(lambda: min(one.caps_w + two.caps_w) >= 395.0)
        await until(lambda: control.page.view is not None and control.page.view.state != "within", 30.0)
        assert control.page.view is not None
        assert control.page.view.mode == "Shadow"
        assert min(one.caps_w + two.caps_w) >= 395.0


def moded(folder: Path, mode: str, **more: Any) -> ControllerSettings:
    spec = {"limitWatts": 2600, "guaranteedWatts": 1600, "mode": mode}
    return settings(folder, budgets=[{"metadata": {"name": "hall"}, "spec": spec}], **more)


class Noted(BareWork):
    """A scheduler that notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__(())
        self.asked: list[str] = []

    def act(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        self.asked.append("act")

    def let_go(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        self.asked.append("let go")


async def test_from_enforce_to_shadow_all_is_given_back_and_from_shadow_to_enforce_the_limit_holds(
    tmp_path: Path,
) -> None:
    one, two = pair()
    one.jobs = two.jobs = ("team/train-1",)
    work = Noted()
    control = Controller(moded(tmp_path, "Enforce"), StateFolder(tmp_path), work)
    async with leading(control, one, two):
        await until(lambda: 2000.0 < one.in_force_w + two.in_force_w <= 2600.0 and bool(one.hints))
        assert set(work.asked) == {"act"}
        control.change(moded(tmp_path, "Shadow"))
        await until(lambda: min(one.caps_w + two.caps_w) >= 395.0)
        await until(lambda: one.hints == two.hints == ())
        assert work.asked[-1] == "let go"
        control.change(moded(tmp_path, "Enforce"))
        await until(lambda: one.in_force_w + two.in_force_w <= 2600.0)
        assert work.asked[-1] == "act"


async def test_in_shadow_no_node_falls_when_its_leader_dies_and_in_earnest_each_does(tmp_path: Path) -> None:
    one, two = pair()
    one.falls_as_told = two.falls_as_told = True
    control = controlled(tmp_path, moded(tmp_path, "Shadow", grantSeconds=2.0))
    async with leading(control, one, two):
        await until(lambda: min(one.caps_w + two.caps_w) >= 395.0)
        assert control.grantor.ledger is not None
        await until(lambda: control.grantor.ledger is not None and control.grantor.ledger.fallback_shortfall_w() == 0.0)
        control.grantor.step_down()
        await asyncio.sleep(3.0)
        assert min(one.caps_w + two.caps_w) >= 395.0
    control = controlled(tmp_path, moded(tmp_path, "Enforce", grantSeconds=2.0))
    async with leading(control, one, two, epoch=2):
        await until(lambda: one.in_force_w + two.in_force_w <= 2600.0)
        # 200 W, a tenth of the cards' rating, and four cards at 100 W
        await until(lambda: one.fallback_w == two.fallback_w == 760.0)
        control.grantor.step_down()
        await until(lambda: max(one.in_force_w, two.in_force_w) <= 760.0)


async def test_work_that_comes_is_decided_on_before_the_next_tick_is_due(tmp_path: Path) -> None:
    control = controlled(tmp_path, settings(tmp_path, tickSeconds=20))
    async with leading(control, *pair()):
        await until(lambda: control.newest is not None)
        await asyncio.sleep(2 * EARLY_S)
        before = control.newest
        await asyncio.sleep(2 * EARLY_S)
        assert control.newest is before
        control.workload.came.set()
        await until(lambda: control.newest is not before, 5.0)


async def test_however_much_work_comes_ticks_keep_their_distance(tmp_path: Path) -> None:
    control = controlled(tmp_path, settings(tmp_path))
    begun_s: list[float] = []
    async with leading(control, *pair()):
        for _ in range(200):
            control.workload.came.set()
            if control.newest and control.newest.snapshot.now_s not in begun_s[-1:]:
                begun_s.append(control.newest.snapshot.now_s)
            await asyncio.sleep(0.01)
    assert len(begun_s) > 2
    assert min(later - sooner for sooner, later in pairwise(begun_s)) > 0.9 * EARLY_S


async def test_a_service_manager_hears_that_it_decides(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path_factory.mktemp("n") / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        async with leading(controlled(tmp_path, settings(tmp_path)), *pair()):
            told = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(manager, 64), 10.0)
    assert told == b"WATCHDOG=1"
