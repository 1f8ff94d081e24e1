"""A hall of nodes with a grantor on a real socket, and nodes whose hardware obeys at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from wattlease.core.lease import Grant, Holder, Member, Refused, Target, allowed_w, ask, hear
from wattlease.runtime.lease.client import Duties
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.identity import Identity
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.leadership import Term
from wattlease.runtime.lease.members import Kind, Membership
from wattlease.runtime.lease.report import CardReport, Hint, NodeReport, Renewal, Reply
from wattlease.runtime.lease.service import LeaseService, serving
from wattlease.runtime.lease.store import StateFolder
from wattlease.runtime.lease.terms import GrantTerms
from wattlease.runtime.lease.tls import ServerTls

FALLBACK_W, NAMEPLATE_W, LIMIT_W = 1600.0, 5600.0, 12_000.0
SECRET = b"sixteen bytes or more"


class Hall:
    """Three nodes under 12 kW; `n1` and `n2` are configured, `gpu-*` enrol."""

    def __init__(self, folder: Path, now: Now = steady_s, **terms: Any) -> None:
        members = [Member(name=name, fallback_w=FALLBACK_W, nameplate_w=NAMEPLATE_W) for name in ("n1", "n2")]
        self.folder = StateFolder(folder)
        self.grantor = Grantor(
            GrantTerms.model_validate({"guaranteed_w": 6000.0, "plan_lasts_s": 600.0, **terms}),
            Membership(members, [Kind("gpu-*", FALLBACK_W, NAMEPLATE_W)]),
            self.folder,
            now,
        )
        self.secret = SharedSecret(SECRET)

    async def lead(self, epoch: int = 1, lasts_s: float = 1e6) -> None:
        """Begin, and wait until the roster is on disk."""
        assert await self.grantor.begin(Term(epoch, self.grantor.now() + lasts_s)) is None
        ledger = self.grantor.ledger
        assert ledger
        while ledger.saved_revision < ledger.revision:
            await asyncio.sleep(0.002)

    def plan(self, limit_w: float = LIMIT_W, **wishes_w: float) -> None:
        targets: Mapping[str, Target] = {name: Target(w, (w / 2, w / 2)) for name, w in wishes_w.items()}
        assert not isinstance(self.grantor.plan(targets, limit_w), Refused)

    def headers(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret.token(name)}", "Content-Type": "application/json"}

    @asynccontextmanager
    async def serving(
        self, identity: Identity | None = None, tls: ServerTls | None = None
    ) -> AsyncIterator[tuple[LeaseService, str]]:
        known_by = identity or self.secret
        service = LeaseService(self.grantor, known_by)
        async with serving(service, known_by, "127.0.0.1", 0, tls) as address:
            yield service, address


class Node:
    """A node whose two cards take any limit at once; what it was told is kept."""

    def __init__(self, name: str, fallback_w: float = FALLBACK_W, life: str = "first") -> None:
        self.holder = Holder(name, life, fallback_w)
        self.in_force_w = fallback_w
        self.grants: list[Grant | None] = []
        self.hints: list[tuple[Hint, ...]] = []
        self.saved_w: list[float] = []

    # By hand

    def renewal(self, wait_s: float = 0.0) -> Renewal:
        self.holder, request = ask(self.holder, steady_s(), self.in_force_w)
        return Renewal(request=request, report=self.report()[0], wait_s=wait_s)

    def hear(self, reply: Reply | Refused) -> float:
        """Obey; what it may draw then."""
        assert isinstance(reply, Reply), reply
        self.holder, refused = hear(self.holder, reply.answer)
        assert refused is None, refused
        self.in_force_w = allowed_w(self.holder, steady_s())
        return self.in_force_w

    async def settle(self, grantor: Grantor, rounds: int = 3) -> float:
        """Renew a few times; what it may draw then."""
        for _ in range(rounds):
            self.hear(await grantor.answer(self.renewal()))
        return self.in_force_w

    async def post(
        self, session: aiohttp.ClientSession, address: str, headers: Mapping[str, str], wait_s: float = 0.0
    ) -> float:
        """Renew over the wire; what it may draw then."""
        body = self.renewal(wait_s).model_dump_json()
        async with session.post(f"{address}/v1/lease", data=body, headers=headers) as response:
            text = await response.text()
            assert response.status == 200, text
            return self.hear(Reply.model_validate_json(text))

    # By the client

    def duties(self) -> Duties:
        return Duties(self.report, self.obey, self.hints.append, self.saved_w.append)

    def report(self) -> tuple[NodeReport, float]:
        cards = tuple(
            CardReport(
                uuid=f"GPU-{index}", index=index, model="NVIDIA H100 80GB HBM3", age_s=0.1, power_w=512.25,
                energy_j=1e9 + index, limit_w=self.in_force_w / 2, min_w=200.0, max_w=700.0,
            )
            for index in range(2)
        )  # fmt: skip
        return NodeReport(cards=cards, power_w=1400.0, power_source="rapl"), self.in_force_w

    async def obey(self, grant: Grant | None) -> None:
        self.grants.append(grant)
        self.in_force_w = grant.watts_w if grant else self.holder.fallback_w


@pytest.fixture(name="hall_of", scope="session")
def _hall_of() -> type[Hall]:
    return Hall


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path)


@pytest.fixture(name="node_of", scope="session")
def _node_of() -> type[Node]:
    return Node
