"""One TCP connection to a Modbus device or gateway, which all meters behind that address share.

Gateways take few connections, some only one; a line asks one thing at a time.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU

from wattlease.facility.meters.reading import Refusal, Trouble
from wattlease.facility.modbus_connection import MOST, Connection, Lost

Table = Literal["Holding", "Input"]

_REFUSALS = {
    ExcCodes.ILLEGAL_FUNCTION: ("does not know this function", "try the other of function: Holding and Input"),
    ExcCodes.ILLEGAL_ADDRESS: ("has no such registers", "compare the address with its manual (counted from 0 or 1?)"),
    ExcCodes.ILLEGAL_VALUE: ("refuses to read so many registers", "compare the type with its manual"),
    ExcCodes.DEVICE_BUSY: ("is busy", "write a larger pollSeconds"),
    ExcCodes.GATEWAY_PATH_UNAVIABLE: ("is a gateway with no way to this unit", "check unitId"),
    ExcCodes.GATEWAY_NO_RESPONSE: ("is a gateway whose unit does not answer", "check unitId and the bus behind it"),
}


class Line:
    """A connection to one host and port, opened when it is needed."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = Connection(host, port)
        self._turn = asyncio.Lock()

    @property
    def name(self) -> str:
        """Host and port, as people write them."""
        return self._connection.name

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

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    async def _part(self, unit: int, address: int, count: int, table: Table, timeout_s: float) -> list[int] | Trouble:
        async def ask(client: AsyncModbusTcpClient) -> ModbusPDU:
            read = client.read_holding_registers if table == "Holding" else client.read_input_registers
            return await read(address, count=count, device_id=unit)

        answer = await self._connection.ask(ask, timeout_s)
        if isinstance(answer, Lost):
            return self._lost(answer, unit, timeout_s)
        if answer.isError():
            return self._refused(unit, address, answer.exception_code)
        if len(answer.registers) != count:
            self.close()
            return Trouble(f"{self.name}: unit {unit} sent {len(answer.registers)} registers for {count}")
        return list(answer.registers)

    def _lost(self, lost: Lost, unit: int, timeout_s: float) -> Trouble:
        if lost.how == "Away":
            return Trouble(f"{self.name}: nobody listens there", "check host, port and the way to it")
        if lost.how == "Silent":
            return Trouble(f"{self.name}: unit {unit} does not answer within {timeout_s:g} s", "check unitId")
        return Trouble(f"{self.name}: unit {unit}: {lost.text}", "check that it speaks Modbus TCP")

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

    def close(self) -> None:
        """Let go of every connection."""
        for line in self._lines.values():
            line.close()
