"""What goes wrong around a hall, one after the other: each fault has its name, lasts, is seen, and is mended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fault_facility import GIVES_W, LIMIT_W, Day, comes, until_then

from wattlease.facility.meters.judging import State

SPELL_S = 3.5
"""So long a fault goes on once it was seen: longer than a lease lasts."""

SOON_S, LATE_S = 20.0, 40.0
WORK_W, IDLE_W = 390.0, 110.0

EVENING_W, NIGHT_W = 3000, 2600

Fault = Callable[[Day], Awaitable[bool]]
"""Breaks something, and mends it; whether it was seen meanwhile."""


# The meter


async def _meter_tells(day: Day, tells: Callable[[float], float], becomes: State) -> bool:
    day.meter.tells = tells
    seen = await comes(lambda: day.meter_is == becomes, SOON_S)
    await asyncio.sleep(SPELL_S)
    day.meter.tells = float
    return seen


async def the_meter_freezes(day: Day) -> bool:
    """At the worst moment: while a node idles, which wakes then."""
    day.nodes[1].wants_w = IDLE_W
    await asyncio.sleep(SPELL_S + 1.5)
    day.meter.frozen = True
    day.nodes[1].wants_w = WORK_W
    seen = await comes(lambda: day.meter_is == "Frozen", LATE_S)
    await asyncio.sleep(SPELL_S)
    day.meter.frozen = False
    return seen


async def the_meter_jumps_to_zero(day: Day) -> bool:
    return await _meter_tells(day, lambda _: 0.0, "Jumped")


async def the_meter_reports_9_kilowatts_for_two_nodes(day: Day) -> bool:
    return await _meter_tells(day, lambda _: 9000.0, "Implausible")


async def the_meter_changes_its_sign(day: Day) -> bool:
    return await _meter_tells(day, lambda power_w: -power_w, "Flipped")


# The battery


async def the_battery_refuses(day: Day) -> bool:
    day.battery.refuses = True
    seen = await comes(lambda: "refuses" in day.battery_is_out, SOON_S)
    await asyncio.sleep(SPELL_S)
    day.battery.refuses = False
    return seen


async def the_battery_goes_to_local_control(day: Day) -> bool:
    """Who turned the switch stops it, too."""
    day.stops()
    day.battery.local, day.battery.order_w = True, 0.0
    seen = await comes(lambda: "local control" in day.battery_is_out, SOON_S)
    await asyncio.sleep(SPELL_S)
    day.battery.local = False
    return seen


async def the_battery_empties_early(day: Day) -> bool:
    """It tells of half its charge, and gives nothing any more; afterwards it is charged."""
    day.stops()
    day.battery.soc_frac, day.battery.told_more_frac = 0.0, 0.5
    seen = await comes(lambda: day.believed_frac == 0.0, SOON_S)
    await asyncio.sleep(SPELL_S)
    day.battery.soc_frac, day.battery.told_more_frac = 0.95, 0.0
    return seen


async def the_battery_lies_about_its_sign(day: Day) -> bool:
    """It charges when it is to give; it is used no more, until its converter is mended and Wattlease restarted."""
    day.stops()
    day.battery.does_opposite = True
    seen = await comes(lambda: "used no more" in day.battery_is_out, LATE_S)
    await asyncio.sleep(SPELL_S)
    day.battery.does_opposite = False
    await asyncio.sleep(SPELL_S)
    seen &= "used no more" in day.battery_is_out
    await day.end()
    await day.begin()
    return seen


# The grid, and others at the same time


async def two_events_overlap_and_one_is_cancelled_while_the_meter_tells_a_third(day: Day) -> bool:
    evening_s = day.asks("evening", EVENING_W, in_s=4.0, lasts_s=16.0)
    day.asks("night", NIGHT_W, in_s=7.0, lasts_s=600.0)
    seen = await comes(lambda: day.told_limit_w == EVENING_W, SOON_S)
    seen &= await comes(lambda: day.told_limit_w == NIGHT_W, SOON_S)
    day.meter.tells = lambda power_w: power_w / 3.0
    seen &= await comes(lambda: day.state == "blind", SOON_S)
    await asyncio.sleep(SPELL_S)
    day.cancels("night", -1)
    seen &= await comes(lambda: day.told_limit_w == EVENING_W, SOON_S)
    day.meter.tells = float
    await until_then(evening_s + 16.0)
    return seen & await comes(lambda: day.told_limit_w == LIMIT_W, SOON_S)


async def the_battery_loses_its_link_while_an_event_is_in_force(day: Day) -> bool:
    """Until its own timer has fired."""
    start_s = day.asks("late evening", EVENING_W, in_s=4.0, lasts_s=24.0)
    seen = await comes(lambda: day.told_limit_w == EVENING_W and day.battery_w > 0.9 * GIVES_W, SOON_S)
    await day.battery.disconnect()
    seen &= await comes(lambda: bool(day.battery_is_out), SOON_S)
    seen &= await comes(lambda: day.battery_w == 0.0, SOON_S)
    await until_then(start_s + 24.0)
    await day.battery.connect()
    return seen


FAULTS: tuple[Fault, ...] = (
    the_meter_freezes,
    the_meter_jumps_to_zero,
    the_meter_reports_9_kilowatts_for_two_nodes,
    the_meter_changes_its_sign,
    the_battery_refuses,
    the_battery_goes_to_local_control,
    the_battery_empties_early,
    two_events_overlap_and_one_is_cancelled_while_the_meter_tells_a_third,
    the_battery_loses_its_link_while_an_event_is_in_force,
    the_battery_lies_about_its_sign,
)
