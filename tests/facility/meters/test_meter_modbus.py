"""Modbus and SunSpec meters against pymodbus's own server."""

from __future__ import annotations

import asyncio
import struct
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.constants import ExcCodes

from wattlease.core.api import Meter
from wattlease.facility.meters.drivers import driver_of, look
from wattlease.facility.meters.modbus import FORMATS, number
from wattlease.facility.meters.modbus_line import Lines
from wattlease.facility.meters.reading import Measured, Trouble

BASE = 40000


def sunspec_meter(port: int, **more: Any) -> Meter:
    wanted = {"name": "feed", "kind": "SunSpec", "timeoutSeconds": 1, "sunSpec": {"host": "127.0.0.1", "port": port}}
    wanted["sunSpec"] |= more.pop("sunSpec", {})  # type: ignore[operator]
    return Meter.model_validate(wanted | more)


def modbus_meter(port: int, *registers: dict[str, Any], **more: Any) -> Meter:
    reach = {"host": "127.0.0.1", "port": port, "registers": list(registers)} | more.pop("modbus", {})
    return Meter.model_validate({"name": "feed", "kind": "Modbus", "timeoutSeconds": 1, "modbus": reach} | more)


async def read(meter: Meter) -> Measured | Trouble:
    lines = Lines()
    driver = driver_of(meter, lines)
    assert driver is not None
    try:
        return await look(meter, driver)
    finally:
        lines.close()


@given(st.sampled_from(sorted(FORMATS)), st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]), st.data())
def test_every_type_in_every_byte_order_reads_back_what_was_written(kind: str, order: str, data: st.DataObject) -> None:
    bits = struct.calcsize(FORMATS[kind]) * 8
    low, high = (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    value: float = (
        data.draw(st.floats(width=bits, allow_nan=False))  # type: ignore[arg-type]
        if kind.startswith("float")
        else data.draw(st.integers(low, high))
    )
    raw = struct.pack(FORMATS[kind], value)
    pairs = [raw[i : i + 2] for i in range(0, len(raw), 2)]
    if order in ("CDAB", "DCBA"):
        pairs.reverse()
    if order in ("BADC", "DCBA"):
        pairs = [pair[::-1] for pair in pairs]
    words = [int.from_bytes(pair, "big") for pair in pairs]
    assert number(words, kind, order) == float(value)


async def test_a_sunspec_meter_is_found_and_scaled_by_its_own_models(modbus: Any, sunspec: Any) -> None:
    async with modbus(sunspec()) as port:
        found = await read(sunspec_meter(port))
    assert isinstance(found, Measured)
    assert found.power_w == pytest.approx(8200.0)
    assert found.power_factor == pytest.approx(0.975)
    assert found.energy_j == pytest.approx(12_500 * 1000 * 3600.0)
    assert found.source == "SunSpec model 203 at 40006"


async def test_a_sunspec_meter_in_floats_reads_the_same(modbus: Any, registers: Any, sunspec_map: Any) -> None:
    async with modbus(registers(sunspec_map(213))) as port:
        found = await read(sunspec_meter(port))
    assert isinstance(found, Measured)
    assert (found.power_w, found.energy_j) == (pytest.approx(8200.0), None)


async def test_a_generator_counts_what_it_gives_as_negative_draw(modbus: Any, registers: Any, sunspec_map: Any) -> None:
    async with modbus(registers(sunspec_map(701))) as port:
        found = await read(sunspec_meter(port, sunSpec={"model": 701}))
    assert isinstance(found, Measured)
    assert found.power_w == pytest.approx(-8200.0)


async def test_a_meter_that_counts_the_other_way_is_turned_by_positive(modbus: Any, sunspec: Any) -> None:
    async with modbus(sunspec()) as port:
        found = await read(sunspec_meter(port, positive="Delivered"))
    assert isinstance(found, Measured)
    assert found.power_w == pytest.approx(-8200.0)


async def test_after_discovery_one_request_is_one_reading(modbus: Any, sunspec: Any) -> None:
    device = sunspec()
    async with modbus(device) as port:
        lines = Lines()
        meter = sunspec_meter(port)
        driver = driver_of(meter, lines)
        assert driver is not None
        await look(meter, driver)
        before = device.reads
        device.draw(9100)
        found = await look(meter, driver)
        lines.close()
    assert isinstance(found, Measured)
    assert (found.power_w, device.reads - before) == (pytest.approx(9100.0), 1)


async def test_a_missing_model_is_told_with_those_that_are_there(modbus: Any, sunspec: Any) -> None:
    async with modbus(sunspec()) as port:
        found = await read(sunspec_meter(port, sunSpec={"model": 213}))
    assert isinstance(found, Trouble)
    assert "no model 213" in found.text
    assert "it has 1, 203" in found.fix


async def test_a_device_without_sunspec_is_told_as_such(modbus: Any, registers: Any) -> None:
    async with modbus(registers([7] * 40)) as port:
        found = await read(sunspec_meter(port))
    assert isinstance(found, Trouble)
    assert "no SunSpec map" in found.text


async def test_a_map_that_walks_in_a_circle_ends(modbus: Any, registers: Any) -> None:
    async with modbus(registers([0x5375, 0x6E53, *([9, 0] * 400)])) as port:
        found = await read(sunspec_meter(port))
    assert isinstance(found, Trouble)
    assert "no model of a meter" in found.text


async def test_registers_are_summed_with_their_scale_and_order(modbus: Any, registers: Any) -> None:
    words = [0, *struct.unpack(">2H", struct.pack(">i", 41_000)), *struct.unpack(">2H", struct.pack(">f", 4.1))[::-1]]
    async with modbus(registers(words)) as port:
        found = await read(
            modbus_meter(
                port,
                {"address": BASE + 1, "type": "int32", "scale": 0.1},
                {"address": BASE + 3, "type": "float32", "scale": 1000, "byteOrder": "CDAB"},
            )
        )
    assert isinstance(found, Measured)
    assert found.power_w == pytest.approx(8200.0)


async def test_a_register_that_is_not_there_is_told_with_its_number(modbus: Any, registers: Any) -> None:
    async with modbus(registers([1, 2, 3])) as port:
        found = await read(modbus_meter(port, {"address": 100, "type": "int32"}))
    assert isinstance(found, Trouble)
    assert "register 100" in found.text
    assert "counted from 0 or 1" in found.fix


async def test_registers_that_hold_no_number_are_no_reading(modbus: Any, registers: Any) -> None:
    async with modbus(registers([0x7FC0, 0])) as port:
        found = await read(modbus_meter(port, {"address": BASE, "type": "float32"}))
    assert isinstance(found, Trouble)
    assert "no number" in found.text


async def test_a_wrong_unit_id_is_told_within_the_timeout(modbus: Any, sunspec: Any) -> None:
    async with modbus(sunspec()) as port:
        began_s = time.monotonic()
        found = await read(sunspec_meter(port, sunSpec={"unitId": 9}))
    assert isinstance(found, Trouble)
    assert "unitId" in found.fix
    assert time.monotonic() - began_s < 10.0


async def test_a_slow_device_is_left_after_the_timeout_and_read_when_it_is_quick_again(
    modbus: Any, sunspec: Any
) -> None:
    device = sunspec(delay_s=1.6)
    async with modbus(device) as port:
        meter, lines = sunspec_meter(port), Lines()
        driver = driver_of(meter, lines)
        assert driver is not None
        slow = await look(meter, driver)
        device.delay_s = 0.0
        await asyncio.sleep(1.0)  # the late answer comes now, to a connection that was let go
        quick = await look(meter, driver)
        lines.close()
    assert isinstance(slow, Trouble)
    assert "does not answer within 1 s" in slow.text
    assert isinstance(quick, Measured)


async def test_a_port_where_nobody_listens_is_trouble_and_not_an_error() -> None:
    found = await read(sunspec_meter(9))
    assert isinstance(found, Trouble)
    assert "nobody listens" in found.text


async def test_a_gateway_tells_that_its_unit_is_silent(modbus: Any, sunspec: Any) -> None:
    async with modbus(sunspec(fault=ExcCodes.GATEWAY_NO_RESPONSE)) as port:
        found = await read(modbus_meter(port, {"address": BASE, "type": "uint16"}))
    assert isinstance(found, Trouble)
    assert "gateway whose unit does not answer" in found.text


async def test_a_server_that_speaks_something_else_is_no_reading() -> None:
    async def chat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n" * 4)
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(chat, "127.0.0.1", 0)
    async with server:
        found = await read(modbus_meter(server.sockets[0].getsockname()[1], {"address": 0, "type": "int16"}))
    assert isinstance(found, Trouble)


async def test_meters_behind_one_gateway_share_one_connection(modbus: Any, sunspec: Any) -> None:
    devices = [sunspec(unit=1), sunspec(unit=2)]
    devices[1].draw(4000)
    async with modbus(*devices) as port:
        lines = Lines()
        meters = [sunspec_meter(port, sunSpec={"unitId": unit}) for unit in (1, 2)]
        drivers = [driver_of(meter, lines) for meter in meters]
        found = await asyncio.gather(*(look(m, d) for m, d in zip(meters, drivers, strict=True) if d))
        lines.close()
    assert [f.power_w for f in found if isinstance(f, Measured)] == [pytest.approx(8200), pytest.approx(4000)]
    assert devices[0].connections == 1
