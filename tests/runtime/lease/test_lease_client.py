"""A holder on the wire: it obeys, it lapses by itself, it finds the grantor that answers, and no trouble kills it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from wattlease.core.lease import Member
from wattlease.runtime.lease.client import Duties, LeaseClient
from wattlease.runtime.lease.grantors import Grantors, token_file
from wattlease.runtime.lease.members import Membership
from wattlease.runtime.lease.report import Hint

NOWHERE = "http://127.0.0.1:9"  # the discard port, where nothing listens


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    hall: Any, node: Any, *addresses: str, period_s: float = 0.1, duties: Duties | None = None
) -> AsyncIterator[LeaseClient]:
    name = node.holder.name
    grantors = Grantors(addresses, token=lambda: hall.secret.token(name))
    client = LeaseClient(node.holder, grantors, duties or node.duties(), period_s=period_s)
    task = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_two_nodes_share_a_limit_and_watts_move_when_the_plan_does(hall: Any, node_of: Any) -> None:
    await hall.lead()
    hall.plan(limit_w=7000.0, n1=5000.0, n2=2000.0)
    n1, n2 = node_of("n1"), node_of("n2")
    async with (
        hall.serving() as (_, address),
        running(hall, n1, address) as first,
        running(hall, n2, address) as second,
    ):
        await until(lambda: (first.allowed_w(), second.allowed_w()) == (5000.0, 2000.0))
        hall.plan(limit_w=7000.0, n1=2500.0, n2=4500.0)
        await until(lambda: (first.allowed_w(), second.allowed_w()) == (2500.0, 4500.0))
    assert [grant.watts_w for grant in n1.grants if grant][-1] == 2500.0
    assert first.holder.acknowledged is not None


async def test_a_cut_finds_an_open_request_however_long_the_period(tmp_path: Path, hall_of: Any, node_of: Any) -> None:
    hall, n1, n2 = hall_of(tmp_path, wait_max_s=60.0), node_of("n1"), node_of("n2")
    await hall.lead()
    hall.plan(n1=5000.0, n2=1600.0)
    async with (
        hall.serving() as (_, address),
        running(hall, n1, address, period_s=50.0),
        running(hall, n2, address, period_s=50.0),
    ):
        await until(lambda: n1.in_force_w == 5000.0)
        await until(lambda: len(hall.grantor.polls) == 2)
        hall.plan(n1=3000.0, n2=1600.0)
        await until(lambda: n1.in_force_w == 3000.0)


async def test_a_grant_that_cannot_be_renewed_runs_out_by_itself(tmp_path: Path, hall_of: Any, node_of: Any) -> None:
    hall, n1 = hall_of(tmp_path, ttl_s=0.6), node_of("n1")
    await hall.lead()
    hall.plan(n1=2000.0)
    async with hall.serving() as (_, address):
        await node_of("n2").settle(hall.grantor)
        async with running(hall, n1, address) as client:
            await until(lambda: client.allowed_w() == 2000.0)
            hall.grantor.step_down()
            await until(lambda: None in n1.grants)
            assert client.allowed_w() == 1600.0 == n1.in_force_w
            assert "does not lead" in client.trouble


async def beside_an_idle_one(hall: Any, hall_of: Any, tmp_path: Path, node_of: Any) -> Any:
    """Let the hall lead and lend to n1; another, which does not lead, is what comes back."""
    (tmp_path / "other").mkdir()
    idle = hall_of(tmp_path / "other")
    await hall.lead()
    hall.plan(n1=2000.0)
    await node_of("n2").settle(hall.grantor)
    return idle


async def test_the_next_address_is_asked_where_one_does_not_answer_or_does_not_lead(
    hall: Any, hall_of: Any, tmp_path: Path, node_of: Any
) -> None:
    idle, node = await beside_an_idle_one(hall, hall_of, tmp_path, node_of), node_of("n1")
    async with (
        hall.serving() as (_, address),
        idle.serving() as (_, idle_address),
        running(hall, node, NOWHERE, idle_address, address) as client,
    ):
        await until(lambda: client.allowed_w() == 2000.0)
        assert client.failures == 2
        renewals = client.renewals
        await until(lambda: client.renewals > renewals + 3)
        assert client.failures == 2, "it stays with the one that answers"


@asynccontextmanager
async def one_door(*addresses: str) -> AsyncIterator[tuple[str, list[str]]]:
    """One address with several grantors behind it, as a Service has: each connection goes to the next; who had them."""
    taken: list[str] = []

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while part := await source.read(65536):
            sink.write(part)
        sink.close()

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(addresses[len(taken) % len(addresses)])
        host, port = taken[-1].removeprefix("http://").split(":")
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(carry(reader, there_writer), carry(there_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(welcome, "127.0.0.1", 0)
    try:
        yield "http://{}:{}".format(*server.sockets[0].getsockname()[:2]), taken
    finally:
        server.close()


async def test_behind_one_address_that_several_share_it_finds_the_one_that_leads_and_stays_with_it(
    hall: Any, hall_of: Any, tmp_path: Path, node_of: Any
) -> None:
    idle, node = await beside_an_idle_one(hall, hall_of, tmp_path, node_of), node_of("n1")
    async with (
        hall.serving() as (_, address),
        idle.serving() as (_, idle_address),
        one_door(idle_address, address) as (door, taken),
        running(hall, node, door) as client,
    ):
        await until(lambda: client.allowed_w() == 2000.0)
        renewals = client.renewals
        await until(lambda: client.renewals > renewals + 3)
        assert taken == [idle_address, address]
        hall.grantor.step_down()
        await idle.lead(epoch=2)
        idle.plan(n1=2500.0)
        await until(lambda: client.holder.epoch == 2)


async def test_without_any_grantor_it_keeps_asking_and_keeps_to_its_fallback(hall: Any, node_of: Any) -> None:
    node = node_of("n1")
    async with running(hall, node, NOWHERE, period_s=0.02) as client:
        await until(lambda: client.failures > 5)
        assert client.allowed_w() == 1600.0
        assert client.renewals == 0


async def test_hints_are_told_when_they_change_and_only_then(hall: Any, node_of: Any) -> None:
    await hall.lead()
    hall.plan()
    node, hints = node_of("n1"), (Hint(job="4711", batch_frac=0.5),)
    async with hall.serving() as (_, address), running(hall, node, address, period_s=0.02) as client:
        hall.grantor.set_hints("n1", hints)
        await until(lambda: client.renewals > 10)
        assert node.hints == [hints]
        hall.grantor.set_hints("n1", ())
        await until(lambda: len(node.hints) == 2)
    assert node.hints == [hints, ()]


async def test_a_new_fallback_is_on_disk_before_it_is_acknowledged(hall: Any, node_of: Any) -> None:
    await hall.lead()
    hall.plan()
    node, disk = node_of("n1"), {"full": True}

    def save(fallback_w: float) -> None:
        if disk["full"]:
            raise OSError(28, "No space left on device")
        node.saved_w.append(fallback_w)

    duties = Duties(node.report, node.obey, node.hints.append, save)
    async with hall.serving() as (_, address), running(hall, node, address, period_s=0.02, duties=duties) as client:
        members = [Member(name=name, fallback_w=1400.0, nameplate_w=5600.0) for name in ("n1", "n2")]
        hall.grantor.change(Membership(members))
        hall.plan()
        await node_of("n2", fallback_w=1400.0).settle(hall.grantor)
        await until(lambda: client.renewals > 20)
        account = hall.grantor.ledger.accounts["n1"]
        assert (client.holder.fallback_w, account.fallback_w()) == (1600.0, 1600.0)
        disk["full"] = False
        await until(lambda: account.fallback_w() == 1400.0)
    assert node.saved_w == [1400.0]


async def test_a_grant_that_hangs_in_the_hardware_does_not_stop_the_renewals(
    hall: Any, node_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hall.lead()
    hall.plan(n1=5000.0)
    await node_of("n2").settle(hall.grantor)
    node = node_of("n1")

    async def hang(_grant: Any) -> None:
        await asyncio.sleep(3600.0)

    monkeypatch.setattr("wattlease.runtime.lease.client.OBEY_S", 0.05)
    duties = Duties(node.report, hang, node.hints.append, node.saved_w.append)
    async with hall.serving() as (_, address), running(hall, node, address, duties=duties) as client:
        await until(lambda: client.renewals > 4)
        assert client.allowed_w() == 5000.0


def test_a_token_file_is_read_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = token_file(path)
    path.write_text("first\n")
    assert token() == "first"
    path.write_text("second\n")
    assert token() == "second"


async def test_a_token_file_that_is_missing_is_trouble_and_not_the_end(hall: Any, node_of: Any, tmp_path: Path) -> None:
    node = node_of("n1")
    grantors = Grantors([NOWHERE], token=token_file(tmp_path / "none"))
    client = LeaseClient(node.holder, grantors, node.duties(), period_s=0.02)
    task = asyncio.create_task(client.run())
    await until(lambda: client.failures > 2)
    assert "No such file" in client.trouble
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
