"""How an order is written: as active power (model 704), or as rates of charge and discharge (124).

Rule 1: no order without a timer that ends it. What sets the timer stands apart from what orders, so that it can be
    written, and read back, first.
Rule 2: an order is one request where its points stand side by side; where they do not, the enabling comes last.
"""

from __future__ import annotations

from typing import Protocol

from wattlease.facility.battery.blocks import Block, Write
from wattlease.facility.battery.words import Ordered, Trouble

OUTLIVES = "so an order would outlive its controller"


class Control(Protocol):
    """A model that takes orders; every function looks at the model as it was last read."""

    model: int

    def is_there(self, block: Block) -> bool:
        """Whether the device really has its points."""

    def timer(self, block: Block, reversion_s: int) -> tuple[Write, ...] | Trouble:
        """What is to be written so that orders lapse; nothing if it stands already."""

    def order(self, block: Block, power_w: float) -> tuple[Write, ...] | Trouble:
        """What orders this power."""

    def standing(self, block: Block) -> Ordered | None:
        """The order in force; `None` where there is none of this kind."""

    def step_w(self, block: Block) -> float:
        """The smallest difference that an order can tell."""


class ActivePower:
    """Model 704: a set point in watts, which reverts to a set point of 0 W."""

    model = 704

    def is_there(self, block: Block) -> bool:
        """It is optional within the model."""
        return block.raw("WSetEna") is not None

    def timer(self, block: Block, reversion_s: int) -> tuple[Write, ...] | Trouble:
        """Revert to 0 W, enabled, after this time."""
        if block.raw("WSetRvrtTms") is None:
            return Trouble(
                "its model 704 has no reversion timer (WSetRvrtTms), so an order would outlive its controller"
            )
        writes = [block.write("WSetRvrt", 0.0)] if block.raw("WSetRvrt") not in (None, 0) else []
        enabled, seconds = block.raw("WSetEnaRvrt"), block.raw("WSetRvrtTms")
        if enabled not in (None, 1):
            writes.append(block.write("WSetEnaRvrt", 1, reversion_s))
        elif seconds != reversion_s:
            writes.append(block.write("WSetRvrtTms", reversion_s))
        return tuple(writes)

    def order(self, block: Block, power_w: float) -> tuple[Write, ...] | Trouble:
        """Enable, mode and set point stand side by side; writing them starts the timer anew."""
        return (block.write("WSetEna", 1, 1, power_w),)

    def standing(self, block: Block) -> Ordered | None:
        """A set point in percent is not ours."""
        power_w, left_s = block.value("WSet"), block.value("WSetRvrtRem")
        if (block.raw("WSetEna"), block.raw("WSetMod")) != (1, 1) or power_w is None:
            return None
        return Ordered(power_w) if left_s is None else Ordered(power_w, left_s)

    def step_w(self, block: Block) -> float:
        """Of the set point."""
        return block.step("WSet")


class StorageRates:
    """Model 124: the rates of charge and discharge are bounds; an order makes them meet, one of them below zero.

    Both count in percent of WChaMax: the model has no other rating.
    """

    model = 124

    def is_there(self, block: Block) -> bool:
        """The rates are optional within the model."""
        rates = (block.raw("OutWRte"), block.raw("InWRte"))
        return None not in rates and bool(block.raw("WChaMax"))

    def timer(self, block: Block, reversion_s: int) -> tuple[Write, ...] | Trouble:
        """Revert after this time, and begin without the random delay that the model also knows."""
        window, seconds = block.raw("InOutWRte_WinTms"), block.raw("InOutWRte_RvrtTms")
        if seconds is None:
            return Trouble(f"its model 124 has no reversion timer (InOutWRte_RvrtTms), {OUTLIVES}")
        if window not in (None, 0):
            return (block.write("InOutWRte_WinTms", 0, reversion_s),)
        return (block.write("InOutWRte_RvrtTms", reversion_s),) if seconds != reversion_s else ()

    def order(self, block: Block, power_w: float) -> tuple[Write, ...] | Trouble:
        """Both rates in one request, then the bits that put them in force, unless they are set."""
        most_w = block.value("WChaMax")
        if not most_w:
            return Trouble("its model 124 does not tell WChaMax, which its rates count in")
        percent = max(-100.0, min(100.0, 100.0 * power_w / most_w))
        rates = block.write("OutWRte", percent, -percent)
        return (rates,) if block.raw("StorCtl_Mod") == 3 else (rates, block.write("StorCtl_Mod", 3))

    def standing(self, block: Block) -> Ordered | None:
        """Rates that do not meet leave a range, and are not ours."""
        out, into, most_w = block.value("OutWRte"), block.value("InWRte"), block.value("WChaMax")
        if block.raw("StorCtl_Mod") != 3 or out is None or into is None or most_w is None or out != -into:
            return None
        return Ordered(out / 100.0 * most_w)

    def step_w(self, block: Block) -> float:
        """Of the rates."""
        return block.step("OutWRte") / 100.0 * (block.value("WChaMax") or 0.0)


CONTROLS: tuple[Control, ...] = (ActivePower(), StorageRates())
"""The better one first."""
