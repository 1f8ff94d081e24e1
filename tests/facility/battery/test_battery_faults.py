"""What goes wrong with batteries, on real Modbus TCP: each test has the name of its fault."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from battery_plant import BatteryPlant
from battery_site import QUICK, NewBatteries, NewPlant, budget, until

from wattlease.core.model import Storage
from wattlease.facility.battery.batteries import Batteries, Feed
from wattlease.runtime.lease.clock import steady_s

CONTROLLER = """
import asyncio, sys
from wattlease.core.api import PowerBudget
from wattlease.facility.battery.batteries import Batteries

async def main():
    batteries = Batteries([PowerBudget.model_validate_json(sys.argv[1])])
    task = asyncio.create_task(batteries.run())
    while True:
        batteries.order({"pack": 5000.0})
        await asyncio.sleep(0.2)

asyncio.run(main())
"""


def told(batteries: Batteries) -> Storage:
    return batteries.storages(steady_s())[0]


def why(batteries: Batteries) -> str:
    return batteries.troubles(steady_s()).get("pack", "")


async def discharging(batteries: Batteries, plant: BatteryPlant, power_w: float = 5000.0) -> None:
    """Order it, once it answers, and wait until it does."""
    await until(lambda: told(batteries).available)
    batteries.order({"pack": power_w})
    await until(lambda: plant.power_w == power_w and told(batteries).power_w == power_w)


async def test_an_order_is_never_written_before_its_reversion_timer(
    new_plant: NewPlant, new_batteries: NewBatteries
) -> None:
    plant = await new_plant()
    await discharging(new_batteries(plant), plant)
    names = [next(iter(points)) if len(points) == 1 else points for points in plant.orders]
    first = {point: next(i for i, points in enumerate(plant.orders) if point in points) for point in (
        "WSetRvrt", "WSetRvrtTms", "WSetEnaRvrt", "CtrlHb", "WSetEna")}  # fmt: skip
    assert max(first["WSetRvrt"], first["WSetRvrtTms"], first["WSetEnaRvrt"]) < first["CtrlHb"] < first["WSetEna"], (
        names
    )
    assert {"WSetEna", "WSetMod", "WSet"} == plant.orders[first["WSetEna"]], "set point and enable are one request"


async def test_an_order_in_rates_is_never_written_before_its_reversion_timer(
    new_plant: NewPlant, new_batteries: NewBatteries
) -> None:
    plant = await new_plant(models=(1, 124))
    batteries = new_batteries(plant)
    await discharging(batteries, plant)
    assert plant.orders[:3] == [{"InOutWRte_WinTms", "InOutWRte_RvrtTms"}, {"OutWRte", "InWRte"}, {"StorCtl_Mod"}]
    batteries.order({"pack": -4000.0})
    await until(lambda: plant.power_w == -4000.0)


async def test_a_battery_that_forgets_its_reversion_timer_is_not_ordered(
    new_plant: NewPlant, new_batteries: NewBatteries
) -> None:
    plant = await new_plant()
    plant.forgets = frozenset({"WSetRvrtTms"})
    batteries = new_batteries(plant)
    await until(lambda: "reversion" in why(batteries))
    assert not any("WSetEna" in points for points in plant.orders)
    assert not told(batteries).available


async def test_a_battery_whose_controller_dies_idles_by_its_own_timer(new_plant: NewPlant) -> None:
    plant = await new_plant()
    settings = budget(plant).model_dump_json(by_alias=True)
    with subprocess.Popen([sys.executable, "-c", CONTROLLER, settings]) as controller:
        try:
            await until(lambda: plant.power_w == 5000.0, within_s=30.0)
        finally:
            controller.send_signal(signal.SIGKILL)
    plant.advance()
    assert plant.power_w == 5000.0, "it did not idle because it was told to"
    await asyncio.sleep(plant.order_until_s - plant.now_s + 0.05)
    plant.advance()
    assert plant.power_w == 0.0


async def test_a_battery_idles_when_its_plan_falls_silent(new_plant: NewPlant, new_batteries: NewBatteries) -> None:
    plant = await new_plant()
    batteries = new_batteries(plant)
    await discharging(batteries, plant)
    await until(lambda: plant.power_w == 0.0)
    assert told(batteries).available


async def test_a_battery_that_gives_when_we_end_goes_on_until_its_own_timer_ends_it(new_plant: NewPlant) -> None:
    """What it gives is lent to nodes, who keep it for as long as their grants last."""
    plant = await new_plant()
    batteries = Batteries([budget(plant)])
    running = asyncio.create_task(batteries.run())
    await discharging(batteries, plant)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    plant.advance()
    assert plant.power_w == 5000.0
    await asyncio.sleep(plant.order_until_s - plant.now_s + 0.05)
    plant.advance()
    assert plant.power_w == 0.0


async def test_a_battery_that_charges_when_we_end_stops_at_once(new_plant: NewPlant) -> None:
    plant = await new_plant()
    batteries = Batteries([budget(plant)])
    running = asyncio.create_task(batteries.run())
    await until(lambda: told(batteries).available)
    batteries.order({"pack": -5000.0})
    await until(lambda: plant.power_w == -5000.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    plant.advance()
    assert plant.power_w == 0.0


async def test_a_battery_that_watches_our_heartbeat_keeps_to_its_order(
    new_plant: NewPlant, new_batteries: NewBatteries
) -> None:
    plant = await new_plant()
    plant.needs_heartbeat_s = 1.4
    batteries = new_batteries(plant, reversionSeconds=30)
    await discharging(batteries, plant)
    await asyncio.sleep(1.6)
    plant.advance()
    assert plant.power_w == 5000.0


async def test_a_battery_under_local_control_is_left_alone(new_plant: NewPlant, new_batteries: NewBatteries) -> None:
    plant = await new_plant()
    plant.local = True
    batteries = new_batteries(plant)
    batteries.order({"pack": 5000.0})
    await until(lambda: "local control" in why(batteries))
    assert not plant.writes
    plant.local = False
    await discharging(batteries, plant)
    plant.local, written = True, len(plant.writes)
    await until(lambda: not told(batteries).available)
    written = len(plant.writes)
    batteries.order({"pack": 1000.0})
    await asyncio.sleep(0.5)
    assert len(plant.writes) == written


async def test_a_battery_that_lies_about_its_sign_is_used_no_more(
    new_plant: NewPlant, new_batteries: NewBatteries, caplog: pytest.LogCaptureFixture
) -> None:
    plant = await new_plant()
    plant.does_opposite = True
    batteries = new_batteries(plant)
    await until(lambda: told(batteries).available)
    with caplog.at_level(logging.ERROR):
        for _ in range(40):
            batteries.order({"pack": 5000.0})
            await asyncio.sleep(0.1)
            if "opposite" in why(batteries) and plant.order_w == 0.0:
                break
    assert not told(batteries).available
    assert plant.order_w == 0.0
    await until(lambda: [r.levelname for r in caplog.records if "used no more" in r.getMessage()] == ["ERROR"])
    plant.does_opposite = False
    await asyncio.sleep(1.0)
    assert not told(batteries).available, "trust does not come back by itself"


async def test_a_battery_that_only_tells_the_wrong_sign_is_used_no_more(
    new_plant: NewPlant, new_batteries: NewBatteries
) -> None:
    plant = await new_plant()
    plant.tells_opposite = True
    batteries = new_batteries(plant)
    await until(lambda: told(batteries).available)
    for _ in range(40):
        batteries.order({"pack": -5000.0})
        await asyncio.sleep(0.1)
        if why(batteries):
            break
    assert "discharges at 5000 W when ordered the opposite" in why(batteries)


@pytest.mark.parametrize("lies", [True, False])
async def test_a_battery_whose_lie_only_the_feed_shows_is_used_no_more(
    new_plant: NewPlant, new_batteries: NewBatteries, lies: bool
) -> None:
    plant = await new_plant(models=(1, 704, 802))
    plant.does_opposite = lies
    batteries = new_batteries(plant, reversionSeconds=30)
    await until(lambda: told(batteries).available)
    for planned_w in (5000.0, -5000.0, 5000.0):
        batteries.follow({"site": Feed(50_000.0 - plant.power_w, 100_000.0)})
        batteries.order({"pack": planned_w})
        for _ in range(5):
            await asyncio.sleep(0.1)
            batteries.follow({"site": Feed(50_000.0 - plant.power_w, 100_000.0)})
    assert ("the feed rose" in why(batteries)) == lies
    assert told(batteries).available != lies


async def test_a_battery_that_turns_slowly_is_no_liar(new_plant: NewPlant, new_batteries: NewBatteries) -> None:
    plant = await new_plant()
    batteries = new_batteries(plant, patience=replace(QUICK, start_s=10.0))
    await until(lambda: told(batteries).available)
    batteries.order({"pack": -8000.0})
    await until(lambda: plant.power_w == -8000.0)
    plant.ramp_w_per_s = 4000.0
    for _ in range(30):
        batteries.order({"pack": 4000.0})
        await asyncio.sleep(0.1)
        assert not why(batteries)
    assert plant.power_w > 0.0


async def test_a_battery_that_refuses_is_left_out_and_tried_again(
    new_plant: NewPlant, new_batteries: NewBatteries
) -> None:
    plant = await new_plant()
    plant.refuses = True
    batteries = new_batteries(plant)
    await until(lambda: "refuses" in why(batteries))
    assert not told(batteries).available
    plant.refuses = False
    await discharging(batteries, plant)


async def test_a_battery_that_takes_another_order_than_it_was_given_is_left_out(
    new_plant: NewPlant, new_batteries: NewBatteries
) -> None:
    plant = await new_plant()
    plant.forgets = frozenset({"WSet"})
    batteries = new_batteries(plant)
    await until(lambda: told(batteries).available)

    def is_left_out() -> bool:
        batteries.order({"pack": 5000.0})
        return "was ordered 5000 W" in why(batteries)

    await until(is_left_out)


async def test_a_battery_that_empties_early_is_believed_empty(new_plant: NewPlant, new_batteries: NewBatteries) -> None:
    plant = await new_plant(soc_frac=0.0001)
    plant.told_more_frac = 0.4
    batteries = new_batteries(plant)
    await until(lambda: told(batteries).available)
    assert told(batteries).soc_frac == pytest.approx(0.4, abs=0.01)
    for _ in range(40):
        batteries.order({"pack": 5000.0})
        await asyncio.sleep(0.1)
        if told(batteries).soc_frac < 0.1:
            break
    assert told(batteries).soc_frac == 0.0
    assert batteries.kept()["pack"].empty_at_frac == pytest.approx(0.4, abs=0.01)
    batteries.order({"pack": 5000.0})
    await until(lambda: plant.order_w == 0.0)


async def test_a_battery_that_loses_its_link_adds_nothing(new_plant: NewPlant, new_batteries: NewBatteries) -> None:
    plant = await new_plant()
    batteries = new_batteries(plant)
    await discharging(batteries, plant)
    await plant.disconnect()
    await until(lambda: not told(batteries).available)
    assert math.isnan(told(batteries).power_w), "it may still do what it was ordered"
    await plant.connect()
    await discharging(batteries, plant)


async def test_a_battery_that_lost_its_link_counts_as_idle_once_its_timer_has_idled_it(
    new_plant: NewPlant, new_batteries: NewBatteries
) -> None:
    plant = await new_plant()
    batteries = new_batteries(plant)
    await discharging(batteries, plant)
    await plant.disconnect()
    await until(lambda: told(batteries).power_w == 0.0)
    plant.advance()
    assert plant.power_w == 0.0


async def test_what_a_battery_does_that_was_never_heard_nobody_knows(
    new_plant: NewPlant, new_batteries: NewBatteries
) -> None:
    """Who led before may have ordered something a moment ago."""
    plant = await new_plant()
    await plant.disconnect()
    batteries = new_batteries(plant)
    assert math.isnan(told(batteries).power_w)
    await until(lambda: told(batteries).power_w == 0.0)


async def test_a_battery_that_hangs_holds_up_no_other(new_plant: NewPlant) -> None:
    hanging, working = await new_plant(), await new_plant()
    first = budget(hanging)
    second = budget(working)
    both = [first, second.model_copy(update={"metadata": first.metadata.model_copy(update={"name": "hall"})})]
    renamed = both[1].spec.storage[0].model_copy(update={"name": "other"})
    both[1] = both[1].model_copy(update={"spec": both[1].spec.model_copy(update={"storage": (renamed,)})})
    hanging.deaf = True
    batteries = Batteries(both)
    running = asyncio.create_task(batteries.run())
    try:
        await until(lambda: batteries.storages(steady_s())[1].available, within_s=1.0)
        batteries.order({"other": 3000.0, "pack": 3000.0})
        await until(lambda: working.power_w == 3000.0, within_s=1.0)
        assert not batteries.storages(steady_s())[0].available
    finally:
        hanging.deaf = False
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_battery_whose_own_heartbeat_stands_still_adds_nothing(
    new_plant: NewPlant, new_batteries: NewBatteries
) -> None:
    plant = await new_plant()
    batteries = new_batteries(plant)
    await discharging(batteries, plant)
    await asyncio.sleep(1.1)
    plant.stuck = True
    await until(lambda: "heartbeat" in why(batteries))
    assert math.isnan(told(batteries).power_w), "what it tells is of no use"


async def test_its_own_limits_hold_before_ours(new_plant: NewPlant, new_batteries: NewBatteries) -> None:
    plant = await new_plant()
    plant.map.put(802, WDisChaRteMax=300, WChaRteMax=200)
    batteries = new_batteries(plant)
    await until(lambda: told(batteries).available)
    unit = batteries.units()[0]
    assert (unit.max_charge_w, unit.max_discharge_w) == (2000.0, 3000.0)
    for asked_w, given_w in ((9000.0, 3000.0), (-9000.0, -2000.0)):
        batteries.order({"pack": asked_w})
        await until(lambda w=given_w: plant.power_w == w)


async def test_a_shadow_budget_reads_its_battery_and_writes_nothing(
    new_plant: NewPlant, new_batteries: NewBatteries
) -> None:
    plant = await new_plant()
    batteries = Batteries([budget(plant, mode="Shadow")])
    running = asyncio.create_task(batteries.run())
    await until(lambda: told(batteries).available)
    batteries.order({"pack": 5000.0})
    await asyncio.sleep(0.3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not plant.writes


async def test_help_comes_within_the_second_that_the_feed_is_over(
    new_plant: NewPlant, new_batteries: NewBatteries
) -> None:
    plant = await new_plant()
    batteries = new_batteries(plant)
    await until(lambda: told(batteries).available)
    batteries.order({"pack": -2000.0})
    await until(lambda: told(batteries).power_w == -2000.0)
    await asyncio.sleep(0.2)
    load_w, limit_w = 100_000.0, 97_000.0
    began_s = steady_s()
    aims = batteries.follow({"site": Feed(load_w - plant.power_w, limit_w, window_s=0.05)})
    assert aims["pack"] == pytest.approx(load_w - limit_w, abs=1.0)
    await until(lambda: load_w - plant.power_w <= limit_w + 10.0)
    assert steady_s() - began_s < 1.0
    for _ in range(8):  # the meter is off by a tenth: help neither swings nor grows
        await asyncio.sleep(0.1)
        aims = batteries.follow({"site": Feed(load_w - plant.power_w, limit_w, age_s=0.1, window_s=0.1)})
        assert 2900.0 <= aims["pack"] <= 3150.0
    batteries.follow({"site": Feed(load_w - 10_000.0 - plant.power_w, limit_w, window_s=0.05)})
    await asyncio.sleep(1.0)
    aims = batteries.follow({"site": Feed(load_w - 10_000.0 - plant.power_w, limit_w, window_s=0.05)})
    assert 2500.0 < aims["pack"] < 3000.0 + 10_000.0 / 60, "help is handed back slowly"
