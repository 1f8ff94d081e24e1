"""The lease over real HTTP on loopback: what is answered, when, and to whom."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from wattlease.runtime.lease.health import health_app
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.report import Hint, Reply
from wattlease.runtime.lease.service import BURST, LeaseService, listening, serving


@pytest.fixture
async def session() -> Any:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_a_node_is_fenced_first_and_then_granted_what_the_plan_says(
    hall: Any, node_of: Any, session: Any
) -> None:
    await hall.lead()
    hall.plan(n1=5000.0)
    n1, n2 = node_of("n1"), node_of("n2")
    async with hall.serving() as (_, address):
        assert await n1.post(session, address, hall.headers("n1")) == 1600.0
        assert n1.holder.epoch == 1
        for _ in range(2):
            await n2.post(session, address, hall.headers("n2"))
        for _ in range(2):
            allowed_w = await n1.post(session, address, hall.headers("n1"))
    assert allowed_w == 5000.0


async def test_a_cut_reaches_a_request_that_waits_at_once(tmp_path: Path, hall_of: Any, node_of: Any) -> None:
    hall, node = hall_of(tmp_path, wait_max_s=60.0), node_of("n1")
    await hall.lead()
    hall.plan(n1=1700.0)
    async with hall.serving() as (_, address), aiohttp.ClientSession() as session:
        for other in (node, node_of("n2")):
            await other.settle(hall.grantor, 2)
        assert await node.post(session, address, hall.headers("n1")) == 1700.0
        asked = asyncio.create_task(node.post(session, address, hall.headers("n1"), wait_s=50.0))
        while not len(hall.grantor.polls):
            await asyncio.sleep(0.01)
        hall.plan(n1=1650.0)
        assert await asyncio.wait_for(asked, 20.0) == 1650.0


async def test_hints_come_with_the_answer(hall: Any, node_of: Any, session: Any) -> None:
    await hall.lead()
    hall.plan()
    hints = (Hint(job="4711", checkpoint=True, pause=True, why="the event begins at 18:00"),)
    hall.grantor.set_hints("n1", hints)
    async with hall.serving() as (_, address):
        body = node_of("n1").renewal().model_dump_json()
        async with session.post(f"{address}/v1/lease", data=body, headers=hall.headers("n1")) as response:
            assert Reply.model_validate_json(await response.text()).hints == hints


async def test_a_shared_secret_is_served_on_loopback_only(hall: Any) -> None:
    service = LeaseService(hall.grantor, hall.secret)
    with pytest.raises(ValueError, match=r"for this machine only, not for 0\.0\.0\.0"):
        async with serving(service, hall.secret, "0.0.0.0", 0):
            pass
    with pytest.raises(ValueError, match="at least 16"):
        SharedSecret(b"short")


async def test_it_is_ready_only_while_it_leads_and_has_planned(tmp_path: Path, hall_of: Any, session: Any) -> None:
    hall = hall_of(tmp_path)
    service = LeaseService(hall.grantor, hall.secret)

    async def ready() -> tuple[int, str]:
        async with session.get(f"{address}/readyz") as response:
            return response.status, await response.text()

    async with listening(health_app(hall.grantor, service.refusals), "127.0.0.1", 0) as address:
        assert await ready() == (503, "not ready: another grantor leads, or none does yet\n")
        await hall.lead()
        assert (await ready())[0] == 503
        hall.plan()
        assert await ready() == (200, "ready\n")
        async with session.get(f"{address}/healthz") as response:
            assert response.status == 200
        hall.grantor.step_down()
        assert (await ready())[0] == 503


async def test_metrics_tell_what_is_committed_and_what_was_refused(hall: Any, node_of: Any, session: Any) -> None:
    await hall.lead()
    hall.plan()
    async with (
        hall.serving() as (service, address),
        listening(health_app(hall.grantor, service.refusals), "127.0.0.1", 0) as health,
    ):
        for name in ("n1", "n2"):
            await node_of(name).post(session, address, hall.headers(name))
        async with session.post(f"{address}/v1/lease", data=b"{}") as response:
            assert response.status == 401
        async with session.get(f"{health}/metrics") as response:
            lines = (await response.text()).splitlines()
    for line in (
        "wattlease_committed_watts 11200.0",  # fenced, not heard: nameplates
        "wattlease_lease_limit_watts 12000.0",
        "wattlease_lease_members 2.0",
        "wattlease_lease_epoch 1.0",
        "wattlease_lease_leads 1.0",
        'wattlease_lease_refusals_total{status="401"} 1.0',
        "wattlease_lease_renewals_total 2.0",
    ):
        assert line in lines


async def test_a_flood_of_one_caller_is_refused_and_another_is_heard(hall: Any, node_of: Any, session: Any) -> None:
    await hall.lead()
    hall.plan()
    async with hall.serving() as (service, address):
        statuses = []
        for _ in range(4 * BURST):
            async with session.post(f"{address}/v1/lease", data=b"{}", headers=hall.headers("n1")) as response:
                statuses.append(response.status)
        assert statuses[:BURST] == [400] * BURST
        assert 429 in statuses
        await node_of("n2").post(session, address, hall.headers("n2"))
        assert service.refusals.count[429] == statuses.count(429)
