"""Registers of a converter, asked for and written over a connection of its own."""

from __future__ import annotations

from contextlib import suppress

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU

from wattlease.core.api_storage import SunSpecAddress
from wattlease.facility.battery.blocks import Write
from wattlease.facility.battery.words import Trouble
from wattlease.facility.modbus_connection import Connection, Lost, Question

PATIENCE_S = 1.0
"""For one answer; a converter answers within tens of milliseconds, behind a slow gateway within hundreds."""


class Link:
    """Registers of one device. A request that was not answered is not repeated: the next heartbeat asks anew."""

    def __init__(self, where: SunSpecAddress) -> None:
        self._where = where
        self._connection = Connection(where.host, where.port)

    @property
    def name(self) -> str:
        """The device as people write it."""
        return f"{self._connection.name} unit {self._where.unit_id}"

    async def read(self, address: int, count: int) -> tuple[int, ...] | Trouble:
        """`count` holding registers, at most MOST."""
        unit = self._where.unit_id
        answer = await self._asked(lambda c: c.read_holding_registers(address, count=count, device_id=unit))
        if isinstance(answer, Trouble):
            return answer
        if len(answer.registers) != count:
            return self._lost(f"answers with {len(answer.registers)} registers instead of {count}")
        return tuple(answer.registers)

    async def write(self, write: Write) -> Trouble | None:
        """Registers in one request; what came of them is told by reading back."""
        unit, words = self._where.unit_id, list(write.words)
        answer = await self._asked(lambda c: c.write_registers(write.address, words, device_id=unit))
        return answer if isinstance(answer, Trouble) else None

    def close(self) -> None:
        """Let go of the connection; the next request opens another."""
        self._connection.close()

    async def _asked(self, question: Question) -> ModbusPDU | Trouble:
        answer = await self._connection.ask(question, PATIENCE_S)
        if isinstance(answer, Lost):
            away = answer.how == "Away"
            return Trouble(f"{self.name}: {'cannot be reached' if away else 'does not answer'}", lost=True)
        if answer.isError():
            return Trouble(f"{self.name}: refuses registers ({_code(answer.exception_code)})")
        return answer

    def _lost(self, how: str) -> Trouble:
        self.close()
        return Trouble(f"{self.name}: {how}", lost=True)


def _code(code: int) -> str:
    with suppress(ValueError):
        return ExcCodes(code).name.lower().replace("_", " ")
    return f"exception {code}"
