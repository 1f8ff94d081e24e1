"""A hall on loopback: nodes that renew their leases, cooling beside them, a SunSpec feed meter, a SunSpec battery."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

# the battery's plant and the nodes stand in modules beside their own tests
sys.path.insert(0, str(Path(__file__).parent / "battery"))
sys.path.insert(0, str(Path(__file__).parents[1] / "runtime" / "controller"))

from battery_plant import START, BatteryPlant, Map
from leased_nodes import Node, hall_settings

from wattlease.core.model import NONE, GpuReadings, Jobs, NodeReadings, Site, Snapshot
from wattlease.facility.battery.batteries import NOBODYS
from wattlease.facility.surroundings import FacilitySurroundings
from wattlease.runtime.controller.controller import Controller
from wattlease.runtime.controller.settings import ControllerSettings
from wattlease.runtime.controller.work import BareWork
from wattlease.runtime.lease.store import StateFolder

GRANT_S, REVERSION_S = 3.0, 5
"""The battery outlasts a grant and two heartbeats of a second."""


class FeedMeter:
    """A SunSpec meter of model 203, in units of 10 W; what is wrong with it is in its public fields."""

    def __init__(self) -> None:
        self.map = Map((1, 203))
        self.map.put(203, W=0, W_SF=1)
        self.frozen = self.deaf = self.asked = False
        self.tells: Callable[[float], float] = float
        """What it shows of what it measures."""
        self.port = 0
        self._server: ModbusTcpServer | None = None

    def show(self, power_w: float) -> None:
        if not self.frozen:
            self.map.put(203, W=round(self.tells(power_w) / 10))

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


NAMES = ("gpu-0001", "gpu-0002")


@dataclass
class Hall:
    """Two nodes and what is around them; the meter sees all, and the battery behind it."""

    folder: Path
    meter: FeedMeter = field(default_factory=FeedMeter)
    battery: BatteryPlant = field(default_factory=lambda: BatteryPlant(soc_frac=0.8))
    nodes: tuple[Node, ...] = field(default_factory=lambda: tuple(Node(name, jobs=(f"team/{name}",)) for name in NAMES))
    cooling_w: float = 500.0
    feed_w: float = 0.0
    battery_w: float = 0.0

    @property
    def cards_w(self) -> float:
        return sum(node.cards_w for node in self.nodes)

    @property
    def load_w(self) -> float:
        return sum(node.draw_w for node in self.nodes) + self.cooling_w

    @property
    def may_w(self) -> float:
        """What the load would be if all cards went to their limits."""
        return sum(node.in_force_w for node in self.nodes) + self.cooling_w

    def look(self) -> None:
        self.battery.advance()
        self.battery_w = self.battery.power_w
        self.feed_w = self.load_w - self.battery_w
        self.meter.show(self.feed_w)

    async def live(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(0.05)

    def spec(self, limit_w: int, with_battery: bool = True, stale_s: int = 10, **more: Any) -> dict[str, Any]:
        """A budget that names the meter and the battery."""
        where = {"host": "127.0.0.1", "port": self.meter.port}
        meter = {"name": "feed", "kind": "SunSpec", "sunSpec": where, "staleSeconds": stale_s}
        pcs = {"sunSpec": {"host": "127.0.0.1", "port": self.battery.port}, "reversionSeconds": REVERSION_S}
        pack = {
            "name": "pack", "capacityWattHours": 10_000, "maxChargeWatts": 1000, "maxDischargeWatts": 1000,
            "reservePercent": 20, "fadePercent": 5, "pcs": pcs,
        }  # fmt: skip
        storage = [pack] if with_battery else []
        return {"limitWatts": limit_w, "guaranteedWatts": 1600, "meters": [meter], "storage": storage, **more}

    def settings(self, spec: dict[str, Any], **more: Any) -> ControllerSettings:
        return hall_settings(self.folder, spec, **{"grantSeconds": GRANT_S, **more})

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
