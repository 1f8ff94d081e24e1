"""Leadership on a Lease, and the state beside it, against an API server on a real socket; each with its own clock."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from wattlease.core.lease import Listed, Member, Refused, Roster
from wattlease.core.memory import FRESH, Seen
from wattlease.runtime.controller.lasting import Lasting
from wattlease.runtime.lease.leadership import Term
from wattlease_operator.aside import Aside
from wattlease_operator.cache import Ref
from wattlease_operator.leadership import EPOCH, LEASES, KubeLeadership
from wattlease_operator.state import CONFIGMAPS, ClusterFile, ClusterState

sys.path.insert(0, str(Path(__file__).parent / "fake"))  # the server is shared with the tests of the client
from kube_server import KubeServer, kube_server

LEASE = Ref(LEASES, "power", "wattlease-operator")
TTL_S = 5.0


@dataclass
class Process:
    """One operator: its own clock, which runs at its own pace, and its own connection."""

    name: str
    server: KubeServer
    pace: float = 1.0
    true_s: float = 0.0
    term: Term | None = None
    offset_s: float = field(default_factory=lambda: random.uniform(0.0, 1e6))

    def __post_init__(self) -> None:
        self.aside = Aside(self.server.configuration, 2.0)
        self.state = ClusterState(self.aside, "power")
        self.leadership = KubeLeadership(self.aside, self.state, LEASE, self.name, self.now, TTL_S)

    def now(self) -> float:
        return self.offset_s + self.true_s * self.pace

    def leads(self) -> bool:
        return self.term is not None and self.now() < self.term.until_s

    async def stand(self) -> Term | Refused:
        found = await asyncio.to_thread(self.leadership.stand)
        if isinstance(found, Term):
            self.term = found
        return found

    async def renew(self) -> Term | Refused:
        assert self.term is not None
        found = await asyncio.to_thread(self.leadership.renew, self.term)
        if isinstance(found, Term):
            self.term = found
        return found

    async def resign(self) -> None:
        assert self.term is not None
        await asyncio.to_thread(self.leadership.resign, self.term)
        self.term = None


@asynccontextmanager
async def processes(*names: str) -> AsyncIterator[tuple[KubeServer, list[Process]]]:
    async with kube_server() as server:
        found = [Process(name, server) for name in names]
        try:
            yield server, found
        finally:
            server.hangs = False
            for process in found:
                await asyncio.to_thread(process.aside.close)


def pass_s(found: list[Process], span_s: float) -> None:
    for process in found:
        process.true_s += span_s


def term(found: Term | Refused) -> Term:
    assert isinstance(found, Term), found
    return found


def reason(found: Term | Refused | None) -> str:
    assert isinstance(found, Refused), found
    return found.reason


async def begun(found: list[Process]) -> Term:
    """The first leads; where nothing is written yet, an operator may lead of whom nothing is left."""
    for _ in range(3):
        assert "nothing is left of" in reason(await found[0].stand())
        pass_s(found, TTL_S / 3 + 0.1)
    return term(await found[0].stand())


async def test_one_leads_and_the_other_follows_once_it_was_not_renewed_for_its_time_to_live() -> None:
    async with processes("one", "two") as (_, both):
        one, two = both
        first = await begun(both)
        assert first.until_s == one.now() + TTL_S
        for _ in range(4):
            pass_s(both, 2.0)
            assert term(await one.renew()).epoch == first.epoch
            assert "one leads" in reason(await two.stand())
        pass_s(both, TTL_S)
        assert "one leads" in reason(await two.stand()), "its clock may run fast"
        pass_s(both, 0.1)
        assert term(await two.stand()).epoch > first.epoch
        assert "two leads" in reason(await one.renew())


async def test_a_leader_that_resigns_is_followed_at_once() -> None:
    async with processes("one", "two") as (_, both):
        one, two = both
        first = await begun(both)
        await one.resign()
        assert term(await two.stand()).epoch == first.epoch + 1
        await one.stand()
        assert two.leads()


async def test_the_same_process_leads_on_at_once_under_a_new_epoch() -> None:
    async with processes("one") as (_, [one]):
        first = await begun([one])
        assert term(await one.stand()).epoch == first.epoch + 1


async def test_a_lease_that_somebody_deletes_is_made_anew_and_nobody_else_leads() -> None:
    async with processes("one", "two") as (server, both):
        one, two = both
        first = await begun(both)
        server.remove(LEASES, "power", LEASE.name)
        assert "one leads" in reason(await two.stand())
        pass_s(both, TTL_S - 0.5)
        assert term(await one.renew()).epoch == first.epoch
        pass_s(both, 1.0)
        assert "one leads" in reason(await two.stand())


async def test_the_epoch_rises_though_the_lease_was_deleted_with_its_leader() -> None:
    async with processes("one", "two") as (server, both):
        one, two = both
        first = await begun(both)
        server.remove(LEASES, "power", LEASE.name)
        reason(await two.stand())
        pass_s(both, TTL_S + 0.1)
        assert term(await two.stand()).epoch > first.epoch
        reason(await one.renew())


async def test_the_epoch_rises_though_the_state_or_all_was_deleted() -> None:
    async with processes("one", "two") as (server, [one, two]):
        first = await begun([one, two])
        await one.resign()
        server.remove(CONFIGMAPS, "power", "wattlease-state")
        second = term(await two.stand())
        assert second.epoch > first.epoch
        await two.resign()
        server.remove(CONFIGMAPS, "power", "wattlease-state")
        server.remove(LEASES, "power", LEASE.name)
        pass_s([one, two], 4.1)
        await asyncio.sleep(4.1)  # an epoch is at least of now, and leaders do not change every second
        third = await begun([one, two])
        assert third.epoch > second.epoch
        assert third.epoch >= int(time.time()) - 2


async def test_an_api_server_that_is_away_is_a_reason_and_not_the_end() -> None:
    async with processes("one") as (server, [one]):
        server.hangs = True
        assert "leadership cannot be had" in reason(await one.stand())
        server.hangs = False
        pass_s([one], 60.0)
        first = await begun([one])
        server.hangs = True
        assert "leadership cannot be had" in reason(await one.renew())
        await one.resign()
        server.hangs = False
        assert term(await one.stand()).epoch == first.epoch + 1


async def test_people_read_in_the_lease_who_leads() -> None:
    async with processes("one") as (server, [one]):
        epoch = (await begun([one])).epoch
        [lease] = [b for p, b in server.objects.items() if "/leases/" in p]
        spec = lease["spec"]
        assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("one", 5, 1)
        assert lease["metadata"]["annotations"][EPOCH] == str(epoch)
        acquired = spec["acquireTime"]
        await one.renew()
        [lease] = [b for p, b in server.objects.items() if "/leases/" in p]
        assert lease["spec"]["acquireTime"] == acquired < lease["spec"]["renewTime"]


ROSTER = Roster(
    ttl_s=10.0, listed=(Listed(member=Member(name="a", fallback_w=10.0, nameplate_w=20.0), counted_w=12.0),)
)


async def test_the_roster_outlives_its_leader_and_a_former_one_overwrites_nothing() -> None:
    async with processes("one", "two") as (server, [one, two]):
        first = await begun([one, two])
        assert await asyncio.to_thread(one.state.load, 10.0) == Roster(ttl_s=10.0)
        assert await asyncio.to_thread(one.state.save, ROSTER, first.epoch) is None
        await one.resign()
        term(await two.stand())
        assert await asyncio.to_thread(two.state.load, 10.0) == ROSTER
        late = await asyncio.to_thread(one.state.save, Roster(ttl_s=1.0), first.epoch)
        assert "has begun" in reason(late)
        state = next(b for p, b in server.objects.items() if p.endswith("wattlease-state"))
        state["binaryData"]["roster"] = "bm9uc2Vuc2U="
        assert "restore it from a backup" in reason(await asyncio.to_thread(two.state.load, 10.0))  # type: ignore[arg-type]


async def test_what_was_learned_outlives_the_process() -> None:
    async with processes("one", "two") as (_, [one, two]):
        memory = FRESH.__class__(history={"job": Seen(400.0, 10.0, 3, 1e9)}, debts={"team": 2.5})
        lasting = [Lasting(ClusterFile(p.aside, "power", "wattlease-learned")) for p in (one, two)]
        assert await asyncio.to_thread(lasting[0].load) is FRESH
        await asyncio.to_thread(lasting[0].save, memory)
        found = await asyncio.to_thread(lasting[1].load)
        assert (found.history, found.debts) == (memory.history, memory.debts)


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_lost_or_deleted_never_do_two_lead_and_never_does_an_epoch_come_twice(seed: int) -> None:
    chance = random.Random(seed)
    async with processes("one", "two", "three") as (server, all_):
        for process in all_:
            process.pace = chance.uniform(1.0 - 4e-4, 1.0 + 4e-4)
        led: dict[int, str] = {}
        for _ in range(150):
            who = chance.choice(all_)
            server.loses = chance.random() < 0.15
            if who.leads() and chance.random() < 0.9:
                await who.renew()
            elif not who.leads():
                found = await who.stand()
                if isinstance(found, Term):
                    assert led.setdefault(found.epoch, who.name) == who.name
                    assert found.epoch == max(led)
            server.loses = False
            for path in list(server.objects):
                if "/leases/" in path and chance.random() < 0.03:
                    server.remove(LEASES, "power", LEASE.name)
            leaders = [process.name for process in all_ if process.leads()]
            assert len(leaders) <= 1, leaders
            pass_s(all_, chance.choice([0.0, 0.3, 1.0, 2.0]))
        assert len(led) >= 3, "leadership passed on"
