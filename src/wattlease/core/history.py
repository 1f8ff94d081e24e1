"""What jobs drew before, so that a job that has never run is not a surprise.

The most like a job are those of the same user, name and size; then those of the same user; then those of the same
card and kind of work. Where nothing is known a job counts at its card's rated power: unknown is worst.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import hypot, log2

from wattlease.core.memory import Seen
from wattlease.core.model import Jobs, Site

MOST_KEYS = 4096
"""Keys that are kept; the ones unused for longest go first."""

FORGET_FRAC = 0.2
"""A run counts for at least this much of a mean, so that an owner whose jobs change is followed within a few runs."""


def keys(jobs: Jobs, site: Site, j: int) -> Iterator[str]:
    """The keys of a job, the most telling first."""
    card = site.models[int(jobs.model[j])].name
    yield f"{jobs.owner[j]}/{stem(jobs.name[j])}/{card}x{size(int(jobs.gpus[j]))}"
    yield f"{jobs.owner[j]}/*/{card}"
    yield f"*/{site.terms[int(jobs.terms[j])].kind}/{card}"


def stem(name: str) -> str:
    """A job's name without the counters and dates that tell one run from the next."""
    return name.rstrip("0123456789-_.") or name


def size(gpus: int) -> int:
    """GPUs rounded to the power of two below."""
    return 2 ** int(log2(gpus)) if gpus > 0 else 0


def predict(history: Mapping[str, Seen], at: tuple[str, ...], rated_w: float) -> float:
    """The draw of one GPU of a job with these keys, in watts, at the high side; rated power where nothing is known."""
    for key in at:
        seen = history.get(key)
        if seen is not None:
            return min(seen.mean_w + seen.spread_w, rated_w)
    return rated_w


def remember(history: Mapping[str, Seen], at: tuple[str, ...], full_w: float, now_s: float) -> dict[str, Seen]:
    """The history with one more finished run under each of its keys."""
    grown = dict(history)
    for key in at:
        grown[key] = _with(grown.pop(key, None), full_w, now_s)
    for key in sorted(grown, key=lambda k: (grown[k].last_s, k))[: max(0, len(grown) - MOST_KEYS)]:
        del grown[key]
    return grown


def _with(seen: Seen | None, full_w: float, now_s: float) -> Seen:
    if seen is None:
        return Seen(full_w, 0.1 * full_w, 1, now_s)
    share = max(1.0 / (seen.count + 1), FORGET_FRAC)
    off_w = full_w - seen.mean_w
    spread_w = hypot(seen.spread_w * (1 - share) ** 0.5, off_w * share**0.5)
    return Seen(seen.mean_w + share * off_w, spread_w, seen.count + 1, now_s)
