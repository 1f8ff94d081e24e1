"""A SunSpec device: which models it has, found by walking them, and each as a block of registers."""

from __future__ import annotations

from collections.abc import Iterable

from wattlease.core.api_storage import SunSpecAddress
from wattlease.facility.battery.blocks import Block, Write
from wattlease.facility.battery.link import Link
from wattlease.facility.battery.words import Trouble
from wattlease.facility.modbus_connection import MOST

STARTS = (40000, 0, 50000)
"""Where the mark of a SunSpec map may stand."""

MARK = (0x5375, 0x6E53)
END = 0xFFFF

MODELS_MAX = 100
"""Models walked at most; a device that has more walks in a circle."""


class Device:
    """The models of a device; walked anew after each loss, since a device may come back with other firmware."""

    def __init__(self, where: SunSpecAddress) -> None:
        self._link = Link(where)
        self._places: dict[int, tuple[int, int]] = {}

    @property
    def name(self) -> str:
        """The device as people write it."""
        return self._link.name

    async def models(self) -> frozenset[int] | Trouble:
        """The models that it has."""
        trouble = None if self._places else await self._walk()
        return trouble or frozenset(self._places)

    async def blocks(self, models: Iterable[int]) -> dict[int, Block] | Trouble:
        """These models as they stand now, in this order; those that it does not have are left out."""
        trouble = None if self._places else await self._walk()
        if trouble is not None:
            return trouble
        found: dict[int, Block] = {}
        for model in models:
            if model in self._places:
                address, count = self._places[model]
                words = await self._link.read(address, min(count, MOST))
                if isinstance(words, Trouble):
                    return self._forgotten(words)
                if words[0] != model:
                    return self._forgotten(Trouble(f"{self.name}: its models have moved", lost=True))
                found[model] = Block(model, address, words)
        return found

    async def write(self, write: Write) -> Trouble | None:
        """Registers in one request."""
        trouble = await self._link.write(write)
        return None if trouble is None else self._forgotten(trouble)

    def close(self) -> None:
        """Let go of the connection."""
        self._link.close()
        self._places = {}

    def _forgotten(self, trouble: Trouble) -> Trouble:
        if trouble.lost:
            self._places = {}
        return trouble

    async def _walk(self) -> Trouble | None:
        start = await self._start()
        if isinstance(start, Trouble):
            return start
        address, places = start + len(MARK), dict[int, tuple[int, int]]()
        for _ in range(MODELS_MAX):
            head = await self._link.read(address, 2)
            if isinstance(head, Trouble):
                return head
            if head[0] == END:
                break
            places.setdefault(head[0], (address, head[1] + 2))
            address += head[1] + 2
        self._places = places
        return None if places else Trouble(f"{self.name}: has a SunSpec map without models")

    async def _start(self) -> int | Trouble:
        trouble: Trouble | None = None
        for start in STARTS:
            words = await self._link.read(start, len(MARK))
            if words == MARK:
                return start
            if isinstance(words, Trouble):
                if words.lost:
                    return words
                trouble = words
        why = f" ({trouble.text})" if trouble else ""
        return Trouble(f"{self.name}: has no SunSpec map at 40000, 0 or 50000; check unitId{why}")
