"""A wall clock that was set back: what is remembered moves with it, or each wait would last until the old time."""

from __future__ import annotations

from dataclasses import replace

from wattlease.core.limits_memory import NO_WINDOW, LimitsMemory
from wattlease.core.memory import NAN, Memory


def set_back(memory: Memory, now_s: float) -> Memory:
    """The memory on a clock that shows `now_s`: no time in it lies in the future, and every span is what it was.

    What hangs on the time of day begins anew: the open metering window counts as one that was open before we came,
    and the batteries are planned again. A clock that went forward cannot be told from a long silence: nothing changes.
    """
    if not now_s < memory.now_s:
        return memory
    by_s = now_s - memory.now_s
    rows = (replace(row, last_s=row.last_s + by_s, window_start_s=NO_WINDOW) for row in memory.limits.scopes)
    return replace(
        memory,
        now_s=now_s,
        slow_s=memory.slow_s + by_s,
        jobs=replace(memory.jobs, changed_s=memory.jobs.changed_s + by_s),
        gpus=replace(memory.gpus, since_s=memory.gpus.since_s + by_s),
        limits=LimitsMemory(tuple(rows)),
        storage_planned_s=NAN,
    )
