"""One TCP connection to a Modbus device or gateway, which all meters behind that address share.

Gateways take few connections, some only one; a line asks one thing at a time, and lets go of a connection on which
anything went wrong, so that a late answer is never taken for the next one's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes

from wattlease.facility.meters.reading import Refusal, Trouble

Table = Literal["Holding", "Input"]

MOST = 124
"""Registers asked for at once: the protocol allows 125, and some devices count the frame's bytes wrongly."""

_REFUSALS = {
    ExcCodes.ILLEGAL_FUNCTION: ("does not know this function", "try the other of function: Holding and Input"),
    ExcCodes.ILLEGAL_ADDRESS: ("has no such registers", "compare the address with its manual (counted from 0 or 1?)"),
    ExcCodes.ILLEGAL_VALUE: ("refuses to read so many registers", "compare the type with its manual"),
    ExcCodes.DEVICE_BUSY: ("is busy", "write a larger pollSeconds"),
    ExcCodes.GATEWAY_PATH_UNAVIABLE: ("is a gateway with no way to this unit", "check unitId"),
    ExcCodes.GATEWAY_NO_RESPONSE: ("is a gateway whose unit does not answer", "check unitId and the bus behind it"),
}

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what it would log at each poll is told once, as trouble


class Line:
    """A connection to one host and port, opened when it is needed."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._client: AsyncModbusTcpClient | None = None
        self._turn = asyncio.Lock()

    @property
    def name(self) -> str:
        """Host and port, as people write them."""
        return f"{self._host}:{self._port}"

    async def read(self, unit: int, address: int, count: int, table: Table, timeout_s: float) -> list[int] | Trouble:
        """`count` registers from `address` on; many are asked for in several requests."""
        found: list[int] = []
        async with self._turn:
            while len(found) < count:
                part = await self._part(unit, address + len(found), min(MOST, count - len(found)), table, timeout_s)
                if isinstance(part, Trouble):
                    return part
                found += part
        return found

    async def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _part(self, unit: int, address: int, count: int, table: Table, timeout_s: float) -> list[int] | Trouble:
        try:
            async with asyncio.timeout(timeout_s):
                client = await self._connected(timeout_s)
                if client is None:
                    return Trouble(f"{self.name}: nobody listens there", "check host, port and the way to it")
                read = client.read_holding_registers if table == "Holding" else client.read_input_registers
                answer = await read(address, count=count, device_id=unit)
        except TimeoutError:
            await self.close()
            return Trouble(f"{self.name}: unit {unit} does not answer within {timeout_s:g} s", "check unitId")
        except (ModbusException, OSError) as error:
            await self.close()
            return Trouble(f"{self.name}: unit {unit}: {error}", "check that it speaks Modbus TCP")
        if answer.isError():
            return self._refused(unit, address, answer.exception_code)
        if len(answer.registers) != count:
            await self.close()
            return Trouble(f"{self.name}: unit {unit} sent {len(answer.registers)} registers for {count}")
        return list(answer.registers)

    async def _connected(self, timeout_s: float) -> AsyncModbusTcpClient | None:
        if self._client is None or not self._client.connected:
            await self.close()
            # Its own reconnecting would go on behind our back; its own timeout is only there to end after ours.
            self._client = AsyncModbusTcpClient(
                self._host, port=self._port, timeout=timeout_s + 1.0, retries=0, reconnect_delay=0
            )
            if not await self._client.connect():
                await self.close()
        return self._client

    def _refused(self, unit: int, address: int, code: int) -> Refusal:
        known = _REFUSALS.get(ExcCodes(code)) if code in set(ExcCodes) else None
        what, fix = known or (f"refuses with code {code}", "look that code up in its manual")
        return Refusal(f"{self.name}: unit {unit} {what} (register {address})", fix)


class Lines:
    """The lines of one set of meters, by host and port."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int], Line] = {}

    def line(self, host: str, port: int) -> Line:
        """The line to this address, which may have others on it."""
        return self._lines.setdefault((host.lower(), port), Line(host, port))

    async def close(self) -> None:
        """Let go of every connection."""
        for line in self._lines.values():
            await line.close()
