"""The whole operator in this process: objects on an API server's socket, agents on the lease's, hardware that obeys."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ports import free_port

from wattlease.core.lease import Grant, Holder
from wattlease.runtime.lease.client import Duties, LeaseClient
from wattlease.runtime.lease.grantors import Grantors
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.report import CardReport, Hint, NodeReport, Share
from wattlease_operator import following, process, reporting, watching
from wattlease_operator.api import Api, path_of
from wattlease_operator.aside import Aside
from wattlease_operator.cache import Cache
from wattlease_operator.following import BUDGETS, PROFILES
from wattlease_operator.kinds import JOBS, NODES
from wattlease_operator.leadership import EPOCH, LEASES
from wattlease_operator.process import Operator
from wattlease_operator.settings import OperatorSettings

sys.path.insert(0, str(Path(__file__).parent / "fake"))  # the server is shared with the tests of the client
from kube_server import KubeServer, kube_server
from leasing_facility import LEASE_S, leasing

SECRET = SharedSecret(b"sixteen bytes or more")
FLOOR_W, PER_IT_FRAC, CARDS = 200.0, 0.1, 4

UNHURRIED = {"leadershipSeconds": 8, "grantSeconds": 10}
"""Where what is asked for would be seen at once: a busy machine ends neither a lead nor a grant meanwhile."""


@dataclass
class Node:
    """Cards that draw what they may, up to `wants_w` each."""

    name: str
    wants_w: float = 390.0
    job: str = ""
    caps_w: list[float] = field(default_factory=lambda: [100.0] * CARDS)
    hints: tuple[Hint, ...] = ()

    @property
    def in_force_w(self) -> float:
        return round(FLOOR_W + (1 + PER_IT_FRAC) * sum(self.caps_w), 6)

    def report(self) -> tuple[NodeReport, float]:
        shares = (Share(job=self.job, share_frac=1.0),) if self.job else ()
        cards = tuple(
            CardReport(
                uuid=f"{self.name}-{i}", index=i, model="A100", age_s=0.1, power_w=min(self.wants_w, cap_w),
                energy_j=None, limit_w=cap_w, min_w=100.0, max_w=400.0, shares=shares,
            )
            for i, cap_w in enumerate(self.caps_w)
        )  # fmt: skip
        return NodeReport(cards=cards), self.in_force_w

    async def obey(self, grant: Grant | None) -> None:
        room_w = (grant.watts_w - FLOOR_W) / (1 + PER_IT_FRAC) - 1e-3 if grant else 100.0 * CARDS
        caps_w = grant.caps_w if grant and grant.caps_w else (room_w / CARDS,) * CARDS
        share = min(1.0, room_w / sum(caps_w))
        self.caps_w = [cap_w * share for cap_w in caps_w]

    def hear(self, hints: tuple[Hint, ...]) -> None:
        self.hints = hints


@dataclass
class Hall:
    """A cluster of nodes, its API server, and operators."""

    server: KubeServer
    folder: Path
    nodes: dict[str, Node] = field(default_factory=dict)
    lease_ports: list[int] = field(default_factory=list)
    page_ports: list[int] = field(default_factory=list)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def settings(self, **more: Any) -> OperatorSettings:
        (self.folder / "secret").write_bytes(b"sixteen bytes or more")
        card = {"ratedWatts": 400, "minCapWatts": 100, "idleWatts": 55}
        node = {"floorWatts": FLOOR_W, "perItPercent": 100 * PER_IT_FRAC}
        self.lease_ports.append(free_port())
        self.page_ports.append(free_port())
        written = {
            "cluster": "hall",
            "products": {"A100": {"card": card, "overhead": node, "nodeNameplateWatts": 2400}},
            "listen": {"host": "127.0.0.1", "port": self.lease_ports[-1], "secretFile": str(self.folder / "secret")},
            "page": {"port": self.page_ports[-1]},
            "stateFolder": str(self.folder / f"state{len(self.page_ports)}"),
            "grantSeconds": 6,
            "leadershipSeconds": 4,
            **more,
        }
        return OperatorSettings.model_validate_json(json.dumps(written))

    def node(self, name: str, **more: Any) -> Node:
        labels = {"nvidia.com/gpu.product": "A100", "nvidia.com/gpu.count": str(CARDS)}
        self.server.put(NODES, {"metadata": {"name": name, "labels": labels}, "status": {}})
        found = self.nodes[name] = Node(name, **more)
        return found

    def budget(self, name: str = "hall", **spec: Any) -> None:
        path = path_of(BUDGETS, "", name)
        was = self.server.objects.get(path, {})
        generation = was.get("metadata", {}).get("generation", 0) + 1
        meta = {"name": name, "generation": generation}
        kept = {"status": was["status"]} if "status" in was else {}
        self.server.put(
            BUDGETS, {"metadata": meta, "spec": {"limitWatts": 3600, "guaranteedWatts": 1600, **spec}, **kept}
        )

    def status(self, name: str = "hall") -> dict[str, Any]:
        found: dict[str, Any] = self.server.objects[path_of(BUDGETS, "", name)].get("status", {})
        return found

    def condition(self, kind: str, name: str = "hall") -> tuple[str, str]:
        conditions = self.status(name).get("conditions", ())
        return next(((c["status"], c["reason"]) for c in conditions if c["type"] == kind), ("", ""))

    def warnings(self) -> set[str]:
        """Reasons of the events that budgets were told of."""
        events = [body for path, body in self.server.objects.items() if "/events/" in path]
        ours = [e for e in events if e["regarding"]["kind"] == "PowerBudget"]
        return {e["reason"] for e in ours if e["type"] == "Warning"}

    def drawn_w(self) -> float:
        return sum(node.in_force_w for node in self.nodes.values())

    async def operator(self, **more: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(self._operate(self.settings(**more)))
        self.tasks.append(task)
        return task

    async def _operate(self, settings: OperatorSettings) -> None:
        reached = self.server.configuration
        cache = Cache()
        api, aside = Api(reached, cache.hear, 2.0), Aside(reached, 1.0)
        try:
            operator = Operator(settings, reached, cache, api, aside)
            await process.first_of(operator.watch(), operator.tell(), operator.live())
        finally:
            await api.close()
            await asyncio.to_thread(aside.close)

    def agents(self) -> None:
        for node in self.nodes.values():
            self.agent(node)

    def agent(self, node: Node) -> None:
        addresses = [f"http://127.0.0.1:{port}" for port in self.lease_ports]
        client = LeaseClient(
            Holder(node.name, str(uuid.uuid4()), node.in_force_w),
            Grantors(addresses, token=lambda: SECRET.token(node.name)),
            Duties(node.report, node.obey, node.hear, lambda _w: None),
        )
        self.tasks.append(asyncio.create_task(client.run()))

    def epoch(self) -> int:
        lease = self.server.objects[path_of(LEASES, "wattlease", "wattlease-operator")]
        return int(lease["metadata"]["annotations"][EPOCH])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, span_s in (
        (watching, "LOOK_S", 1.0), (watching, "PULSE_S", 0.5), (watching, "AGAIN_S", 0.3), (watching, "QUIET_S", 0.1),
        (reporting, "SOON_S", 0.5), (following, "GRACE_S", 4.0), (following, "LINGER_S", 3.0),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, span_s)


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    async with kube_server() as server:
        server.kinds |= {BUDGETS: "PowerBudget", PROFILES: "PowerProfile", NODES: "Node", JOBS: "Job"}
        found = Hall(server, tmp_path)
        try:
            yield found
        finally:
            server.hangs = False
            for task in found.tasks:
                task.cancel()
            await asyncio.gather(*found.tasks, return_exceptions=True)


async def until(true: Callable[[], object], patience_s: float = 60.0) -> None:
    async with asyncio.timeout(patience_s):
        while not true():
            await asyncio.sleep(0.05)


async def asks(url: str) -> int:
    async with aiohttp.ClientSession() as web, web.get(url) as answer:
        return answer.status


async def test_without_a_budget_it_waits_and_nodes_stay_at_their_fallbacks(hall: Hall) -> None:
    one = hall.node("gpu-1.internal")
    operator = await hall.operator()
    hall.agents()
    await asyncio.sleep(3.0)
    assert not operator.done()
    assert one.in_force_w == 640.0
    assert await asks(f"http://127.0.0.1:{hall.page_ports[0]}/healthz") == 200
    assert await asks(f"http://127.0.0.1:{hall.page_ports[0]}/readyz") == 503
    hall.budget(spec="nonsense", limitWatts=-1)
    await until(lambda: hall.condition("Ready") == ("False", "Refused"))
    hall.budget()
    await until(lambda: one.in_force_w > 1700.0)
    await until(lambda: hall.condition("Ready") == ("True", "Governed"))


async def test_budgets_are_followed_and_their_status_tells_how_they_stand(hall: Hall) -> None:
    hall.node("gpu-1", job="train/one-0")
    hall.node("gpu-2")
    hall.budget()
    await hall.operator()
    hall.agents()
    await until(lambda: hall.drawn_w() > 3400.0)
    await until(lambda: hall.status().get("state") == "Within")
    status = hall.status()
    assert (status["limitWatts"], status["observedGeneration"]) == (3600, 1)
    assert status["drawWatts"] + status["headroomWatts"] == 3600
    assert hall.condition("FallbackFits") == ("True", "Fits")
    assert hall.condition("Shadow") == ("False", "Enforce")
    hall.budget(limitWatts=2600)
    await until(lambda: hall.drawn_w() <= 2600.0)
    await until(lambda: hall.status()["limitWatts"] == 2600 and hall.condition("Shedding")[0] == "True")
    assert hall.status()["observedGeneration"] == 2
    hall.budget(limitWatts=1000, guaranteedWatts=900)
    await until(lambda: hall.condition("WithinLimit") == ("False", "LimitCannotBeHeld"))
    await until(lambda: hall.condition("FallbackFits") == ("False", "FallbackTooHigh"))
    await until(lambda: hall.drawn_w() == 1280.0, 30.0)
    await until(lambda: hall.warnings() >= {"LimitCannotBeHeld", "FallbackTooHigh"})


async def test_in_shadow_the_budget_binds_nobody_a_held_job_runs_and_the_status_foresees_the_real_thing(
    hall: Hall,
) -> None:
    one = hall.node("gpu-1", job="train/one-0")
    container = {"name": "main", "resources": {"limits": {"nvidia.com/gpu": "4"}}}
    spec = {"suspend": True, "template": {"spec": {"containers": [container]}}}
    marks = {"wattlease.io/held-by": "wattlease"}
    hall.server.put(JOBS, {"metadata": {"name": "two", "namespace": "train", "annotations": marks}, "spec": spec})
    hall.budget(limitWatts=1000, guaranteedWatts=700, mode="Shadow")
    await hall.operator()
    hall.agents()
    await until(lambda: one.in_force_w > 1900.0)
    await until(lambda: hall.server.objects[path_of(JOBS, "train", "two")]["spec"] == {"suspend": False})
    await until(lambda: hall.condition("Shadow") == ("True", "Shadow"))
    assert hall.condition("FallbackFits") == ("False", "FallbackTooHigh")  # 760 W, as configured
    hall.budget(limitWatts=1000, guaranteedWatts=800)
    await until(lambda: hall.drawn_w() <= 1000.0)
    await until(lambda: hall.condition("FallbackFits") == ("True", "Fits"))


async def test_nodes_that_join_are_enlisted_and_those_that_leave_count_while_they_speak(hall: Hall) -> None:
    hall.node("gpu-1")
    hall.budget()
    await hall.operator(**UNHURRIED)
    hall.agents()
    await until(lambda: hall.nodes["gpu-1"].in_force_w > 1700.0)
    two = hall.node("gpu-2")
    hall.agent(two)
    await until(lambda: two.in_force_w > 1700.0 and hall.drawn_w() <= 3600.0)
    hall.server.remove(NODES, "", "gpu-2")
    for _ in range(40):
        await asyncio.sleep(0.1)
        assert two.in_force_w > 1500.0, "its agent speaks, so it is a member"
        assert hall.drawn_w() <= 3600.0


async def test_a_budget_that_is_deleted_holds_a_while_and_then_nodes_fall_back(hall: Hall) -> None:
    one = hall.node("gpu-1")
    hall.budget()
    await hall.operator()
    hall.agents()
    await until(lambda: one.in_force_w > 1700.0)
    hall.server.remove(BUDGETS, "", "hall")
    await asyncio.sleep(1.0)
    assert one.in_force_w > 1700.0
    await until(lambda: one.in_force_w == 640.0)
    hall.budget()
    await until(lambda: one.in_force_w > 1700.0)


async def test_while_the_kind_itself_is_gone_the_last_budgets_hold(hall: Hall) -> None:
    one = hall.node("gpu-1")
    hall.budget()
    await hall.operator(**UNHURRIED)
    hall.agents()
    await until(lambda: one.in_force_w > 1700.0)
    hall.server.remove(BUDGETS, "", "hall")
    del hall.server.kinds[BUDGETS], hall.server.kinds[PROFILES]
    for _ in range(60):
        await asyncio.sleep(0.1)
        assert one.in_force_w > 1500.0


async def test_the_other_leads_on_when_one_is_killed_and_the_limit_holds(hall: Hall) -> None:
    hall.node("gpu-1")
    hall.node("gpu-2")
    hall.budget(limitWatts=3000)
    first = await hall.operator()
    await until(lambda: any("/leases/" in p for p in hall.server.objects))
    await hall.operator()
    hall.agents()
    await until(lambda: hall.drawn_w() > 2800.0)
    epoch = hall.epoch()
    first.cancel()
    await asyncio.sleep(0.1)
    highest_w = 0.0
    for _ in range(120):
        await asyncio.sleep(0.1)
        highest_w = max(highest_w, hall.drawn_w())
    assert highest_w <= 3000.0
    await until(lambda: hall.drawn_w() > 2800.0)
    assert hall.epoch() > epoch


async def test_under_a_facility_nodes_draw_what_is_leased_and_fall_back_with_it(hall: Hall, tmp_path: Path) -> None:
    hall.node("gpu-1")
    hall.node("gpu-2")
    hall.budget(limitWatts=4800, band={"marginPercent": 0})
    async with leasing(tmp_path, "hall", limit_w=3000, guaranteed_w=1600) as share:
        await hall.operator(share=share)
        hall.agents()
        await until(lambda: hall.drawn_w() > 2700.0)
        for _ in range(40):
            assert hall.drawn_w() <= 3000.0
            await asyncio.sleep(0.05)
        await until(lambda: hall.status().get("limitWatts", 4800) <= 3000)
    await until(lambda: hall.drawn_w() <= 1600.0, 2.0 * LEASE_S)
    await until(lambda: hall.status().get("limitWatts") == 1600)
