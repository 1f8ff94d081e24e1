"""A hall on loopback: nodes that renew their leases, cooling beside them, a SunSpec feed meter, a SunSpec battery."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

sys.path.insert(0, str(Path(__file__).parent / "battery"))  # the battery's plant stands in a module beside its tests

from battery_plant import START, BatteryPlant, Map

from wattlease.core.lease import Grant, Holder
from wattlease.core.model import NONE, GpuReadings, Jobs, NodeReadings, Site, Snapshot
from wattlease.facility.battery.batteries import NOBODYS
from wattlease.facility.surroundings import FacilitySurroundings
from wattlease.runtime.controller.controller import Controller
from wattlease.runtime.controller.settings import ControllerSettings
from wattlease.runtime.controller.work import BareWork
from wattlease.runtime.lease.client import Duties, LeaseClient
from wattlease.runtime.lease.grantors import Grantors
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.leadership import Term
from wattlease.runtime.lease.report import CardReport, Hint, NodeReport, Share
from wattlease.runtime.lease.service import LeaseService, serving
from wattlease.runtime.lease.store import StateFolder

SECRET_BYTES = b"sixteen bytes or more"
SECRET = SharedSecret(SECRET_BYTES)
FLOOR_W, PER_IT_FRAC, CARDS = 200.0, 0.1, 4


class FeedMeter:
    """A SunSpec meter of model 203, in units of 10 W; what is wrong with it is in its public fields."""

    def __init__(self) -> None:
        self.map = Map((1, 203))
        self.map.put(203, W=0, W_SF=1)
        self.frozen = self.deaf = self.asked = False
        self.port = 0
        self._server: ModbusTcpServer | None = None

    def show(self, power_w: float) -> None:
        if not self.frozen:
            self.map.put(203, W=round(power_w / 10))

    async def _asked(
        self,
        code: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        registers[:], self.asked = self.map.words, True
        return ExcCodes.DEVICE_FAILURE if self.deaf else None

    async def connect(self) -> None:
        data = SimData(START, values=list(self.map.words), datatype=DataType.REGISTERS)
        self._server = ModbusTcpServer(SimDevice(1, [data], action=self._asked), address=("127.0.0.1", self.port))
        await self._server.serve_forever(background=True)
        assert self._server.transport is not None
        self.port = self._server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def disconnect(self) -> None:
        if self._server is not None:
            await self._server.shutdown()


@dataclass
class Node:
    """Cards that draw what they may, up to `wants_w` each; without a grant they go to their lowest limit."""

    name: str
    wants_w: float = 390.0
    caps_w: list[float] = field(default_factory=lambda: [100.0] * CARDS)

    @property
    def cards_w(self) -> float:
        return sum(min(self.wants_w, cap_w) for cap_w in self.caps_w)

    @property
    def in_force_w(self) -> float:
        return round(FLOOR_W + (1 + PER_IT_FRAC) * sum(self.caps_w), 6)

    def report(self) -> tuple[NodeReport, float]:
        cards = tuple(
            CardReport(
                uuid=f"{self.name}-{i}", index=i, model="A100", age_s=0.1, power_w=min(self.wants_w, cap_w),
                energy_j=None, limit_w=cap_w, min_w=100.0, max_w=400.0,
                shares=(Share(job=f"team/{self.name}", share_frac=1.0),),
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
        """Its jobs change nothing by themselves."""


@dataclass
class Hall:
    """Two nodes and what is around them; the meter sees all, and the battery behind it."""

    folder: Path
    meter: FeedMeter = field(default_factory=FeedMeter)
    battery: BatteryPlant = field(default_factory=lambda: BatteryPlant(soc_frac=0.8))
    nodes: tuple[Node, ...] = field(default_factory=lambda: (Node("gpu-0001"), Node("gpu-0002")))
    cooling_w: float = 500.0
    feed_w: float = 0.0
    battery_w: float = 0.0

    @property
    def cards_w(self) -> float:
        return sum(node.cards_w for node in self.nodes)

    def look(self) -> None:
        self.battery.advance()
        self.battery_w = self.battery.power_w
        load_w = sum(FLOOR_W + (1 + PER_IT_FRAC) * node.cards_w for node in self.nodes) + self.cooling_w
        self.feed_w = load_w - self.battery_w
        self.meter.show(self.feed_w)

    async def live(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(0.05)

    def spec(self, limit_w: int, with_battery: bool = True, stale_s: int = 10, **more: Any) -> dict[str, Any]:
        """A budget that names the meter and the battery."""
        where = {"host": "127.0.0.1", "port": self.meter.port}
        meter = {"name": "feed", "kind": "SunSpec", "sunSpec": where, "staleSeconds": stale_s}
        pcs = {"sunSpec": {"host": "127.0.0.1", "port": self.battery.port}, "reversionSeconds": 3}
        pack = {
            "name": "pack", "capacityWattHours": 10_000, "maxChargeWatts": 1000, "maxDischargeWatts": 1000,
            "reservePercent": 20, "fadePercent": 5, "pcs": pcs,
        }  # fmt: skip
        storage = [pack] if with_battery else []
        return {"limitWatts": limit_w, "guaranteedWatts": 1600, "meters": [meter], "storage": storage, **more}

    def settings(self, spec: dict[str, Any], **more: Any) -> ControllerSettings:
        node = {"floorWatts": FLOOR_W, "perItPercent": 100 * PER_IT_FRAC}
        card = {"ratedWatts": 400, "minCapWatts": 100, "idleWatts": 55}
        group = {"cluster": "hall", "gpusPerNode": CARDS, "gpuModel": "A100", "card": card, "overhead": node}
        written = {
            "name": "hall",
            "groups": [{"name": "gpu", "budget": "hall", "nodes": 2, "nodeNameplateWatts": 2400, **group}],
            "budgets": [{"metadata": {"name": "hall"}, "spec": spec}],
            "listen": {"port": 0, "secretFile": "unused"},
            "stateFolder": str(self.folder),
            "grantSeconds": 3.0,
        }
        return ControllerSettings.model_validate(written | more)

    def controlled(self, settings: ControllerSettings) -> tuple[Controller, FacilitySurroundings]:
        around = FacilitySurroundings(settings.budgets, self.folder)
        return Controller(settings, StateFolder(self.folder), BareWork(settings.profiles), around), around

    def snapshot(self, site: Site) -> Snapshot:
        """The hall as a tick sees it, without a job."""
        cards, none = len(site.gpus.node), np.empty(0)
        empty = np.empty(0, np.int64)
        jobs = Jobs((), (), (), (), empty, empty, empty, empty, empty, none, none, none, none, none, none, empty)
        gpus = GpuReadings(
            np.full(cards, 60.0), np.full(cards, 0.5), np.full(cards, 400.0), np.full(cards, NONE, np.int64)
        )
        nodes = NodeReadings(np.full(2, np.nan), np.full(2, 1.0), np.full(2, 2400.0))
        return Snapshot(time.time(), site, gpus, nodes, jobs, storages=(NOBODYS,) * len(site.storages))

    def clients(self, address: str) -> list[LeaseClient]:
        return [
            LeaseClient(
                Holder(node.name, str(uuid.uuid4()), node.in_force_w),
                Grantors([address], token=lambda name=node.name: SECRET.token(name)),  # type: ignore[misc]
                Duties(node.report, node.obey, node.hear, lambda _w: None),
            )
            for node in self.nodes
        ]


@asynccontextmanager
async def open_hall(folder: Path) -> AsyncIterator[Hall]:
    """The hall with its devices answering."""
    hall = Hall(folder)
    await hall.meter.connect()
    await hall.battery.connect()
    living = asyncio.create_task(hall.live())
    try:
        yield hall
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        await hall.meter.disconnect()
        await hall.battery.disconnect()


@asynccontextmanager
async def run(control: Controller, hall: Hall) -> AsyncIterator[None]:
    """The controller leads and the nodes renew while the block runs."""
    grantor = control.grantor
    assert await grantor.begin(Term(1, grantor.now() + 1e6)) is None
    async with serving(LeaseService(grantor, SECRET), SECRET, "127.0.0.1", 0) as address:
        work = (control.run(), *(client.run() for client in hall.clients(address)))
        tasks = [asyncio.create_task(one) for one in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(true: Callable[[], bool], patience_s: float = 12.0) -> None:
    end_s = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end_s, "it did not come"
        await asyncio.sleep(0.05)
