"""Models, orders and readings as registers, and the whole driver beside SunSpec's own client."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
import yaml
from battery_plant import Map
from battery_site import NewPlant, budget, pcs
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.api import Pcs, PowerBudget
from wattlease.core.errors import BudgetError
from wattlease.facility.battery.batteries import NOBODYS, Batteries
from wattlease.facility.battery.blocks import Block, layout
from wattlease.facility.battery.checks import batteries_answer
from wattlease.facility.battery.controls import ActivePower, Control, StorageRates
from wattlease.facility.battery.sunspec import SunSpecBattery
from wattlease.facility.battery.words import BatteryReading, Ordered, Trouble
from wattlease.runtime.site import site_of
from wattlease.runtime.site_words import Group

FEW = settings(max_examples=100, deadline=None)


def block(model: int, **points: int) -> Block:
    """A model with these raw points and no others."""
    made = Map((model,))
    made.put(model, **points)
    return Block(model, 40002, tuple(made.words[2:-2]))


def taken(before: Block, control: Control, power_w: float) -> Block:
    """The model after an order was written to it."""
    words, writes = list(before.words), control.order(before, power_w)
    assert not isinstance(writes, Trouble)
    for write in writes:
        at = write.address - before.address
        words[at : at + len(write.words)] = write.words
    return Block(before.model, before.address, tuple(words))


@FEW
@given(power_w=st.floats(-1e8, 1e8), scale=st.integers(-1, 3))
def test_an_order_of_active_power_reads_back_within_a_step_and_never_beyond(power_w: float, scale: int) -> None:
    control = ActivePower()
    standing = control.standing(taken(block(704, WSet_SF=scale, WSetEna=0), control, power_w))
    assert standing is not None
    assert abs(standing.power_w) <= abs(power_w) + 1e-6
    assert abs(standing.power_w - power_w) <= 10.0**scale
    assert math.isnan(standing.left_s)


@FEW
@given(power_w=st.floats(-2e4, 2e4), scale=st.integers(-2, 0), mode=st.integers(0, 3))
def test_an_order_in_rates_reads_back_within_a_step_and_never_beyond(power_w: float, scale: int, mode: int) -> None:
    control = StorageRates()
    before = block(124, WChaMax=1000, WChaMax_SF=1, InOutWRte_SF=scale, StorCtl_Mod=mode, OutWRte=0, InWRte=0)
    after = taken(before, control, power_w)
    standing, asked_w = control.standing(after), max(-1e4, min(1e4, power_w))
    assert standing is not None
    assert abs(standing.power_w) <= abs(asked_w) + 1e-6
    assert abs(standing.power_w - asked_w) <= control.step_w(after) + 1e-6


@FEW
@given(st.sampled_from([701, 704, 713, 714, 715, 802, 124]), st.data())
def test_a_point_that_the_device_does_not_have_has_no_value(model: int, data: st.DataObject) -> None:
    numbers = [name for name, point in layout(model).items() if point.kind != "string" and name not in ("ID", "L")]
    assert block(model).value(data.draw(st.sampled_from(numbers))) is None


def test_a_range_of_rates_is_nobodys_order() -> None:
    free = block(124, WChaMax=1000, StorCtl_Mod=3, OutWRte=50, InWRte=100, InOutWRte_SF=0)
    assert StorageRates().standing(free) is None
    assert ActivePower().standing(block(704, WSetEna=1, WSetMod=0, WSet=5)) is None


@pytest.mark.parametrize(
    ("control", "bare"),
    [(ActivePower(), block(704, WSetEna=0, WSet=0)), (StorageRates(), block(124, WChaMax=1, OutWRte=0, InWRte=0))],
)
def test_a_converter_without_a_reversion_timer_takes_no_order(control: Control, bare: Block) -> None:
    trouble = control.timer(bare, 30)
    assert isinstance(trouble, Trouble)
    assert "would outlive its controller" in trouble.text


def test_a_timer_that_stands_is_not_written_again() -> None:
    assert ActivePower().timer(block(704, WSetRvrt=0, WSetEnaRvrt=1, WSetRvrtTms=30), 30) == ()
    assert ActivePower().timer(block(704, WSetRvrtTms=30), 30) == (), "where the others are not there"
    assert StorageRates().timer(block(124, InOutWRte_WinTms=0, InOutWRte_RvrtTms=30), 30) == ()


async def test_a_reading_is_what_sunspecs_own_client_reads(new_plant: NewPlant) -> None:
    client = pytest.importorskip("sunspec2.modbus.client")
    plant = await new_plant(soc_frac=0.755)
    battery = SunSpecBattery(pcs(plant))
    assert await battery.order(-3210.0) == Ordered(-3210.0, 2.0)
    await asyncio.sleep(0.05)
    reading = await battery.read()
    await battery.close()

    def scanned() -> tuple[float, float, float]:
        device = client.SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=plant.port)
        try:
            device.scan()
        finally:
            device.close()
        models = device.models
        return models[802][0].SoC.cvalue, models[701][0].W.cvalue, models[704][0].WSet.cvalue

    soc, power_w, order_w = await asyncio.to_thread(scanned)
    assert isinstance(reading, BatteryReading)
    assert (soc / 100, power_w, order_w) == (pytest.approx(reading.soc_frac), -3210.0, -3210.0)
    assert reading.power_w == -3210.0
    assert reading.is_ac


async def test_without_an_ac_model_the_sign_is_the_settings(new_plant: NewPlant) -> None:
    plant = await new_plant(models=(1, 704, 802))
    plant.power_w = plant.order_w = 2000.0
    for sign, told_w in (("Positive", 2000.0), ("Negative", -2000.0)):
        battery = SunSpecBattery(pcs(plant, dischargeSign=sign))
        reading = await battery.read()
        await battery.close()
        assert isinstance(reading, BatteryReading)
        assert (reading.power_w, reading.is_ac) == (told_w, False)


async def test_an_order_is_renewed_before_it_lapses_and_not_at_each_beat(new_plant: NewPlant) -> None:
    plant = await new_plant()
    battery = SunSpecBattery(pcs(plant, reversionSeconds=3))
    for _ in range(12):
        assert isinstance(await battery.order(4000.0), Ordered)
        await asyncio.sleep(0.2)
    await battery.close()
    renewed = [at_s for at_s, points, _ in plant.writes if "WSetEna" in points]
    assert len(renewed) == 3
    assert sum("CtrlHb" in points for points in plant.orders) == 12


async def test_models_that_are_named_and_missing_are_told(new_plant: NewPlant) -> None:
    plant = await new_plant(models=(1, 124))
    battery = SunSpecBattery(pcs(plant, models=[704, 802]))
    reading = await battery.read()
    await battery.close()
    assert isinstance(reading, Trouble)
    assert reading.text.endswith("has no model 704; it has 1, 124")


# --- the doctor ---


async def test_the_doctor_tells_a_battery_that_is_well_and_writes_nothing(new_plant: NewPlant) -> None:
    plant = await new_plant()
    found = await batteries_answer([budget(plant)])
    assert [f.ok for f in found] == [True, True]
    assert found[0].name == "site/pack"
    assert found[0].read == "+0.00 kW, 80.0% charged, health 97%, Ampere & Sons P-10"
    assert found[1].verdict == "takes orders by model 704, which lapse after 2 s"
    assert not plant.writes


async def test_the_doctor_tells_what_is_wrong_and_what_to_do(new_plant: NewPlant) -> None:
    plant = await new_plant(soc_frac=0.1)
    plant.local = True
    plant.map.put(802, WDisChaRteMax=300)
    told = {f.verdict: f for f in await batteries_answer([budget(plant)])}
    assert told["is under local control and is left alone"].fix == "set it to remote at the device"
    assert told["is at 10%, under its reserve of 20 %"].ok
    limit = told["allows 3000 W where maxDischargeWatts says 10000; the lower one is used"]
    assert limit.fix == "write maxDischargeWatts: 3000"


async def test_the_doctor_advises_on_a_converter_that_knows_little(new_plant: NewPlant) -> None:
    told = [f.verdict for f in await batteries_answer([budget(await new_plant(models=(1, 124)))])]
    assert told[1:] == [
        "takes orders by model 124, which lapse after 2 s",
        "has no model 701: only the scope's own meter can tell whether it counts discharge as meant",
        "watches for no heartbeat: only its timer ends an order",
    ]


async def test_the_doctor_tells_a_battery_that_does_not_answer(new_plant: NewPlant) -> None:
    plant = await new_plant()
    named = budget(plant)
    await plant.disconnect()
    (found,) = await batteries_answer([named])
    assert not found.ok
    assert "cannot be reached" in found.verdict
    assert "host, port and unitId" in found.fix


# --- settings ---


def test_a_converter_that_could_not_be_ordered_is_refused() -> None:
    where = {"sunSpec": {"host": "pcs"}}
    with pytest.raises(ValueError, match="neither 704 nor 124 is among them"):
        Pcs.model_validate({**where, "models": [802, 701]})
    with pytest.raises(ValueError, match="more than half of reversionSeconds 30, so orders would lapse"):
        Pcs.model_validate({**where, "heartbeatSeconds": 16})


def stored(name: str, parent: str | None, *storages: str) -> PowerBudget:
    packs = [{"name": s, "capacityWattHours": 1000, "maxChargeWatts": 100, "maxDischargeWatts": 100} for s in storages]
    spec = {"limitWatts": 1000, "parent": parent, "storage": packs}
    return PowerBudget.model_validate({"metadata": {"name": name}, "spec": spec})


def test_batteries_stand_in_the_order_of_the_site() -> None:
    budgets = [stored("rack", "hall", "a"), stored("hall", "site", "b", "c"), stored("site", None, "d")]
    group = Group.model_validate(
        {"name": "g", "cluster": "c", "budget": "rack", "nodes": 1, "gpusPerNode": 1, "gpuModel": "H100-SXM",
         "card": {"ratedWatts": 700, "minCapWatts": 200, "idleWatts": 70}, "nodeNameplateWatts": 900,
         "overhead": {"floorWatts": 10, "perItPercent": 0}}
    )  # fmt: skip
    batteries = Batteries(budgets)
    assert batteries.units() == site_of("site", [group], budgets, []).storages
    assert batteries.storages(0.0) == (NOBODYS,) * 4


def test_two_batteries_of_one_name_are_refused() -> None:
    with pytest.raises(BudgetError, match="storage 'a' is named in two budgets"):
        Batteries([stored("site", None, "a"), stored("hall", "site", "a")])


def test_the_guides_example_comes_in() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "battery.md").read_text(encoding="utf-8")
    example = yaml.safe_load(guide.split("```yaml\n")[1].split("```")[0])
    (storage,) = PowerBudget.model_validate(example).spec.storage
    assert storage.pcs is not None
    assert storage.pcs.sun_spec.host == "pcs.example.net"
