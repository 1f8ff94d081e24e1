"""What the facility must not forget when its process ends: the wear of batteries, month peaks, carbon so far."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wattlease.facility.battery.wear import Kept
from wattlease.facility.prices.month import CarbonSoFar, MonthPeak
from wattlease.runtime.lease.disk import replace_file
from wattlease.runtime.lease.said import Said

log = logging.getLogger(__name__)

EVERY_S = 60.0
"""Between two saves."""


class Remembered(BaseModel):
    """By name: of storages, and of budgets with a demand charge or a cap on carbon."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batteries: dict[str, Kept] = Field(default_factory=dict)
    peaks: dict[str, MonthPeak] = Field(default_factory=dict)
    carbon: dict[str, CarbonSoFar] = Field(default_factory=dict)


class Keeping:
    """A file of the state folder; reading and writing it blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved_s = float("-inf")
        self._said = Said(log)

    def load(self) -> Remembered:
        """What was kept; nothing, and a word of it, where the file cannot be read."""
        try:
            return Remembered.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return Remembered()
        except (OSError, ValidationError) as error:
            why = getattr(error, "strerror", None) or "holds nothing of use"
            text = f"{self._path}: {why}; the wear of batteries and the month's peak are counted anew"
            self._said.once(logging.ERROR, "facility kept", text)
            return Remembered()

    def due(self, now_s: float) -> bool:
        """Whether it is time to save; true once for each time."""
        if now_s - self._saved_s < EVERY_S:
            return False
        self._saved_s = now_s
        return True

    def save(self, remembered: Remembered) -> None:
        """Put it on disk; trouble is told once."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, remembered.model_dump_json().encode())
            self._said.forget("facility not kept")
        except OSError as error:
            self._said.once(logging.ERROR, "facility not kept", f"{self._path}: {error.strerror}")
