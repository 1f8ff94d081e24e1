"""Two nodes under a controller of the test's own, on a real socket; their hardware obeys at once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wattlease.core.lease import Grant, Holder
from wattlease.runtime.controller.controller import Controller
from wattlease.runtime.controller.settings import ControllerSettings
from wattlease.runtime.lease.client import Duties, LeaseClient
from wattlease.runtime.lease.grantors import Grantors
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.leadership import Term
from wattlease.runtime.lease.report import CardReport, Hint, NodeReport, Share
from wattlease.runtime.lease.service import LeaseService, serving

SECRET_BYTES = b"sixteen bytes or more"
SECRET = SharedSecret(SECRET_BYTES)
FLOOR_W, PER_IT_FRAC, CARDS = 200.0, 0.1, 4
LEAST_W, MOST_W = 100.0, 400.0


@dataclass
class Node:
    """Cards that draw what they may, up to `wants_w` each; without a grant they go to their lowest limit, or where the
    node `falls_as_told` to the fallback that it was told last."""

    name: str
    wants_w: float = 390.0
    jobs: tuple[str, ...] = ()
    caps_w: list[float] = field(default_factory=lambda: [LEAST_W] * CARDS)
    hints: tuple[Hint, ...] = ()
    fallback_w: float = FLOOR_W + (1 + PER_IT_FRAC) * LEAST_W * CARDS
    falls_as_told: bool = False

    @property
    def cards_w(self) -> float:
        return sum(min(self.wants_w, cap_w) for cap_w in self.caps_w)

    @property
    def draw_w(self) -> float:
        return FLOOR_W + (1 + PER_IT_FRAC) * self.cards_w

    @property
    def in_force_w(self) -> float:
        return round(FLOOR_W + (1 + PER_IT_FRAC) * sum(self.caps_w), 6)

    def report(self) -> tuple[NodeReport, float]:
        shares = tuple(Share(job=job, share_frac=1.0) for job in self.jobs)
        cards = tuple(
            CardReport(
                uuid=f"{self.name}-{i}", index=i, model="A100", age_s=0.1, power_w=min(self.wants_w, cap_w),
                energy_j=None, limit_w=cap_w, min_w=LEAST_W, max_w=MOST_W, shares=shares,
            )
            for i, cap_w in enumerate(self.caps_w)
        )  # fmt: skip
        return NodeReport(cards=cards), self.in_force_w

    async def obey(self, grant: Grant | None) -> None:
        told_w = grant.watts_w if grant else self.fallback_w
        told = grant is not None or self.falls_as_told
        room_w = (told_w - FLOOR_W) / (1 + PER_IT_FRAC) - 1e-3 if told else LEAST_W * CARDS
        caps_w = grant.caps_w if grant and grant.caps_w else (min(room_w / CARDS, MOST_W),) * CARDS
        share = min(1.0, room_w / sum(caps_w))
        self.caps_w = [cap_w * share for cap_w in caps_w]

    def keep_fallback(self, fallback_w: float) -> None:
        self.fallback_w = fallback_w

    def hear(self, hints: tuple[Hint, ...]) -> None:
        self.hints = hints


def hall_settings(folder: Path, spec: dict[str, Any], **more: Any) -> ControllerSettings:
    """A controller's settings for the two nodes under one budget."""
    node = {"floorWatts": FLOOR_W, "perItPercent": 100 * PER_IT_FRAC}
    card = {"ratedWatts": MOST_W, "minCapWatts": LEAST_W, "idleWatts": 55}
    group = {"cluster": "hall", "gpusPerNode": CARDS, "gpuModel": "A100", "card": card, "overhead": node}
    written = {
        "name": "hall",
        "groups": [{"name": "gpu", "budget": "hall", "nodes": 2, "nodeNameplateWatts": 2400, **group}],
        "budgets": [{"metadata": {"name": "hall"}, "spec": spec}],
        "listen": {"port": 0, "secretFile": "unused"},
        "stateFolder": str(folder),
    }
    return ControllerSettings.model_validate(written | more)


@asynccontextmanager
async def leading(control: Controller, *nodes: Node, epoch: int = 1) -> AsyncIterator[None]:
    """The controller leads and the nodes renew while the block runs."""
    grantor = control.grantor
    assert await grantor.begin(Term(epoch, grantor.now() + 1e6)) is None
    async with serving(LeaseService(grantor, SECRET), SECRET, "127.0.0.1", 0) as address:
        work = (control.run(), *(client_of(node, address).run() for node in nodes))
        tasks = [asyncio.create_task(one) for one in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def client_of(node: Node, address: str) -> LeaseClient:
    return LeaseClient(
        Holder(node.name, str(uuid.uuid4()), node.in_force_w),
        Grantors([address], token=lambda: SECRET.token(node.name)),
        Duties(node.report, node.obey, node.hear, node.keep_fallback),
    )


async def until(true: Callable[[], bool], patience_s: float = 40.0) -> None:
    async with asyncio.timeout(patience_s):
        while not true():
            await asyncio.sleep(0.05)
