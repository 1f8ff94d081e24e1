"""The facility's loop with two clusters on a real socket, which obey at once."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime" / "controller"))  # what the loops' tests share

import orjson
from leased_nodes import SECRET, until

from wattlease.core.lease import Grant, Holder
from wattlease.facility.keeping import Keeping, Remembered
from wattlease.facility.prices.month import MonthPeak
from wattlease.facility.shares.facility import Facility
from wattlease.facility.shares.settings import FacilitySettings
from wattlease.runtime.controller.surroundings import surroundings_of
from wattlease.runtime.lease.client import Duties, LeaseClient
from wattlease.runtime.lease.grantors import Grantors
from wattlease.runtime.lease.leadership import Term
from wattlease.runtime.lease.report import ShareReport
from wattlease.runtime.lease.service import LeaseService, serving
from wattlease.runtime.lease.store import StateFolder

TOP_W, LEAST_W, LEASE_S = 8000.0, 1500.0, 2.0


@dataclass
class Cluster:
    """Draws all that it may, up to its top; the further below that, the dearer is a watt to it."""

    name: str
    dear: float = 1.0
    in_force_w: float = LEAST_W
    fallback_w: float = LEAST_W

    def share(self) -> ShareReport:
        steps = tuple((0, self.dear * k * 1e-3, TOP_W / 10) for k in range(1, 11))
        return ShareReport(power_w=min(self.in_force_w, TOP_W), top_w=TOP_W, steps=steps)

    async def obey(self, grant: Grant | None) -> None:
        self.in_force_w = grant.watts_w if grant else self.fallback_w

    def keep_fallback(self, watts_w: float) -> None:
        self.fallback_w = watts_w

    def client(self, address: str) -> LeaseClient:
        duties = Duties(lambda: (None, self.in_force_w), self.obey, lambda _hints: None, self.keep_fallback, self.share)
        grantors = Grantors([address], token=lambda: SECRET.token(self.name))
        return LeaseClient(Holder(self.name, str(uuid.uuid4()), self.fallback_w), grantors, duties)


def settings(folder: Path, limit_w: int = 10_000, **spec: Any) -> FacilitySettings:
    budget = {"limitWatts": limit_w, "guaranteedWatts": 3000, "band": {"marginPercent": 0}, **spec}
    share = {"budget": "campus", "watts": round(TOP_W), "guaranteedWatts": round(LEAST_W)}
    written = {
        "name": "campus",
        "budgets": [{"metadata": {"name": "campus"}, "spec": budget}],
        "shares": [{"metadata": {"name": name}, "spec": {"cluster": name, **share}} for name in ("a", "b")],
        "listen": {"port": 0, "secretFile": "unused"},
        "stateFolder": str(folder),
        "grantSeconds": LEASE_S,
    }
    return FacilitySettings.model_validate(written)


@asynccontextmanager
async def asking(facility: Facility, *clusters: Cluster) -> AsyncIterator[asyncio.Task[None]]:
    """The facility leads and the clusters renew while the block runs; what is yielded is the facility's loop."""
    assert await facility.grantor.begin(Term(1, facility.grantor.now() + 1e6)) is None
    async with serving(LeaseService(facility.grantor, SECRET), SECRET, "127.0.0.1", 0) as address:
        loop = asyncio.create_task(facility.run())
        tasks = [loop, *(asyncio.create_task(cluster.client(address).run()) for cluster in clusters)]
        try:
            yield loop
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def facility_of(folder: Path, told: FacilitySettings) -> Facility:
    return Facility(told, StateFolder(folder), None)


async def test_watts_go_where_they_are_dearest_and_never_sum_to_more_than_the_limit(tmp_path: Path) -> None:
    cheap, dear = Cluster("a"), Cluster("b", dear=3.0)
    async with asking(facility_of(tmp_path, settings(tmp_path)), cheap, dear):
        await until(lambda: dear.in_force_w > 5900.0 and cheap.in_force_w > 3000.0)
        for _ in range(20):
            assert cheap.in_force_w + dear.in_force_w <= 10_000.0 + 1e-6
            await asyncio.sleep(0.05)
        assert cheap.in_force_w < 4100.0


async def test_what_stands_beside_the_clusters_is_left_for_it_from_the_first_lease_after_a_restart(
    tmp_path: Path,
) -> None:
    row = dict.fromkeys(("it_mean_w", "it_var", "overhead_mean_w", "overhead_cov"), 0.0)
    row |= {"overhead_w": 700.0, "it_at_w": 12_000.0, "looks": 60.0}
    kept = {"history": {}, "debts": {}, "overheads": {"campus": row}}
    (tmp_path / "learned.json").write_bytes(orjson.dumps(kept))
    one, two = Cluster("a"), Cluster("b")
    told = settings(tmp_path, meters=[{"name": "feed", "kind": "Virtual"}])
    async with asking(facility_of(tmp_path, told), one, two):
        await until(lambda: one.in_force_w + two.in_force_w > 9000.0)
        for _ in range(40):
            assert one.in_force_w + two.in_force_w <= 9300.0 + 1e-6
            await asyncio.sleep(0.05)


async def test_its_battery_is_planned_by_the_months_peak_as_any_controllers_is(tmp_path: Path) -> None:
    month = MonthPeak(f"{datetime.now(UTC):%Y-%m}", 7500.0, 3.0)
    Keeping(tmp_path / "facility" / "kept.json").save(Remembered(peaks={"campus": month}))
    tariff = {"demandCharge": {"targetWatts": 9000, "pricePerKilowatt": 15}}
    pack = {"name": "pack", "capacityWattHours": 1000, "maxChargeWatts": 500, "maxDischargeWatts": 500}
    told = settings(tmp_path, storage=[pack], **tariff)
    facility = Facility(told, StateFolder(tmp_path), surroundings_of(told.budgets, tmp_path))
    assert [peak.peak_w for peak in facility._snapshot(time.time()).peaks] == [7500.0]


async def test_a_limit_that_falls_in_the_file_falls_on_the_clusters(tmp_path: Path) -> None:
    one, two = Cluster("a"), Cluster("b")
    facility = facility_of(tmp_path, settings(tmp_path))
    async with asking(facility, one, two):
        await until(lambda: one.in_force_w + two.in_force_w > 9000.0)
        facility.change(settings(tmp_path, limit_w=6000))
        await until(lambda: one.in_force_w + two.in_force_w <= 6000.0)
        await until(lambda: one.in_force_w + two.in_force_w > 5500.0)


async def test_when_its_loop_ends_clusters_fall_to_what_they_are_guaranteed(tmp_path: Path) -> None:
    one, two = Cluster("a"), Cluster("b")
    async with asking(facility_of(tmp_path, settings(tmp_path)), one, two) as loop:
        await until(lambda: one.in_force_w + two.in_force_w > 9000.0)
        loop.cancel()
        await until(lambda: one.in_force_w == two.in_force_w == LEAST_W)


async def test_in_shadow_each_has_all_that_it_may_ever_have_and_keeps_it_when_the_facility_dies(tmp_path: Path) -> None:
    one, two = Cluster("a"), Cluster("b")
    async with asking(facility_of(tmp_path, settings(tmp_path, mode="Shadow")), one, two) as loop:
        await until(lambda: one.in_force_w == two.in_force_w == TOP_W)
        await until(lambda: one.fallback_w == two.fallback_w == TOP_W)
        loop.cancel()
        await asyncio.sleep(2.0 * LEASE_S)
        assert one.in_force_w == two.in_force_w == TOP_W
