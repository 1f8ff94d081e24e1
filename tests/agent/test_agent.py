"""An agent on virtual cards with a real grantor on a real socket: what holds at its start, in its life, at its end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from wattlease.agent.agent import Agent
from wattlease.agent.settings import AgentSettings
from wattlease.agent.state_folder import AgentFolder
from wattlease.agent.virtual_state import VirtualState, virtual_cards
from wattlease.core.lease import Member, Refused, Target
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.leadership import Term
from wattlease.runtime.lease.members import Membership
from wattlease.runtime.lease.report import Hint
from wattlease.runtime.lease.service import LeaseService, serving
from wattlease.runtime.lease.store import StateFolder
from wattlease.runtime.lease.terms import GrantTerms

SECRET = b"sixteen bytes or more"
TTL_S, FLOOR_W, FALLBACK_W, GRANT_W = 5.0, 1600.0, 2000.0, 4000.0


class Site:
    """A grantor that grants node n1 4 kW (500 W a card), and the cards of that node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = VirtualState.create(folder / "gpus", virtual_cards("n1", "H100", 8))
        terms = GrantTerms(guaranteed_w=6000.0, ttl_s=TTL_S, plan_lasts_s=600.0)
        member = Member(name="n1", fallback_w=FALLBACK_W, nameplate_w=8000.0)
        (folder / "grantor").mkdir()
        self.grantor = Grantor(terms, Membership([member]), StateFolder(folder / "grantor"))

    @property
    def limits_w(self) -> list[float]:
        return [float(limit_mw) / 1e3 for limit_mw in self.state.cards["limit_mw"]]

    def has_its_grant(self) -> bool:
        return GRANT_W - 1.0 < sum(self.limits_w) <= GRANT_W

    @asynccontextmanager
    async def grants(self) -> AsyncIterator[str]:
        assert await self.grantor.begin(Term(1, steady_s() + 1e6)) is None
        self.plan(GRANT_W)
        secret = SharedSecret(SECRET)
        async with serving(LeaseService(self.grantor, secret), secret, "127.0.0.1", 0) as address:
            yield address

    def plan(self, watts_w: float) -> None:
        target = Target(watts_w, (watts_w / 8,) * 8)
        assert not isinstance(self.grantor.plan({"n1": target}, 12_000.0), Refused)

    def settings(self, address: str, **others: object) -> AgentSettings:
        (self.folder / "secret").write_bytes(SECRET)
        told = {
            "node": "n1", "backend": "virtual", "virtualGpus": self.folder / "gpus", "grantors": (address,),
            "secretFile": self.folder / "secret", "stateFolder": self.folder / "state", "listen": None,
            "hintsFolder": self.folder / "hints", "renewSeconds": 0.5, "patienceSeconds": 0.12,
            "jobs": {"mappingFolder": self.folder, "cgroupRoot": self.folder / "none"},
        }  # fmt: skip
        return AgentSettings.model_validate({**told, **others})

    @asynccontextmanager
    async def agent(self, address: str, **others: object) -> AsyncIterator[Agent]:
        settings = self.settings(address, **others)
        folder = AgentFolder(settings.state_folder)
        with folder.held():
            agent = Agent(settings, folder)
            running = asyncio.create_task(agent.run())
            try:
                yield agent
            finally:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def until(holds: Callable[[], bool], within_s: float = 30.0) -> float:
    """How long it took."""
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < within_s, "it did not come about"
        await asyncio.sleep(0.01)
    return time.monotonic() - began_s


async def test_it_stands_at_its_fallback_before_it_asks_anyone(site: Site) -> None:
    found_w: list[float] = []

    async def hear(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found_w.append(sum(site.limits_w))
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, site.agent(f"http://127.0.0.1:{port}", patienceSeconds=2.0):
        assert sum(site.limits_w) == 5600.0
        await until(lambda: bool(found_w))
    assert found_w[0] == FLOOR_W


async def test_at_its_cards_least_limits_idle_cards_do_not_wake_the_guard(site: Site) -> None:
    async with site.agent("http://127.0.0.1:9") as agent:
        await asyncio.sleep(1.6)
        assert agent.hands.counts.guard_cuts == 0


async def test_a_fallback_on_disk_wins_over_the_configured_one(site: Site) -> None:
    AgentFolder(site.folder).save_fallback(FALLBACK_W)
    (site.folder / "state").mkdir()
    (site.folder / "fallback.json").rename(site.folder / "state" / "fallback.json")
    async with site.agent("http://127.0.0.1:9", fallbackWatts=5000.0) as agent:
        await until(lambda: agent.client is not None)
        assert FALLBACK_W - 1.0 <= sum(site.limits_w) <= FALLBACK_W


async def test_a_torn_fallback_on_disk_brings_every_card_to_its_least_limit(site: Site) -> None:
    (site.folder / "state").mkdir()
    (site.folder / "state" / "fallback.json").write_text('{"fallback_w": 50')
    async with site.agent("http://127.0.0.1:9", fallbackWatts=5000.0) as agent:
        await until(lambda: agent.client is not None)
        assert sum(site.limits_w) == FLOOR_W


async def test_it_gets_its_grant_and_the_grantor_hears_of_it(site: Site) -> None:
    async with site.grants() as address, site.agent(address) as agent:
        took_s = await until(site.has_its_grant)
        await until(lambda: site.grantor.reports["n1"].report.cards[0].limit_w > 499.0)
        assert AgentFolder(site.folder / "state").fallback_w() == FALLBACK_W
        assert agent.why_unready() == ""
        site.plan(3000.0)
        cut_s = await until(lambda: sum(site.limits_w) <= 3000.0)
        stopped_w = sum(site.limits_w)
    print(f"granted {took_s:.2f} s after the start, cut within {cut_s:.3f} s")
    await asyncio.sleep(TTL_S)
    assert sum(site.limits_w) == stopped_w


async def test_when_the_grantor_is_gone_it_falls_back_in_time_though_a_card_hangs(site: Site) -> None:
    async with site.grants() as address:
        agent = site.agent(address)
        await agent.__aenter__()
        await until(site.has_its_grant)
        site.state.hang(0, "read", 30.0)
        site.state.hang(0, "set", 30.0)
    took_s = await until(lambda: sum(site.limits_w) <= FALLBACK_W)
    site.state.hang(0, "read", 0.0, calls=0)
    await agent.__aexit__(None, None, None)
    print(f"fell back {took_s:.2f} s after the grantor had gone")
    assert took_s <= TTL_S
    assert site.limits_w[0] > 499.0


async def test_a_stalled_event_loop_does_not_keep_it_from_falling_back(site: Site) -> None:
    async with site.grants() as address, site.agent(address):
        await until(site.has_its_grant)
        time.sleep(TTL_S)
        assert sum(site.limits_w) <= FALLBACK_W
        await until(site.has_its_grant)


async def test_a_grant_that_ends_before_the_cards_could_be_brought_down_is_not_used(site: Site) -> None:
    async with site.grants() as address, site.agent(address, patienceSeconds=0.6) as agent:
        await until(agent.is_granted)
        await asyncio.sleep(1.0)
        assert agent.is_granted()
        assert sum(site.limits_w) == FLOOR_W


async def test_a_limit_that_someone_else_raises_is_lowered_and_counted(site: Site) -> None:
    async with site.grants() as address, site.agent(address, listen="127.0.0.1:0") as agent:
        await until(site.has_its_grant)
        await asyncio.sleep(1.0)
        site.state.write_limit(3, 700.0)
        took_s = await until(lambda: sum(site.limits_w) <= GRANT_W)
        await asyncio.sleep(1.0)  # until that was read back: what comes in between passes for the card's own doing
        site.state.write_limit(3, 300.0)
        await until(lambda: site.limits_w[3] > 499.0)
        assert agent.hands.counts.foreign_writes == 2
    print(f"lowered {took_s:.2f} s after it was raised")


async def test_hints_arrive_in_the_folder_and_are_taken_back(site: Site) -> None:
    hint = site.folder / "hints" / "4711" / "hint.json"
    async with site.grants() as address, site.agent(address):
        site.grantor.set_hints("n1", (Hint(job="4711", batch_frac=0.5, why="a peak"),))
        await until(hint.exists)
        assert json.loads(hint.read_text())["batch_frac"] == 0.5
        site.grantor.set_hints("n1", ())
        await until(lambda: json.loads(hint.read_text())["batch_frac"] == 1.0)


async def test_a_report_tells_which_job_holds_which_card(site: Site) -> None:
    (site.folder / "2").write_text("4711\n")
    async with site.grants() as address, site.agent(address):
        await until(lambda: "n1" in site.grantor.reports and bool(site.grantor.reports["n1"].report.cards[2].shares))
        assert site.grantor.reports["n1"].report.cards[2].shares[0].job == "4711"


async def test_probes_tell_what_holds(site: Site, unused_tcp_port_factory: Callable[[], int]) -> None:
    listen = f"127.0.0.1:{unused_tcp_port_factory()}"
    async with site.grants() as address, site.agent(address, listen=listen), aiohttp.ClientSession() as session:
        await until(site.has_its_grant)
        await asyncio.sleep(1.0)

        async def shown(path: str) -> tuple[int, str]:
            async with session.get(f"http://{listen}{path}") as answer:
                return answer.status, await answer.text()

        assert await shown("/healthz") == (200, "ok\n")
        assert await shown("/readyz") == (200, "ready\n")
        status, text = await shown("/metrics")
        uuid = site.state.cards["uuid"][0].decode()
        assert status == 200
        assert f'wattlease_gpu_limit_watts{{gpu="{uuid}"}} {site.limits_w[0]}' in text
        assert "wattlease_node_allowed_watts 4000.0" in text
        assert "wattlease_node_fallback_watts 2000.0" in text
