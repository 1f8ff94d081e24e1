"""One Modbus TCP connection to a device: opened when it is needed, let go of as soon as anything goes wrong on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU

from wattlease.core.api_storage import SunSpecAddress
from wattlease.facility.battery.blocks import Write
from wattlease.facility.battery.words import Trouble

PATIENCE_S = 1.0
"""For one answer; a converter answers within tens of milliseconds, behind a slow gateway within hundreds."""

MOST = 124
"""Registers asked for at once: the protocol allows 125, and some devices count the frame's bytes wrongly."""

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what it would log at each beat is told once, as trouble


class Link:
    """Registers of one device. A request that was not answered is not repeated: the next heartbeat asks anew."""

    def __init__(self, where: SunSpecAddress) -> None:
        self._where = where
        self._client: AsyncModbusTcpClient | None = None

    @property
    def name(self) -> str:
        """The device as people write it."""
        return f"{self._where.host}:{self._where.port} unit {self._where.unit_id}"

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
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _connected(self) -> AsyncModbusTcpClient | Trouble:
        if self._client is not None and self._client.connected:
            return self._client
        self.close()
        client = AsyncModbusTcpClient(
            self._where.host, port=self._where.port, timeout=PATIENCE_S, retries=0, reconnect_delay=0
        )
        try:
            connected = await client.connect()
        except BaseException:
            client.close()
            raise
        if not connected:
            client.close()
            return Trouble(f"{self.name}: cannot be reached", lost=True)
        self._client = client
        return client

    async def _asked(self, ask: Callable[[AsyncModbusTcpClient], Awaitable[ModbusPDU]]) -> ModbusPDU | Trouble:
        client = await self._connected()
        if isinstance(client, Trouble):
            return client
        try:
            answer = await ask(client)
        except (ModbusException, OSError) as error:
            return self._lost(f"does not answer ({type(error).__name__})")
        except asyncio.CancelledError:
            self.close()  # its answer is under way and nobody's
            raise
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
