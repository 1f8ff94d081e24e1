"""A connection to a real Modbus server on loopback that answers slowly."""

from __future__ import annotations

import asyncio
import random

import pytest

pytest.importorskip("pymodbus", reason="pymodbus is not installed: pip install wattlease[facility]")

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from wattlease.facility.modbus_connection import Connection, Lost


async def one(client: AsyncModbusTcpClient) -> ModbusPDU:
    return await client.read_holding_registers(0, count=1, device_id=1)


async def test_a_cancel_is_never_swallowed_whenever_it_comes() -> None:
    device = SimDevice(1, [SimData(0, values=[7], datatype=DataType.REGISTERS)])
    server = ModbusTcpServer(device, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    assert server.transport is not None
    port = server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    connection, chance, swallowed = Connection("127.0.0.1", port), random.Random(3), 0
    try:
        for _ in range(1500):
            asked = asyncio.create_task(connection.ask(one, 5.0))
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            cancelled = asked.cancel()
            await asyncio.wait([asked])
            swallowed += cancelled and not asked.cancelled()
    finally:
        connection.close()
        await server.shutdown()  # type: ignore[no-untyped-call]
    assert swallowed == 0


async def test_nobody_there_is_a_value() -> None:
    connection = Connection("127.0.0.1", 1)
    assert await connection.ask(one, 2.0) == Lost("Away")
