"""A hall with all that lies around it, on loopback and under one controller: nodes that renew their leases, cooling
that nobody configured, the feed's SunSpec meter, a SunSpec battery, an OpenADR VTN, and a price service that is down.

The meter of the tests looks every 50 ms at what the cards' limits allow, whatever anybody believes, beside what the
battery really gives.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ports import free_port

FACILITY = Path(__file__).parents[1] / "facility"
sys.path.insert(0, str(FACILITY))  # the hall, the VTN and the prices stand in modules beside their own tests

from facility_plant import NAMES, Hall  # noqa: E402
from leased_nodes import SECRET, Node, client_of  # noqa: E402
from openadr_vtn import Vtn, signal  # noqa: E402
from price_service import DE, Service, document, period, series  # noqa: E402

from wattlease.core.api import Tariff  # noqa: E402
from wattlease.core.kept_overhead import known  # noqa: E402
from wattlease.facility.meters.judging import State  # noqa: E402
from wattlease.facility.prices.prices import Prices  # noqa: E402
from wattlease.runtime.lease.leadership import Term  # noqa: E402
from wattlease.runtime.lease.report import NodeReport  # noqa: E402
from wattlease.runtime.lease.service import LeaseService, serving  # noqa: E402

LIMIT_W, GIVES_W = 3400, 600
"""Together below the 4,332 W that all cards at work would take, so that limits bind all the while."""

TTL_S = 3.0
REVERSION_S = 10
"""A battery that lost its link gives for at least two thirds of this: longer than it takes to count it as lost and to
let the leases end that were made on it."""

WHOLE_FRAC = 0.94
"""Of the limit and the battery's help: a fault that took the draw past its aim leaves up to 3 % free for minutes,
beside the margin of 1 %."""

OLD_S = 3 * 3600.0
TOLD_PRICE, WRITTEN_PRICE = 0.21, 0.20


@dataclass(frozen=True, slots=True)
class Look:
    """One look: what limits allow with all overhead, what the battery gives, what the feed draws, and the highest limit
    that was in force within the last time to live."""

    at_s: float
    may_w: float
    battery_w: float
    feed_w: float
    limit_w: float
    counted_w: float
    """What the feed would draw if all cards went to their limits; a battery that just stopped by itself counts as it
    was for one time to live."""

    @property
    def limit_frac(self) -> float:
        return self.counted_w / self.limit_w


@dataclass
class LiveNode(Node):
    """A node whose cards' last digits never rest, as those of dead sensors do."""

    told: int = 0

    def report(self) -> tuple[NodeReport, float]:
        report, in_force_w = super().report()
        self.told += 1
        cards = (
            card.model_copy(update={"power_w": card.power_w * (1.0 - 1e-6 * (self.told % 7))}) for card in report.cards
        )
        return report.model_copy(update={"cards": tuple(cards)}), in_force_w


@dataclass
class Day(Hall):
    """The hall through a day of faults."""

    nodes: tuple[Node, ...] = field(
        default_factory=lambda: tuple(LiveNode(name, jobs=(f"team/{name}",)) for name in NAMES)
    )
    looks: list[Look] = field(default_factory=list)
    limits: list[tuple[float, float, float]] = field(default_factory=list)
    """From when until when the grid asked for how little, on the monotonic clock."""
    vtn: Vtn = field(default_factory=lambda: Vtn(free_port()))
    prices: Service = field(default_factory=Service)
    epoch: int = 0
    _port: int = field(default_factory=free_port)
    _stopped: tuple[float, float] = (0.0, 0.0)

    # The law

    def look(self) -> None:
        super().look()
        now_s = time.monotonic()
        until_s, gave_w = self._stopped
        helped_w = max(self.battery_w, gave_w) if now_s < until_s else self.battery_w
        self.looks.append(
            Look(now_s, self.may_w, self.battery_w, self.feed_w, self.lately_w(now_s), self.may_w - helped_w)
        )

    def lately_w(self, now_s: float) -> float:
        """The highest limit that was in force within the last time to live."""
        edges_s = [edge_s for asked in self.limits for edge_s in asked[:2] if now_s - TTL_S < edge_s <= now_s]
        return max(self.limit_w(at_s) for at_s in (now_s - TTL_S, now_s, *edges_s))

    def limit_w(self, at_s: float) -> float:
        return min([LIMIT_W, *(watts for from_s, until_s, watts in self.limits if from_s <= at_s < until_s)])

    def stops(self) -> None:
        """The battery is about to stop by itself, which nobody can know before."""
        self._stopped = (time.monotonic() + TTL_S, self.battery_w)

    # What is asked of the grid's side

    def asks(self, name: str, limit_w: float, in_s: float, lasts_s: float) -> float:
        """The VTN asks for less from so many seconds on; returns when, on the monotonic clock."""
        self.vtn.asks(name, [signal("LOAD_DISPATCH", "setpoint", limit_w / 1e3, start_s=in_s, long_s=lasts_s)])
        start_s = time.monotonic() + in_s
        self.limits.append((start_s, start_s + lasts_s, limit_w))
        return start_s

    def cancels(self, name: str, k: int) -> None:
        """The VTN cancels the k-th event that it asked for."""
        self.vtn.server.cancel_event("ven1", name)
        from_s, _, watts = self.limits[k]
        self.limits[k] = (from_s, time.monotonic(), watts)

    # What is to be seen from outside

    @property
    def meter_is(self) -> State:
        return self.around.standing().meters[0].state

    @property
    def battery_is_out(self) -> str:
        return self.around.standing().batteries.get("pack", "")

    @property
    def state(self) -> str:
        return self.control.page.view.state if self.control.page.view else ""

    @property
    def told_limit_w(self) -> float:
        return self.control.page.view.limit_w if self.control.page.view else 0.0

    @property
    def price(self) -> float:
        """What a kilowatt-hour costs now, as the plan knows it."""
        newest = self.control.newest
        return float(newest.snapshot.prices.energy_per_kwh[0]) if newest else 0.0

    @property
    def believed_frac(self) -> float:
        """The charge that is believed to be in the battery."""
        newest = self.control.newest
        return newest.snapshot.storages[0].soc_frac if newest else 0.0

    def is_taught(self) -> bool:
        """Whether the meter has told for long enough what draws beside the cards; nobody configured the cooling."""
        newest = self.control.newest
        return bool(newest and known(newest.after.scopes).all())

    def is_whole(self) -> bool:
        """Whether all is as it was before anything went wrong."""
        newest = self.looks[-1]
        whole = self.told_limit_w == LIMIT_W and self.meter_is == "Good" and not self.battery_is_out
        return whole and newest.battery_w > 0.9 * GIVES_W and newest.may_w > WHOLE_FRAC * (LIMIT_W + GIVES_W)

    # Who leads

    async def begin(self) -> None:
        """A controller takes the lead, with what the disk remembers."""
        self.epoch += 1
        self.control, self.around = self.controlled(self.settings(self.written(), grantSeconds=TTL_S))
        grantor = self.control.grantor
        assert await grantor.begin(Term(self.epoch, grantor.now() + 1e6)) is None
        self._lead = AsyncExitStack()
        await self._lead.enter_async_context(serving(LeaseService(grantor, SECRET), SECRET, "127.0.0.1", self._port))
        running = asyncio.create_task(self.control.run())
        self._lead.push_async_callback(ended, running)

    async def end(self) -> None:
        await self._lead.aclose()

    def written(self) -> dict[str, Any]:
        """The budget."""
        storage = {
            "name": "pack", "capacityWattHours": 10_000, "maxChargeWatts": GIVES_W, "maxDischargeWatts": GIVES_W,
            "reservePercent": 20,
            "pcs": {"sunSpec": {"host": "127.0.0.1", "port": self.battery.port}, "reversionSeconds": REVERSION_S},
        }  # fmt: skip
        adr = {"vtnUrl": f"http://127.0.0.1:{self.vtn.port}/OpenADR2/Simple/2.0b", "venName": "hall", "pollSeconds": 1}
        return self.spec(
            LIMIT_W,
            ramp={"releasePercentPerMinute": 100},
            storage=[storage],
            gridEvents={"openAdr": adr},
            tariff=self.tariff(),
        )

    def tariff(self) -> dict[str, Any]:
        market = {"zone": DE, "tokenFile": str(self.folder / "token"), "url": str(self.prices.server.make_url("/api"))}
        return {"pricePerKilowattHour": WRITTEN_PRICE, "feed": {"entsoE": market}}

    # What lies around

    async def hear_old_prices(self) -> None:
        """The service answered three hours ago, for a time that ends within two minutes, and is down since."""
        token = self.folder / "token"
        token.write_text("s3cret-and-long")
        token.chmod(0o600)
        now = datetime.now(UTC)
        until = (now + timedelta(minutes=2)).replace(second=0)
        spans = (f"{at:%Y-%m-%dT%H:%MZ}" for at in (until - timedelta(hours=6), until))
        self.prices.says("/api", document(series(period(*spans, "PT60M", {1: TOLD_PRICE * 1e3}))))
        then = Prices(Tariff.model_validate(self.tariff()), self.folder / "facility", lambda: time.time() - OLD_S)
        await then.feeds[0].ask()
        assert not then.troubles()
        self.prices.says("/api", "down", 503)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def open_day(folder: Path) -> AsyncIterator[Day]:
    """The hall with all its devices answering, a controller in the lead, and nodes at work."""
    day = Day(folder)
    async with AsyncExitStack() as open_things:
        for begins, ends in (
            (day.meter.connect, day.meter.disconnect),
            (day.battery.connect, day.battery.disconnect),
            (day.vtn.server.run, day.vtn.server.stop),
            (day.prices.server.start_server, day.prices.server.close),
        ):
            await begins()
            open_things.push_async_callback(ends)
        await day.hear_old_prices()
        await day.begin()
        open_things.push_async_callback(day.end)
        for node in day.nodes:
            client = client_of(node, f"http://127.0.0.1:{day._port}")
            open_things.push_async_callback(ended, asyncio.create_task(client.run()))
        open_things.push_async_callback(ended, asyncio.create_task(day.live()))
        yield day


async def until_then(at_s: float) -> None:
    await asyncio.sleep(max(at_s - time.monotonic(), 0.0))


async def comes(true: Callable[[], bool], patience_s: float) -> bool:
    """Whether it becomes true in time."""
    end_s = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > end_s:
            return False
        await asyncio.sleep(0.05)
    return True
