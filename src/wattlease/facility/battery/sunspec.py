"""A battery behind a converter that speaks SunSpec over Modbus TCP.

Rule 1: the reversion timer is written, and read back, before any order. A device without one is not ordered.
Rule 2: under local control nothing is written at all.
Rule 3: what was written counts for nothing until it reads back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from wattlease.core.api_storage import CONTROL_MODELS, Pcs
from wattlease.facility.battery.blocks import Block, Write
from wattlease.facility.battery.controls import CONTROLS, Control
from wattlease.facility.battery.device import Device
from wattlease.facility.battery.readings import READ_MODELS, reading_of
from wattlease.facility.battery.words import BatteryReading, Ordered, Trouble
from wattlease.runtime.lease.clock import Now, steady_s

HEARTBEATS = ((802, "CtrlHb"), (715, "ControllerHb"))

BEAT_END = 0xFFFF
"""The heartbeat counts below this, which would mean that there is none."""

LOOKS, LOOK_AGAIN_S = 3, 0.1
"""A converter may take a moment to show what it was given."""

RENEWALS = 3
"""Orders are renewed this often within a reversion time."""


class SunSpecBattery:
    """One converter. For one task: its calls do not overlap."""

    def __init__(self, pcs: Pcs, clock: Now = steady_s) -> None:
        self._pcs, self._clock = pcs, clock
        self._device = Device(pcs.sun_spec)
        self._wanted = tuple(m for m in (*READ_MODELS, 704) if not pcs.models or m in pcs.models)
        self._blocks: dict[int, Block] = {}
        self._looked_s = self._asked_s = float("-inf")
        self._asked_w: float | None = None
        self._beat = 0
        self._deaf: set[int] = set()

    @property
    def name(self) -> str:
        """Where it answers."""
        return self._device.name

    async def read(self) -> BatteryReading | Trouble:
        """All its models as they stand now."""
        trouble = await self._look()
        return trouble or reading_of(self._blocks, self._pcs.discharge_sign)

    async def order(self, power_w: float) -> Ordered | Trouble:
        """Show that its controller lives, and write the order where it is new, has not taken or is to be renewed."""
        trouble = await self._look() if self._clock() - self._looked_s > self._pcs.heartbeat_seconds else None
        control = trouble or self._control()
        if isinstance(control, Trouble):
            return control
        if reading_of(self._blocks, self._pcs.discharge_sign).is_local:
            return Trouble(f"{self.name}: is under local control")
        trouble = await self._set_timer(control) or await self._show_life()
        if trouble is not None:
            return trouble
        standing = self._standing(control, power_w)
        return standing if standing and not self._is_due(power_w) else await self._write_order(control, power_w)

    async def idle(self) -> Trouble | None:
        """An order of 0 W, written again even where it stands."""
        self._asked_w = None
        ordered = await self.order(0.0)
        return ordered if isinstance(ordered, Trouble) else None

    async def close(self) -> None:
        """Let go of the connection."""
        self._device.close()

    async def identity(self) -> str | Trouble:
        """Maker, model and version, as the device writes them."""
        blocks = await self._device.blocks((1,))
        if isinstance(blocks, Trouble):
            return blocks
        return " ".join(filter(None, (blocks[1].text(p) for p in ("Mn", "Md", "Vr")))) if blocks else "unnamed"

    async def models(self) -> frozenset[int] | Trouble:
        """The models that the device has."""
        return await self._device.models()

    def orders_by(self) -> int | Trouble:
        """The model that takes its orders, once it was read; trouble where there is none, or none with a timer."""
        control = self._control()
        if isinstance(control, Trouble):
            return control
        writes = control.timer(self._blocks[control.model], self._pcs.reversion_seconds)
        return writes if isinstance(writes, Trouble) else control.model

    def hears_beats(self) -> bool:
        """Whether it watches for its controller's heartbeat, once it was read."""
        return any(m in self._blocks and self._blocks[m].raw(point) is not None for m, point in HEARTBEATS)

    async def _look(self) -> Trouble | None:
        blocks = await self._device.blocks(self._wanted)
        if isinstance(blocks, Trouble):
            return blocks
        missing = sorted(set(self._pcs.models) - set(blocks))
        if missing:
            there = await self.models()
            listed = ", ".join(map(str, sorted(there))) if not isinstance(there, Trouble) else "unknown"
            return Trouble(f"{self.name}: has no model {missing[0]}; it has {listed}")
        self._blocks, self._looked_s = blocks, self._clock()
        return None

    def _control(self) -> Control | Trouble:
        for control in CONTROLS:
            block = self._blocks.get(control.model)
            if block is not None and control.is_there(block):
                return control
        there = ", ".join(str(m) for m in CONTROL_MODELS if m in self._blocks) or "neither 704 nor 124"
        return Trouble(f"{self.name}: takes no set point: it has {there}, without the points for it")

    async def _set_timer(self, control: Control) -> Trouble | None:
        for _ in range(2):
            writes = control.timer(self._blocks[control.model], self._pcs.reversion_seconds)
            if isinstance(writes, Trouble):
                return Trouble(f"{self.name}: {writes.text}")
            if not writes:
                return None
            trouble = await self._write(writes) or await self._look()
            if trouble is not None:
                return trouble
        return Trouble(f"{self.name}: does not keep a reversion time of {self._pcs.reversion_seconds} s")

    async def _show_life(self) -> Trouble | None:
        """Beat wherever the device listens; one that refuses has its timer still."""
        self._beat = (self._beat + 1) % BEAT_END
        for model, point in HEARTBEATS:
            block = self._blocks.get(model)
            if block is None or block.raw(point) is None or model in self._deaf:
                continue
            trouble = await self._write((block.write(point, self._beat),))
            if trouble is not None and trouble.lost:
                return trouble
            if trouble is not None:
                self._deaf.add(model)
        return None

    def _is_due(self, power_w: float) -> bool:
        return power_w != self._asked_w or self._clock() - self._asked_s >= self._pcs.reversion_seconds / RENEWALS

    def _standing(self, control: Control, power_w: float) -> Ordered | None:
        block = self._blocks[control.model]
        standing = control.standing(block)
        return standing if standing and abs(standing.power_w - power_w) <= control.step_w(block) else None

    async def _write_order(self, control: Control, power_w: float) -> Ordered | Trouble:
        writes = control.order(self._blocks[control.model], power_w)
        if isinstance(writes, Trouble):
            return Trouble(f"{self.name}: {writes.text}")
        self._asked_w, self._asked_s = None, self._clock()
        trouble = await self._write(writes)
        if trouble is not None:
            return trouble
        for _ in range(LOOKS):
            trouble = await self._look()
            if trouble is not None:
                return trouble
            standing = self._standing(control, power_w)
            if standing is not None:
                self._asked_w = power_w
                return self._lapsing(standing)
            await asyncio.sleep(LOOK_AGAIN_S)
        told = control.standing(self._blocks[control.model])
        return Trouble(
            f"{self.name}: was ordered {power_w:.0f} W and has {f'{told.power_w:.0f} W' if told else 'none'}"
        )

    def _lapsing(self, ordered: Ordered) -> Ordered | Trouble:
        """A timer that was just started must be running."""
        if ordered.left_s <= self._pcs.reversion_seconds / 2 - 1:
            return Trouble(f"{self.name}: its reversion timer does not start anew: {ordered.left_s:.0f} s left")
        return ordered

    async def _write(self, writes: Iterable[Write]) -> Trouble | None:
        for write in writes:
            trouble = await self._device.write(write)
            if trouble is not None:
                return trouble
        return None
