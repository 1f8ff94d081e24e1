"""What lies around a campus: a SunSpec battery and the feed's SunSpec meter, on loopback, in a loop of their own."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

# the battery's plant and the meter stand in modules beside their own tests
sys.path[:0] = [str(Path(__file__).parents[1] / "facility"), str(Path(__file__).parents[1] / "facility" / "battery")]

from battery_plant import BatteryPlant  # noqa: E402
from facility_plant import FeedMeter  # noqa: E402

GIVES_W = 3000
REVERSION_S = 15
"""Longer than a lease lasts, by some heartbeats that a busy machine may miss."""

LOOK_S = 0.05


class FeedAndBattery(Thread):
    """The battery lives in real time; the meter sees what `load_w` says, less what the battery gives."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="battery")
        self.battery, self.meter = BatteryPlant(soc_frac=0.9), FeedMeter()
        self.load_w: Callable[[], float] = float
        self.seen: list[tuple[float, float]] = []
        """When, and what the feed drew."""
        self._answers, self._over = Event(), Event()

    def start(self) -> None:
        """Returns once both answer."""
        super().start()
        assert self._answers.wait(10.0)

    def run(self) -> None:
        asyncio.run(self._live())

    def end(self) -> None:
        self._over.set()
        self.join(5.0)

    def gives_w(self) -> float:
        """What the battery gives now; what it takes is somebody's draw."""
        return max(self.battery.power_w, 0.0)

    async def _live(self) -> None:
        await self.meter.connect()
        await self.battery.connect()
        self._answers.set()
        while not self._over.is_set():
            self.battery.advance()
            feed_w = self.load_w() - self.battery.power_w
            self.meter.show(feed_w)
            self.seen.append((time.monotonic(), feed_w))
            await asyncio.sleep(LOOK_S)
        await self.battery.disconnect()
        await self.meter.disconnect()

    def spec(self) -> dict[str, Any]:
        """The part of a budget that names them."""
        meter, pack = ({"host": "127.0.0.1", "port": device.port} for device in (self.meter, self.battery))
        storage = {
            "name": "pack",
            "capacityWattHours": 10_000,
            "maxChargeWatts": GIVES_W,
            "maxDischargeWatts": GIVES_W,
            "reservePercent": 20,
            "pcs": {"sunSpec": pack, "reversionSeconds": REVERSION_S},
        }
        return {"meters": [{"name": "feed", "kind": "SunSpec", "sunSpec": meter}], "storage": [storage]}
