"""Values as Slurm's commands print them: times, counts, licences, GPUs. An odd word raises `ValueError`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

NOTHING = frozenset({"", "(null)", "N/A", "n/a", "None", "NONE", "Unknown", "UNKNOWN"})
"""Slurm's words for a text or a time that is not there."""

_DURATION = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)(?:\.\d+)?")
_SPAN = re.compile(r"(\d+)(?:-(\d+))?(?::(\d+))?")
_COUNT = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)(?:-\d+[KMG]?)?")
_GPU = re.compile(r"(?:^|,)(?:gres[:/])?gpu(?::(?!\d+(?:\W|$))([^:=,(]+))?(?:[:=](\d+))?(?:\(([^()]*)\))?(?=,|$)")
_FACTOR = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs of a job, a node, or a task. `type` is that of most of them; `indices` are those of one node."""

    count: int = 0
    type: str = ""
    indices: tuple[int, ...] = ()


def text_of(word: str) -> str:
    """The text, empty where Slurm says that there is none."""
    return "" if word in NOTHING else word


def moment_of(word: str) -> float:
    """Unix seconds, which `SLURM_TIME_FORMAT=%s` makes Slurm print; NaN where it says that there is no such time."""
    if word in NOTHING:
        return math.nan
    return float(int(word))


@lru_cache(maxsize=4096)
def duration_s_of(word: str) -> float:
    """Seconds of `1-02:03:04`, `03:04`; NaN for no limit, or none that is known."""
    found = _DURATION.fullmatch(word)
    if found is None:
        return math.nan
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


@lru_cache(maxsize=4096)
def count_of(word: str) -> int:
    """A number as `12`, `2-4` (at least 2) or `1.5K`, which squeue makes of 1536."""
    found = _COUNT.fullmatch(word)
    if found is None:
        raise ValueError(f"{word[:80]!r} is no count")
    return int(float(found[1]) * _FACTOR[found[2]])


@lru_cache(maxsize=4096)
def licences_of(word: str) -> MappingProxyType[str, int]:
    """`power:600,fluent@server:2` by name; empty where one of several is asked for (`a:1|b:1`)."""
    if word in NOTHING or "|" in word:
        return MappingProxyType({})
    pairs = (part.rpartition(":") if ":" in part else (part, ":", "1") for part in re.split("[,;]", word) if part)
    return MappingProxyType({name: int(count) for name, _, count in pairs})


@lru_cache(maxsize=4096)
def gpus_of(word: str) -> Gpus:
    """The GPUs of a list of generic resources: `gpu:h100:8(IDX:0-7)`, `gres/gpu=2`, `gres:gpu:1,gres:nic:2`."""
    found = [
        (int(count or 1), kind or "", _numbers(inside.removeprefix("IDX:")) if inside.startswith("IDX:") else ())
        for kind, count, inside in _GPU.findall(word)
    ]
    most = max(found, key=lambda part: part[0], default=(0, "", ()))
    indices = tuple(sorted(index for part in found for index in part[2]))
    return Gpus(sum(part[0] for part in found), most[1], indices)


@lru_cache(maxsize=4096)
def array_tasks_of(word: str) -> tuple[int, ...]:
    """The tasks that `1-9:2,12%4` stands for; the part behind `%` says how many may run at once."""
    return _numbers(word.partition("%")[0])


def _numbers(spans: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for span in spans.split(",") if spans else ():
        found = _SPAN.fullmatch(span)
        if found is None:
            raise ValueError(f"{span[:80]!r} is no range of numbers")
        low, high, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
        numbers.extend(range(low, high + 1, step))
    return tuple(numbers)
