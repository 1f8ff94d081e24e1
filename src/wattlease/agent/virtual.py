"""Virtual GPUs as a driver: no compiler, no library, no hardware; for the demo, laptops and trial installs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from wattlease.agent.cards import Card, CardReading, Glance, Trouble
from wattlease.agent.nvml_errors import GPU_IS_LOST, INVALID_ARGUMENT, NOT_SUPPORTED, UNINITIALIZED, trouble
from wattlease.agent.virtual_layout import LACKS_ENERGY, LACKS_INSTANT, LACKS_LIMITS, LACKS_MEAN, LACKS_REASONS
from wattlease.agent.virtual_state import Fault, VirtualState, VirtualStateError


class Virtual:
    """The `Driver` of a file of virtual GPUs, which answers as NVML would, its troubles included."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state: VirtualState | None = None
        self._generation = 0

    def find(self) -> tuple[Card, ...] | Trouble:
        """The cards that are there now and can be limited."""
        state = self._open()
        if isinstance(state, Trouble):
            return state
        present = [slot for slot in range(len(state.cards)) if state.cards["present"][slot]]
        return tuple(
            _card(state.cards[slot], index)
            for index, slot in enumerate(present)
            if not state.suffer(slot, "read") and not state.cards["lacks"][slot] & LACKS_LIMITS
        )

    def read(self, uuid: str) -> CardReading | Trouble:
        """Look at a card."""
        found = self._at(uuid, "read")
        if isinstance(found, Trouble):
            return found
        state, slot = found
        row, lacks = state.cards[slot], int(state.cards["lacks"][slot])
        power_w, energy_j = _draw(state, slot)
        mean_w = power_w if not state.header["played"][0] else int(row["mean_mw"]) / 1e3
        return CardReading(
            power_w=None if lacks & LACKS_INSTANT and lacks & LACKS_MEAN else power_w,
            mean_w=None if lacks & LACKS_MEAN else mean_w,
            energy_j=energy_j,
            limit_w=int(row["limit_mw"]) / 1e3,
            enforced_w=float(state.enforced_w()[slot]),
            clock_hz=int(row["clock_mhz"]) * 1e6,
            reasons=0 if lacks & LACKS_REASONS else int(row["reasons"]),
        )

    def glance(self, uuid: str) -> Glance | Trouble:
        """Look at a card's draw and limit only."""
        found = self._at(uuid, "read")
        if isinstance(found, Trouble):
            return found
        state, slot = found
        power_w, energy_j = _draw(state, slot)
        return Glance(power_w, energy_j, int(state.cards["limit_mw"][slot]) / 1e3)

    def limit(self, uuid: str, limit_w: float) -> Trouble | None:
        """Set its power limit, at another value where the file says so."""
        found = self._at(uuid, "set")
        if isinstance(found, Trouble):
            return found
        state, slot = found
        row = state.cards[slot]
        asked_mw = int(limit_w * 1e3)
        row["set_calls"] += 1
        row["set_mw"], row["set_pid"] = max(0, asked_mw), os.getpid()
        if not int(row["min_mw"]) <= asked_mw <= int(row["max_mw"]):
            return trouble(f"{uuid}: {limit_w} W", INVALID_ARGUMENT)
        row["limit_mw"] = int(row["set_override_mw"]) or max(0, asked_mw + int(row["set_delta_mw"]))
        return None

    def reopen(self) -> Trouble | None:
        """Take hold of the driver that is loaded now."""
        try:
            state = self._state or VirtualState(self._path)
        except VirtualStateError as error:
            return Trouble(str(error), lost=True)
        time.sleep(int(state.header["init_hang_ms"][0]) / 1e3)
        if code := int(state.header["init_error"][0]):
            return trouble("open", code)
        state.header["inits"][0] += 1
        self._state, self._generation = state, int(state.header["generation"][0])
        return None

    def _open(self) -> VirtualState | Trouble:
        if self._state is None and (failed := self.reopen()):
            return failed
        assert self._state is not None
        code = int(self._state.header["init_error"][0])
        if code or self._generation != int(self._state.header["generation"][0]):
            return trouble("driver", code or UNINITIALIZED)
        return self._state

    def _at(self, uuid: str, function: Fault) -> tuple[VirtualState, int] | Trouble:
        state = self._open()
        if isinstance(state, Trouble):
            return state
        slot = next((s for s, name in enumerate(state.cards["uuid"]) if name.decode() == uuid), None)
        if slot is None:
            return trouble(uuid, GPU_IS_LOST)
        code = state.suffer(slot, function)
        if self._generation != int(state.header["generation"][0]):
            return trouble(uuid, UNINITIALIZED)
        if not state.cards["present"][slot]:
            return trouble(uuid, GPU_IS_LOST)
        if not code and state.cards["lacks"][slot] & LACKS_LIMITS:
            code = NOT_SUPPORTED
        return trouble(uuid, code) if code else (state, slot)


def _draw(state: VirtualState, slot: int) -> tuple[float, float | None]:
    """The draw, and the energy where the card counts it; idle since the file was made where nobody plays."""
    row = state.cards[slot]
    power_mw, energy_mj = int(row["draw_mw"]), int(row["energy_mj"])
    if not state.header["played"][0]:
        power_mw = int(row["idle_mw"])
        energy_mj = power_mw * (time.monotonic_ns() - int(state.header["made_ns"][0])) // 10**9
    return power_mw / 1e3, None if int(row["lacks"]) & LACKS_ENERGY else energy_mj / 1e3


def _card(row: Any, index: int) -> Card:
    whole = int(row["slices_whole"])
    slices = [(part["uuid"].decode(), int(part["slices"]) / whole) for part in row["slices"] if part["slices"]]
    return Card(
        uuid=row["uuid"].decode(),
        index=index,
        model=row["model"].decode(),
        min_w=int(row["min_mw"]) / 1e3,
        max_w=int(row["max_mw"]) / 1e3,
        default_w=int(row["default_mw"]) / 1e3,
        slices=tuple(slices),
    )
