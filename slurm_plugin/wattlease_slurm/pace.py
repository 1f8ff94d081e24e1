"""So many a second and no more: each write takes slurmctld's lock from everybody else."""

from __future__ import annotations

import asyncio
import time


class Pace:
    """Lets callers through first come, first served: `burst` at once after a rest, then `per_s` a second."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._gap_s = 1.0 / per_s
        self._ahead_s = (burst - 1) * self._gap_s
        self._due_s = 0.0
        self._first = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for one's turn; who gives up has taken nobody's."""
        async with self._first:
            await asyncio.sleep(max(0.0, self._due_s - self._ahead_s - time.monotonic()))
            self._due_s = max(self._due_s, time.monotonic()) + self._gap_s
