"""A Modbus device whose register map is in the settings."""

from __future__ import annotations

import math
import struct

from wattlease.core.api_reach import ModbusMeter, Register
from wattlease.facility.meters.modbus_line import Line
from wattlease.facility.meters.reading import Measured, Trouble

FORMATS = {
    "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I",
    "int64": ">q", "uint64": ">Q", "float32": ">f", "float64": ">d",
}  # fmt: skip
"""How Modbus writes each type, the most significant byte first."""


class Modbus:
    """Sums the registers that are named."""

    def __init__(self, reach: ModbusMeter, timeout_s: float, line: Line) -> None:
        self._reach, self._timeout_s, self._line = reach, timeout_s, line

    async def read(self) -> Measured | Trouble:
        """Every register in turn."""
        power_w = 0.0
        for register in self._reach.registers:
            words = await self._line.read(
                self._reach.unit_id, register.address, width(register.type), register.function, self._timeout_s
            )
            if isinstance(words, Trouble):
                return words
            power_w += number(words, register.type, register.byte_order) * register.scale
        if not math.isfinite(power_w):
            return Trouble(
                f"{self._line.name}: its registers hold no number", "compare type and byteOrder with its manual"
            )
        return Measured(power_w, _places(self._reach.registers))

    async def close(self) -> None:
        """Nothing: the line may be others' too, and is closed with all lines."""


def width(kind: str) -> int:
    """Registers that a number of this type takes."""
    return struct.calcsize(FORMATS[kind]) // 2


def number(words: list[int], kind: str, byte_order: str = "ABCD") -> float:
    """The number that these registers hold."""
    swapped = words if byte_order in ("ABCD", "BADC") else words[::-1]
    each = ">" if byte_order in ("ABCD", "CDAB") else "<"
    data = struct.pack(f"{each}{len(words)}H", *swapped)
    return float(struct.unpack(FORMATS[kind], data)[0])


def _places(registers: tuple[Register, ...]) -> str:
    return "register " + " + ".join(f"{r.address} ({r.type})" for r in registers)
