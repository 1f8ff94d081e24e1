"""The shell around the ledger: who is woken, what a stale plan still grants, and who is believed to be a member."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from wattlease.core.lease import Member, Refused
from wattlease.runtime.lease.clock import SteadyClock, steady_s
from wattlease.runtime.lease.members import Kind, Membership
from wattlease.runtime.lease.report import Hint


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def waiting(hall: Any, node: Any) -> asyncio.Task[Any]:
    """The node's request, once it waits."""
    task = asyncio.create_task(hall.grantor.answer(node.renewal(wait_s=50.0)))
    while not len(hall.grantor.polls) and not task.done():
        await asyncio.sleep(0)
    assert not task.done()
    return task


@pytest.fixture
async def settled(tmp_path: Path, hall_of: Any, node_of: Any) -> tuple[Any, Any, Any]:
    """A hall that leads, and both nodes at 5 kW of its 12 kW."""
    hall = hall_of(tmp_path, wait_max_s=60.0)
    await hall.lead()
    hall.plan(n1=5000.0, n2=5000.0)
    nodes = node_of("n1"), node_of("n2")
    for _ in range(3):
        for node in nodes:
            await node.settle(hall.grantor, 1)
    assert [node.in_force_w for node in nodes] == [5000.0, 5000.0]
    return hall, *nodes


async def test_a_cut_wakes_the_one_whom_it_concerns_and_nobody_else(settled: Any) -> None:
    hall, n1, n2 = settled
    first = await waiting(hall, n1)
    second = asyncio.create_task(hall.grantor.answer(n2.renewal(wait_s=50.0)))
    await asyncio.sleep(0.01)
    hall.plan(n1=3000.0, n2=5000.0)
    assert n1.hear(await first) == 3000.0
    assert not second.done()
    hall.plan(n1=3000.0, n2=2000.0)
    assert n2.hear(await second) == 2000.0


async def test_a_small_raise_waits_for_the_next_request_and_a_large_one_does_not(settled: Any) -> None:
    hall, n1, _ = settled
    task = await waiting(hall, n1)
    hall.plan(n1=5010.0, n2=5000.0)
    await asyncio.sleep(0.02)
    assert not task.done()
    hall.plan(n1=5200.0, n2=5000.0)
    assert n1.hear(await task) == 5200.0


async def test_watts_that_one_returns_wake_the_one_who_waits_for_them(settled: Any) -> None:
    hall, n1, n2 = settled
    hall.plan(limit_w=10_000.0, n1=5500.0, n2=4500.0)
    task = await waiting(hall, n1)
    await n2.settle(hall.grantor, 2)
    assert n1.hear(await asyncio.wait_for(task, 10.0)) == 5500.0


async def test_new_hints_wake_their_node_and_come_with_each_answer(settled: Any) -> None:
    hall, n1, _ = settled
    task = await waiting(hall, n1)
    hints = (Hint(job="4711", batch_frac=0.5, why="feed A is over its limit"),)
    hall.grantor.set_hints("n1", hints)
    assert (await task).hints == hints
    assert (await hall.grantor.answer(n1.renewal())).hints == hints


async def test_a_new_request_of_the_same_holder_ends_the_one_that_waits(settled: Any) -> None:
    hall, n1, _ = settled
    task = await waiting(hall, n1)
    await n1.settle(hall.grantor, 1)
    assert isinstance(await task, Refused)


async def test_who_waits_when_the_grantor_steps_down_is_told_so_and_granted_nothing(settled: Any) -> None:
    hall, n1, _ = settled
    task = await waiting(hall, n1)
    hall.grantor.step_down()
    assert isinstance(await task, Refused)


async def test_a_grantor_that_wakes_grants_nothing_until_it_has_planned_anew(
    tmp_path: Path, hall_of: Any, node_of: Any
) -> None:
    clock = Hand()
    hall, node = hall_of(tmp_path, now=clock, plan_lasts_s=5.0), node_of("n1")
    await hall.lead()
    hall.plan(n1=5000.0)
    await hall.grantor.answer(node.renewal())
    clock.now_s += 11.0
    hall.plan(n1=5000.0)
    assert await node.settle(hall.grantor) == 5000.0
    clock.now_s += 6.0
    reply = await hall.grantor.answer(node.renewal())
    assert reply.answer.grant is None
    hall.plan(n1=3000.0)
    assert await node.settle(hall.grantor) == 3000.0


async def test_a_node_of_a_known_kind_enrols_with_its_first_call_and_is_granted_once_it_is_on_disk(
    hall: Any, node_of: Any
) -> None:
    await hall.lead()
    hall.plan(n1=2000.0, n2=2000.0)
    gpu = node_of("gpu-7")
    await gpu.settle(hall.grantor, 1)
    ledger = hall.grantor.ledger
    while ledger.saved_revision < ledger.revision:
        await asyncio.sleep(0.002)
    hall.plan(limit_w=20_000.0, **{"gpu-7": 2500.0, "n1": 2000.0, "n2": 2000.0})
    nodes = (gpu, node_of("n1"), node_of("n2"))
    for _ in range(3):
        for node in nodes:
            await node.settle(hall.grantor, 1)
    assert await gpu.settle(hall.grantor) == 2500.0
    roster = hall.folder.load(10.0)
    assert {listed.member.name for listed in roster.listed} == {"n1", "n2", "gpu-7"}


async def test_a_stranger_is_no_member_and_leaves_no_trace(hall: Any, node_of: Any) -> None:
    await hall.lead()
    refused = await hall.grantor.answer(node_of("laptop").renewal())
    assert isinstance(refused, Refused)
    assert "laptop" not in hall.grantor.ledger.accounts
    assert not hall.grantor.may_ask("laptop")


async def test_who_is_no_longer_configured_is_answered_no_more(hall: Any, node_of: Any) -> None:
    await hall.lead()
    hall.plan(n1=2000.0)
    n2 = node_of("n2")
    await n2.settle(hall.grantor)
    hall.grantor.change(Membership([Member(name="n1", fallback_w=1600.0, nameplate_w=5600.0)]))
    assert isinstance(await hall.grantor.answer(n2.renewal()), Refused)
    assert not hall.grantor.may_ask("n2")


async def test_reports_are_kept_with_the_time_they_were_heard(settled: Any) -> None:
    hall, _, _ = settled
    heard = hall.grantor.reports["n1"]
    assert [card.uuid for card in heard.report.cards] == ["GPU-0", "GPU-1"]
    assert 0.0 <= steady_s() - heard.heard_s < 60.0


def test_the_first_kind_that_matches_counts_and_a_configured_member_before_all() -> None:
    named = Member(name="gpu-1", fallback_w=1.0, nameplate_w=2.0)
    membership = Membership([named], [Kind("gpu-b*", 3.0, 4.0), Kind("gpu-*", 5.0, 6.0)])
    assert membership.admit("gpu-1") == named
    assert membership.admit("gpu-b1") == Member(name="gpu-b1", fallback_w=3.0, nameplate_w=4.0)
    assert membership.admit("gpu-2") == Member(name="gpu-2", fallback_w=5.0, nameplate_w=6.0)
    assert membership.admit("cpu-2") is None


def test_the_clock_never_steps_back() -> None:
    clock = SteadyClock()
    seen_s = [clock() for _ in range(2000)]
    assert seen_s == sorted(seen_s)
