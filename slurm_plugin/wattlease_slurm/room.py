"""How much new work Slurm may start: licences of what runs, and the reservation that keeps the rest.

One licence is one watt of a job's GPUs. Slurm starts a job when its licences are free; free are those of slurm.conf
less what running jobs have and what the reservation holds. The reservation stands without us: a daemon that is away
leaves no more room than it last gave.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEAST_W = 50
"""A licence that is off by less, or by less than `LEAST_FRAC`, is left: each change takes slurmctld's lock."""

LEAST_FRAC = 0.05


@dataclass(frozen=True, slots=True)
class Holder:
    """A job that has licences: how many, and how many it should; `None` where they are not ours to change."""

    job: str
    has_w: int
    wants_w: int | None


@dataclass(frozen=True, slots=True)
class Room:
    """What to set: licences by job, and watts that the reservation is to hold; others may hold `beside_w`."""

    licences: Mapping[str, int]
    hold_w: int
    beside_w: int


def room(total_w: int, holders: Sequence[Holder], open_w: float, most: int) -> Room:
    """Leave `open_w` free beside what running jobs have, with at most `most` licences changed now.

    Those furthest off come first. The reservation never holds less than 1 W: newer versions of Slurm read 0 as none.
    """
    off = sorted((h for h in holders if _off(h)), key=lambda h: (-abs((h.wants_w or 0) - h.has_w), h.job))
    changed = {h.job: h.wants_w for h in off[:most] if h.wants_w is not None}
    used_w = sum(changed.get(h.job, h.has_w) for h in holders)
    hold_w = total_w - used_w - max(math.floor(open_w), 0)
    hold_w = min(max(hold_w, 1), total_w)
    return Room(changed, hold_w, total_w - hold_w)


def _off(holder: Holder) -> bool:
    if holder.wants_w is None:
        return False
    return abs(holder.wants_w - holder.has_w) > max(LEAST_W, LEAST_FRAC * holder.has_w)
