"""The clock that lease spans are counted on: nothing sets it, nothing bends it, and sleep does not stop it."""

from __future__ import annotations

import time
from collections.abc import Callable

Now = Callable[[], float]
"""Seconds on a clock of the caller's own; only spans on it mean anything."""


class SteadyClock:
    """Seconds on the raw clock and asleep.

    The raw clock stands still while a machine is suspended, and a grantor or holder that wakes would believe that its
    lease still runs. The two disciplined clocks are bent alike, so that their difference is the time slept and nothing
    else. It is read so that a pause between the two makes it less, and only ever grows: the clock never steps back.
    """

    def __init__(self) -> None:
        self._asleep_s = 0.0

    def __call__(self) -> float:
        """Now."""
        self._asleep_s = max(self._asleep_s, _asleep_s())
        return _raw_s() + self._asleep_s


def _asleep_s() -> float:
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    awake_and_asleep_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return awake_and_asleep_s - time.clock_gettime(time.CLOCK_MONOTONIC)


def _raw_s() -> float:
    if not hasattr(time, "CLOCK_MONOTONIC_RAW"):
        return time.monotonic()
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)


steady_s: Now = SteadyClock()
"""This process's clock: a grant's end is told by the holder and believed by the grantor of one process alike."""
