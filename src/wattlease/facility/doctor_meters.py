"""The doctor's look at meters: each is asked once, as it would be in service, and meters of one feed are compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from wattlease.core.api import Meter, PowerBudget
from wattlease.facility.findings import Finding
from wattlease.facility.meters.drivers import driver_of, look
from wattlease.facility.meters.followed import Feed, Followed, feeds_of
from wattlease.facility.meters.modbus_line import Lines
from wattlease.facility.meters.reading import Driver, Measured, Trouble


async def meters_answer(budgets: Sequence[PowerBudget]) -> tuple[Finding, ...]:
    """One finding for each meter, and one for each feed whose meters disagree."""
    lines = Lines()
    named = [(budget, meter, driver_of(meter, lines)) for budget in budgets for meter in budget.spec.meters]
    real = [
        Followed(budget.name, float(budget.spec.limit_watts), meter, driver)
        for budget, meter, driver in named
        if driver is not None
    ]
    try:
        asked = await asyncio.gather(*(_asked(one) for one in real))
    finally:
        for one in real:
            await one.driver.close()
        lines.close()
    virtual = (_not_asked(budget.name, meter) for budget, meter, driver in named if driver is None)
    now_s = time.monotonic()
    feeds = (feed for feeds in feeds_of(real).values() for feed in feeds)
    return (*asked, *virtual, *(told for feed in feeds if (told := _apart(feed, now_s)) is not None))


async def _asked(one: Followed) -> Finding:
    began_s = time.monotonic()
    found = await _answer(one.meter, one.driver)
    took_s = time.monotonic() - began_s
    one.take(found, began_s + took_s)
    if isinstance(found, Trouble):
        return Finding(one.label, one.meter.kind, False, found.text, took_s=took_s, fix=found.fix)
    verdict = one.verdict(began_s + took_s)
    read = f"{found.power_w / 1000:,.2f} kW, {found.source}"
    age_s = one.age_s(began_s + took_s)
    if verdict.state == "Stale":
        fix = "look whether the device still measures, or write a larger staleSeconds"
        return Finding(one.label, one.meter.kind, False, "its value is old", read, age_s, took_s, fix)
    if verdict.state != "Good":
        what, _, fix = verdict.why.partition("; ")
        return Finding(one.label, one.meter.kind, False, what, read, age_s, took_s, fix)
    return Finding(one.label, one.meter.kind, True, _pace(one.meter, took_s), read, age_s, took_s)


async def _answer(meter: Meter, driver: Driver) -> Measured | Trouble:
    """One answer; who publishes by itself is given as long as a reading may be old."""
    end_s = time.monotonic() + (meter.stale_seconds if meter.kind == "Mqtt" else 0)
    found = await look(meter, driver)
    while isinstance(found, Trouble) and time.monotonic() < end_s:
        await asyncio.sleep(0.2)
        found = await look(meter, driver)
    return found


def _pace(meter: Meter, took_s: float) -> str:
    slow = took_s > meter.every_seconds and meter.kind != "Mqtt"
    return f"reads, but slower than its {meter.every_seconds} s pace; write a larger pollSeconds" if slow else "reads"


def _apart(feed: Feed, now_s: float) -> Finding | None:
    held = feed.vote(now_s)
    if held is None or not held.why:
        return None
    name = "/".join(filter(None, (feed.scope, feed.name)))
    fix = "compare them at the device; meters of different feeds each need their own feed: name"
    return Finding(name, "vote", False, held.why, f"{held.power_w / 1000:,.2f} kW", fix=fix)


def _not_asked(scope: str, meter: Meter) -> Finding:
    return Finding(f"{scope}/{meter.name}", meter.kind, True, "the simulator's, not asked")
