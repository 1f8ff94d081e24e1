"""Slurm's short way to write many nodes, `gpu[01-03,7],login`, and the names it stands for."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product

NODES_MAX = 1 << 17
"""Twice what Slurm itself allows in a cluster; a longer list is a mistake in reading."""

_PART = re.compile(r"[^,\[\]]+|\[[^\[\]]*\]")
_SPAN = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


@lru_cache(maxsize=4096)
def nodes_of(text: str) -> tuple[str, ...]:
    """The names, in the list's own order, as `scontrol show hostnames` has them; ValueError where it is no list."""
    names: list[str] = []
    for word in _words(text):
        names.extend("".join(parts) for parts in product(*_choices(word)))
        if len(names) > NODES_MAX:
            raise ValueError(f"{text[:80]!r} names more than {NODES_MAX} nodes")
    return tuple(names)


def _words(text: str) -> list[str]:
    """Split at the commas that stand outside brackets."""
    words = re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", text)
    if ",".join(words) != text:
        raise ValueError(f"{text[:80]!r} is no list of nodes")
    return words


def _choices(word: str) -> list[list[str]]:
    return [_spread(part[1:-1]) if part.startswith("[") else [part] for part in _PART.findall(word)]


def _spread(spans: str) -> list[str]:
    """The numbers of `01-03,7`, as wide as they are written."""
    numbers: list[str] = []
    for span in spans.split(","):
        found = _SPAN.fullmatch(span)
        if found is None:
            raise ValueError(f"{span[:80]!r} is no range of nodes")
        low, high = int(found[1]), int(found[2] or found[1])
        if not 0 <= high - low < NODES_MAX:
            raise ValueError(f"{span!r} is no range of nodes")
        numbers.extend(f"{number:0{len(found[1])}d}" for number in range(low, high + 1))
    return numbers
