"""All meters of a site, over real Modbus, through every fault that they are known for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from wattlease.core.api import PowerBudget
from wattlease.facility.meters.meters import Meters, Standing


@dataclass
class Hall:
    """Meters on a clock that the test moves."""

    meters: Meters
    now: list[float]
    budget: PowerBudget

    def with_limit(self, limit_w: int) -> Meters:
        """The meters as a changed limit makes them."""
        spec = self.budget.spec.model_copy(update={"limit_watts": limit_w})
        changed = self.budget.model_copy(update={"spec": spec})
        return Meters([changed], clock=lambda: self.now[0], before=self.meters)

    async def after(self, span_s: float, moved: Callable[[], None] | None = None) -> Standing:
        """Ask once a second for so long; where the first meter stands then."""
        for _ in range(round(span_s)):
            self.now[0] += 1.0
            if moved:
                moved()
            await self.meters.poll()
        return self.meters.standing(self.now[0])[0]

    def told_w(self) -> list[float]:
        """What the core is told of the hall."""
        return [r.power_w for r in self.meters.readings({"hall": 0}, self.now[0])]


@pytest.fixture
def hall(modbus: Any, budget: Any) -> Any:
    """A hall whose SunSpec meters are these devices."""

    @asynccontextmanager
    async def make(*devices: Any, limit_w: int = 20_000, **more: Any) -> AsyncIterator[Hall]:
        for unit, device in enumerate(devices, start=1):
            device.unit = unit
        async with modbus(*devices) as port:
            metered = budget(
                *(
                    {"name": f"m{d.unit}", "kind": "SunSpec", "timeoutSeconds": 1}
                    | {"sunSpec": {"host": "127.0.0.1", "port": port, "unitId": d.unit}}
                    | more.get(f"m{d.unit}", {})
                    for d in devices
                ),
                limit_w=limit_w,
            )
            now = [100.0]
            meters = Meters([metered], clock=lambda: now[0])
            try:
                yield Hall(meters, now, metered)
            finally:
                await meters.close()

    return make


async def test_a_meter_is_read_and_told_to_the_core_with_its_age(hall: Any, sunspec: Any) -> None:
    async with hall(sunspec(), m1={"delaySeconds": 2, "windowSeconds": 5}) as site:
        standing = await site.after(1)
        site.now[0] += 0.5
        [reading] = site.meters.readings({"elsewhere": 3, "hall": 7}, site.now[0])
    assert (standing.state, standing.power_w) == ("Good", pytest.approx(8200.0))
    assert (reading.meter, reading.scope, reading.window_s) == ("m1", 7, 5.0)
    assert reading.age_s == pytest.approx(2.5)


async def test_a_meter_that_freezes_while_the_cards_move_is_not_told(hall: Any, sunspec: Any) -> None:
    async with hall(sunspec()) as site:
        drawn = iter(range(5000, 100_000, 50))
        standing = await site.after(40, lambda: site.meters.drawn("hall", next(drawn), site.now[0]))
        told = site.told_w()
    assert (standing.state, told) == ("Frozen", [])
    assert "while others moved" in standing.why


async def test_another_limit_makes_no_frozen_meter_live(hall: Any, sunspec: Any) -> None:
    async with hall(sunspec()) as site:
        drawn = iter(range(5000, 100_000, 50))
        await site.after(40, lambda: site.meters.drawn("hall", next(drawn), site.now[0]))
        site.now[0] += 1.0
        meters = site.with_limit(25_000)
        await meters.poll()
        standing = meters.standing(site.now[0])[0]
        await meters.close()
    assert standing.state == "Frozen"


async def test_a_meter_that_freezes_while_another_moves_is_left_out(hall: Any, sunspec: Any) -> None:
    frozen, lively = sunspec(), sunspec()
    power = iter(range(7900, 100_000, 20))
    async with hall(frozen, lively) as site:
        standing = await site.after(40, lambda: lively.draw(next(power)))
        told = site.told_w()
    assert standing.state == "Frozen"
    assert told == [pytest.approx(7900 + 39 * 20, abs=10)]


async def test_a_jump_to_zero_is_not_told_until_it_lasts(hall: Any, sunspec: Any) -> None:
    device = sunspec()
    async with hall(device) as site:
        await site.after(5)
        device.draw(0)
        early = await site.after(10)
        told = site.told_w()
        late = await site.after(60)
        told_late = site.told_w()
    assert (early.state, told) == ("Jumped", [])
    assert (late.state, told_late) == ("Good", [0.0])


async def test_nine_kilowatts_for_two_cards_are_not_told(hall: Any, sunspec: Any) -> None:
    device = sunspec()
    device.draw(1400)
    async with hall(device, limit_w=2000) as site:
        await site.after(3)
        device.draw(9000)
        standing = await site.after(30)
        told = site.told_w()
    assert (standing.state, told) == ("Implausible", [])
    assert "outside 0 to 4 kW" in standing.why


async def test_a_changed_sign_is_not_told_and_its_return_is(hall: Any, sunspec: Any) -> None:
    device = sunspec()
    async with hall(device, m1={"minWatts": -20_000}) as site:
        await site.after(5)
        device.draw(-8200)
        turned = await site.after(90)
        told = site.told_w()
        device.draw(8300)
        back = await site.after(1)
    assert (turned.state, told) == ("Flipped", [])
    assert "positive" in turned.why
    assert (back.state, back.power_w) == ("Good", 8300.0)


async def test_a_silent_meter_is_told_until_it_is_stale_and_then_why(
    hall: Any, sunspec: Any, modbus: Any, budget: Any
) -> None:
    now = [100.0]
    async with modbus(sunspec()) as port:
        reach = {"host": "127.0.0.1", "port": port}
        metered = budget({"name": "m1", "kind": "SunSpec", "sunSpec": reach})
        site = Hall(Meters([metered], clock=lambda: now[0]), now, metered)
        await site.after(2)
    silent = await site.after(8)
    told = site.told_w()
    stale = await site.after(4)
    told_stale = site.told_w()
    await site.meters.close()
    assert (silent.state, len(told)) == ("Good", 1)
    assert (stale.state, told_stale) == ("Stale", [])
    assert "nobody listens there" in stale.why


async def test_one_of_three_meters_that_lies_is_outvoted(hall: Any, sunspec: Any) -> None:
    devices = [sunspec(), sunspec(), sunspec()]
    devices[0].draw(12_000)
    devices[1].draw(8240)
    async with hall(*devices) as site:
        standing = await site.after(3)
        told = site.told_w()
    assert standing.state == "Outvoted"
    assert sorted(told) == [pytest.approx(8200), pytest.approx(8240)]


async def test_of_two_meters_that_disagree_both_are_told_and_it_is_said_once(
    hall: Any, sunspec: Any, caplog: pytest.LogCaptureFixture
) -> None:
    devices = [sunspec(), sunspec()]
    devices[0].draw(6000)
    with caplog.at_level(logging.INFO, logger="wattlease.facility"):
        async with hall(*devices) as site:
            standing = await site.after(5)
            told = site.told_w()
            devices[0].draw(8200)
            agreed = await site.after(2)
    assert max(told) == pytest.approx(8200)
    assert (standing.state, agreed.why) == ("Good", "")
    assert "the higher is taken" in standing.why
    about_first = [r.message for r in caplog.records if r.message.startswith("hall/m1")]
    assert len(about_first) == 2
    assert "believed again" in about_first[1]


async def test_feeds_a_and_b_are_summed_and_nothing_is_told_while_one_is_missing(hall: Any, sunspec: Any) -> None:
    a, b = sunspec(), sunspec()
    a.draw(3000)
    async with hall(a, b, m1={"feed": "a"}, m2={"feed": "b"}) as site:
        await site.after(2)
        whole = site.told_w()
        b.words[:2] = [0, 0]
        b.words[6] = 0  # its map is gone
        await site.after(12)
        half = site.told_w()
    assert whole == [pytest.approx(11_200)]
    assert half == []


async def test_meters_of_other_kinds_are_shown_by_kind_and_never_told_as_the_feed(hall: Any, sunspec: Any) -> None:
    devices = [sunspec(), sunspec(), sunspec()]
    for device, power_w in zip(devices, (8200, 1200, 300), strict=True):
        device.draw(power_w)
    kinds = {"m2": {"measures": "Cooling"}, "m3": {"measures": "Cooling"}}
    async with hall(*devices, **kinds) as site:
        await site.after(2)
        told, kinds_w = site.told_w(), site.meters.by_kind_w(site.now[0])
    assert told == [pytest.approx(8200)]
    assert kinds_w == {"hall": {"Cooling": pytest.approx(1500)}}


async def test_running_follows_a_device_through_its_restart(modbus: Any, sunspec: Any, budget: Any) -> None:
    device = sunspec()
    async with modbus(device) as port:
        reach = {"host": "127.0.0.1", "port": port}
        meters = Meters([budget({"name": "m1", "kind": "SunSpec", "timeoutSeconds": 1, "sunSpec": reach})])
        running = asyncio.create_task(meters.run())
        device.delay_s = 3.0
        await asyncio.sleep(1.5)
        slow = meters.standing(meters._clock())[0]
        device.delay_s = 0.0
        for _ in range(80):
            await asyncio.sleep(0.1)
            if meters.standing(meters._clock())[0].state == "Good":
                break
        good = meters.standing(meters._clock())[0]
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert slow.state == "Unread"
    assert "does not answer within 1 s" in slow.why
    assert good.state == "Good"
