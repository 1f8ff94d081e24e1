"""What is wanted of any battery: a small interface, in watts, where trouble is a value and an order is a lease."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class ChargeState(IntEnum):
    """What the battery says that it does, in SunSpec's numbers."""

    OFF = 1
    EMPTY = 2
    DISCHARGING = 3
    CHARGING = 4
    FULL = 5
    HOLDING = 6
    TESTING = 7


@dataclass(frozen=True, slots=True)
class BatteryReading:
    """One look at a battery.

    `power_w` is positive when it discharges, on the AC side where `is_ac`, and NaN where it is not told; so are
    `soc_frac` and `soh_frac`. Its own limits are infinite where it names none. `beat` is its heartbeat, `None`
    without one. `fault` says why it cannot work, empty if it can.
    """

    soc_frac: float
    soh_frac: float = math.nan
    power_w: float = math.nan
    is_ac: bool = False
    max_charge_w: float = math.inf
    max_discharge_w: float = math.inf
    state: ChargeState | None = None
    is_local: bool = False
    beat: int | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Ordered:
    """The order in force as read back; `left_s` until it lapses by itself, NaN where the converter does not tell."""

    power_w: float
    left_s: float = math.nan


@dataclass(frozen=True, slots=True)
class Trouble:
    """A call that did not do what it was asked. `lost`: no answer came; else it was refused, or not done as asked."""

    text: str
    lost: bool = False


class Battery(Protocol):
    """One battery. No call raises for its trouble, nor waits longer than a few seconds."""

    async def read(self) -> BatteryReading | Trouble:
        """Look at it."""

    async def order(self, power_w: float) -> Ordered | Trouble:
        """Hold it to this power, positive to discharge, for its reversion time at most; called at each heartbeat."""

    async def idle(self) -> Trouble | None:
        """Order nothing more of it, now."""

    async def close(self) -> None:
        """Let go of the link; orders lapse by the battery's own timer."""
