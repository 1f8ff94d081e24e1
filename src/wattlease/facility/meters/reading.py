"""What a driver gives: a number of watts with its age, or the trouble that stood in its way. Neither is an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Measured:
    """One answer of a meter.

    `power_w` is positive as the device counts it; `age_s` is how long ago it was measured, as far as the device says,
    when the answer came. `energy_j` counts what was drawn from some start, `power_factor` is -1 to 1; `None` where the
    device does not tell. `source` is where in the device it stood, for people.
    """

    power_w: float
    source: str
    age_s: float = 0.0
    energy_j: float | None = None
    power_factor: float | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no reading, and what to do about it; `wait_s`: asked sooner, it would only get worse."""

    text: str
    fix: str = ""
    wait_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.text}; {self.fix}" if self.fix else self.text


class Refusal(Trouble):
    """The device answered, and said no."""

    __slots__ = ()


class Driver(Protocol):
    """One meter's way of being asked. Neither call raises for the device's or the network's trouble."""

    async def read(self) -> Measured | Trouble:
        """Ask once; back within a few timeouts, whatever happens."""

    async def close(self) -> None:
        """Let go of what is its own; it may be read again, and then connects anew."""
