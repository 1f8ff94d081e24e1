"""One TCP connection to a Modbus device or gateway: opened when it is needed, let go of as soon as anything goes wrong
on it, so that a late answer is never taken for the next one's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU

MOST = 124
"""Registers asked for at once: the protocol allows 125, and some devices count the frame's bytes wrongly."""

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what it would log at each question is told once, as trouble

Question = Callable[[AsyncModbusTcpClient], Awaitable[ModbusPDU]]


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer: nobody is there, nobody answers in time, or what came is no Modbus."""

    how: Literal["Away", "Silent", "Broken"]
    text: str = ""


class Connection:
    """To one host and port. A question that is not answered is not asked again by itself."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._client: AsyncModbusTcpClient | None = None

    @property
    def name(self) -> str:
        """Host and port, as people write them."""
        return f"{self._host}:{self._port}"

    async def ask(self, question: Question, patience_s: float) -> ModbusPDU | Lost:
        """The answer, which may be an exception of the device's; connecting and answering take `patience_s` at most."""
        try:
            answer = await self._answer(question, patience_s)
        except asyncio.CancelledError:
            self.close()  # its answer is under way and nobody's
            raise
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # pymodbus waits in a way that may swallow it
            self.close()
            raise asyncio.CancelledError
        if isinstance(answer, Lost):
            self.close()
        return answer

    def close(self) -> None:
        """Let go of it; the next question opens another."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _answer(self, question: Question, patience_s: float) -> ModbusPDU | Lost:
        try:
            async with asyncio.timeout(patience_s):
                client = await self._connected(patience_s)
                return await question(client) if client else Lost("Away")
        except TimeoutError:
            return Lost("Silent")
        except (ModbusException, OSError) as error:
            return Lost("Broken", str(error) or type(error).__name__)

    async def _connected(self, patience_s: float) -> AsyncModbusTcpClient | None:
        if self._client is None or not self._client.connected:
            self.close()
            # Its own reconnecting would go on behind our back; its own timeout is only there to end after ours.
            self._client = AsyncModbusTcpClient(
                self._host, port=self._port, timeout=patience_s + 1.0, retries=0, reconnect_delay=0
            )
            if not await self._client.connect():
                return None
        return self._client
