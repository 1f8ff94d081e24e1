"""What the agent wants of any GPU, real or virtual: a small interface, in watts, where trouble is a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as found. Watts are the driver's own range; `slices` are its MIG instances' uuids with compute shares."""

    uuid: str
    index: int
    model: str
    min_w: float
    max_w: float
    default_w: float
    slices: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class CardReading:
    """One look at a card.

    `power_w` is instantaneous, `mean_w` the driver's own average, `energy_j` counts from the driver's load; each is
    `None` where the card does not offer it. `limit_w` is what was last asked for, `enforced_w` the lowest of all
    limiters. `reasons` are NVML's bits of why clocks are low.
    """

    power_w: float | None
    mean_w: float | None
    energy_j: float | None
    limit_w: float
    enforced_w: float
    clock_hz: float | None
    reasons: int


@dataclass(frozen=True, slots=True)
class Glance:
    """What a guard looks at several times a second: the draw, and whether someone else moved the limit."""

    power_w: float | None
    energy_j: float | None
    limit_w: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """A call that did not do what it was asked.

    `lost`: the card or its driver is gone for now, and its limit may be the default's again. `hung`: the call has not
    come back, so whether it did what it was asked is not known.
    """

    text: str
    lost: bool = False
    hung: bool = False


class Driver(Protocol):
    """GPUs of this node. A call may block for as long as a driver hangs; none raises for a card's trouble."""

    def find(self) -> tuple[Card, ...] | Trouble:
        """The cards that are there now, by index."""

    def read(self, uuid: str) -> CardReading | Trouble:
        """Look at a card."""

    def glance(self, uuid: str) -> Glance | Trouble:
        """Look at a card as cheaply as can be."""

    def limit(self, uuid: str, limit_w: float) -> Trouble | None:
        """Set its power limit; whether it took is told by reading back."""

    def reopen(self) -> Trouble | None:
        """Let go of the driver and take hold of it again, after it was reloaded."""
