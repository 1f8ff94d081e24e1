"""A file that is the truth of virtual GPUs: a plant or a test plays it, and drivers of several kinds answer from it."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from uuid import NAMESPACE_DNS, uuid5

import numpy as np

from wattlease.agent.virtual_layout import ALWAYS, CARD, FILE_BYTES, HEADER, MAGIC, SLICES_MAX, SLOTS, VERSION
from wattlease.core.errors import WattleaseError
from wattlease.core.gpu_models import GPU_MODELS
from wattlease.core.model import Floats

Fault = Literal["read", "set"]


class VirtualStateError(WattleaseError):
    """A file of virtual GPUs that cannot be used; the text names it and says what to do."""


@dataclass(frozen=True, slots=True)
class VirtualCard:
    """A GPU to make; `slices` are its MIG instances as (uuid, compute slices of seven)."""

    uuid: str
    model: str
    min_w: float
    max_w: float
    default_w: float
    idle_w: float
    slices: tuple[tuple[str, int], ...] = ()


def virtual_cards(node: str, model: str, count: int) -> tuple[VirtualCard, ...]:
    """Cards of a known GPU model; the same node has the same cards after every restart."""
    known = GPU_MODELS[model]
    return tuple(
        VirtualCard(
            uuid=f"GPU-{uuid5(NAMESPACE_DNS, f'{index}.{node}.virtual.wattlease.io')}",
            model=f"Virtual {model}",
            min_w=known.min_cap_w,
            max_w=known.rated_w,
            default_w=known.rated_w,
            idle_w=known.idle_w,
        )
        for index in range(count)
    )


class VirtualState:
    """The mapped file. `cards` and `header` are live views: reading and writing them is reading and writing the GPUs.

    Slots are in the order of plugging in. Every change reaches other processes at once, also if this one is killed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), FILE_BYTES)
        except (OSError, ValueError) as error:
            raise VirtualStateError(f"{path}: no virtual GPUs there ({error}); make the file first") from error
        self.header: Any = np.frombuffer(self._map, HEADER, 1)
        self.slots: Any = np.frombuffer(self._map, CARD, SLOTS, HEADER.itemsize)
        version = (bytes(self.header["magic"][0]), int(self.header["version"][0]), int(self.header["card_bytes"][0]))
        if version != (MAGIC, VERSION, CARD.itemsize):
            raise VirtualStateError(f"{path}: {version} is not this version's file of virtual GPUs; make it anew")

    @classmethod
    def create(cls, path: Path, cards: Sequence[VirtualCard]) -> Self:
        """Make the file, whole or not at all, in place of one that may be there; the GPUs idle at default limits."""
        if len(cards) > SLOTS:
            raise VirtualStateError(f"{path}: {len(cards)} GPUs; at most {SLOTS} fit")
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        header = np.zeros(1, HEADER)
        header[["magic", "version", "card_bytes", "generation"]] = (MAGIC, VERSION, CARD.itemsize, 1)
        header["made_ns"] = time.monotonic_ns()
        draft.write_bytes(header.tobytes() + bytes(SLOTS * CARD.itemsize))
        state = cls(draft)
        for card in cards:
            state.plug(card)
        draft.rename(path)
        state.path = path
        return state

    @property
    def cards(self) -> Any:
        """The cards that were ever plugged in, as a live structured array."""
        return self.slots[: int(self.header["cards"][0])]

    # The hardware's side

    def plug(self, card: VirtualCard) -> int:
        """Put a GPU in; return its slot."""
        slot = int(self.header["cards"][0])
        if slot == SLOTS:
            raise VirtualStateError(f"{self.path}: all {SLOTS} slots are taken")
        self.slots[slot] = _blank(card)
        self.header["cards"][0] = slot + 1
        return slot

    def unplug(self, slot: int) -> None:
        """Take a GPU out; `cards["present"][slot] = 1` puts the same one back."""
        self.cards["present"][slot] = 0

    def play(self, draw_w: Floats, lasted_s: float, mean_w: Floats | None = None) -> None:
        """Let the cards draw this, and count the energy of the `lasted_s` that they did."""
        self.header["played"][0] = 1
        self.cards["energy_mj"] += np.round(draw_w * lasted_s * 1e3).astype(np.uint64)
        self.cards["draw_mw"] = np.round(draw_w * 1e3)
        self.cards["mean_mw"] = np.round((draw_w if mean_w is None else mean_w) * 1e3)

    def enforced_w(self) -> Floats:
        """What holds in each card's hardware now: the lower of the driver's limit and an out-of-band one."""
        limit_mw, bmc_mw = self.cards["limit_mw"].astype(float), self.cards["bmc_mw"]
        return np.where(bmc_mw > 0, np.minimum(limit_mw, bmc_mw), limit_mw) / 1e3

    def reload_driver(self) -> None:
        """Unload and load the driver: limits are forgotten, energy counts anew, no open handle works any more."""
        self.header["generation"][0] += 1
        self.cards["limit_mw"] = self.cards["default_mw"]
        self.cards["energy_mj"] = 0

    def write_limit(self, slot: int, limit_w: float) -> None:
        """Set a limit as some other program on the node would."""
        self.cards["limit_mw"][slot] = round(limit_w * 1e3)
        self.cards["outside_writes"][slot] += 1

    # Faults

    def fail(self, slot: int, function: Fault, code: int, calls: int = ALWAYS) -> None:
        """Answer the next `calls` reads or sets of a card with NVML's error `code`; 0 calls end it."""
        self._fault(slot, function)[["error", "errors_left"]] = (code, calls)

    def hang(self, slot: int, function: Fault, span_s: float, calls: int = ALWAYS) -> None:
        """Let the next `calls` reads or sets of a card take `span_s` longer; what they were to do is done after it."""
        self._fault(slot, function)[["hang_ms", "hangs_left"]] = (round(span_s * 1e3), calls)

    def _fault(self, slot: int, function: Fault) -> Any:
        return self.cards[function][slot : slot + 1]

    # The driver's side

    def suffer(self, slot: int, function: Fault, sleep: Callable[[float], None] = time.sleep) -> int:
        """Hang as long as this call is to hang; return the code that it is to fail with, or 0."""
        fault = self.slots[function][slot]
        if int(fault["hangs_left"]) > 0:
            self._count_down(slot, function, "hangs_left")
            sleep(int(fault["hang_ms"]) / 1e3)
        if int(self.slots[function][slot]["errors_left"]) > 0:
            self._count_down(slot, function, "errors_left")
            return int(self.slots[function][slot]["error"])
        return 0

    def _count_down(self, slot: int, function: Fault, count: str) -> None:
        left = self.slots[function][count]
        if left[slot] != ALWAYS:
            left[slot] -= 1


def _blank(card: VirtualCard) -> Any:
    if len(card.slices) > SLICES_MAX:
        raise VirtualStateError(f"{card.uuid}: {len(card.slices)} MIG slices; at most {SLICES_MAX} fit")
    blank = np.zeros((), CARD)
    blank["uuid"], blank["model"], blank["present"] = card.uuid.encode(), card.model.encode(), 1
    for name in ("min", "max", "default", "idle"):
        blank[f"{name}_mw"] = round(getattr(card, f"{name}_w") * 1e3)
    blank["limit_mw"] = blank["default_mw"]
    blank["draw_mw"] = blank["mean_mw"] = blank["idle_mw"]
    blank["clock_mhz"] = 345
    blank["slices_whole"] = SLICES_MAX if card.slices else 0
    for number, (uuid, slices) in enumerate(card.slices):
        blank["slices"][number] = (uuid.encode(), slices, 0)
    return blank
