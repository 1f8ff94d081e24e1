"""Which job a person means: by its id, its name, or the array or the heterogeneous job of which it is a part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

REST = re.compile(r"(?P<array>\d+)_\[(?P<tasks>[\d,\-:]+)")
"""How Slurm writes the waiting rest of an array: `123_[5-9,12-20:2]`."""


def meant(asked: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """The ids that may be meant, in their order; one where it is clear. `names` are the jobs' names by id."""
    if asked in names:
        return (asked,)
    named = tuple(job for job, name in names.items() if name == asked)
    if named:
        return named
    rests = tuple(job for job in names if _holds(job, asked))
    return rests or tuple(job for job in names if job.startswith((f"{asked}_", f"{asked}+")))


def some(ids: Iterable[str], most: int = 8) -> str:
    """The first few of them."""
    listed = list(ids)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def _holds(job: str, asked: str) -> bool:
    """Whether a job is the waiting rest of an array in which the asked task still waits."""
    array, _, task = asked.partition("_")
    found = REST.match(job)
    if not found or found["array"] != array or not task.isdecimal():
        return False
    return any(_covers(part, int(task)) for part in found["tasks"].split(","))


def _covers(part: str, task: int) -> bool:
    numbers = [int(n) for n in re.findall(r"\d+", part)]
    match numbers:
        case [only]:
            return task == only
        case [first, last]:
            return first <= task <= last
        case [first, last, step]:
            return first <= task <= last and step > 0 and (task - first) % step == 0
    return False
