"""How a site stands, in words and for programs, from the page's document."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from wattlease.core import explain
from wattlease.runtime.live_words import Seen, SeenForecast, SeenJob, SeenLimit, SeenStorage

STATES = ("running", "capped", "downsized", "paused", "held", "waiting")
"""In the order in which jobs are counted; a state that a newer controller knows comes behind."""

SAME = 1.005
"""What is higher by less than this factor is not worth another number."""

NOT_HELD = ("over", "blind")


@dataclass(frozen=True, slots=True)
class Coming:
    """Another limit from `from_s` on (unix seconds)."""

    from_s: float
    limit_w: float | None
    source: str
    text: str


def held(seen: Seen, stale: str) -> bool:
    """Whether the limit is known to be kept, now."""
    return not stale and seen.state not in NOT_HELD


def lines(seen: Seen, stale: str) -> list[str]:
    """The state and what stands behind it; `stale` is why the document is not of now."""
    shadow = " (shadow mode: what it decides is shown, and nothing is done)" if seen.mode == "Shadow" else ""
    rows = [
        ("limit", f"{watts(seen.limit_w)}, {bound(seen)}"),
        ("draw", f"{watts(seen.draw_w)}, {left(seen)}"),
        ("battery", battery(seen.storage)),
        ("jobs", counted(seen.jobs)),
        ("next", "; ".join(_in_words(c, seen.now_s) for c in coming(seen))),
        ("expected", expected(seen.forecast)),
    ]
    head = [f"{seen.site}: {seen.state}{shadow}. {seen.state_text}"]
    head += [f"not of now: {stale}; the controller stands still or another leads"] if stale else []
    return head + [f"{name:9} {text}" for name, text in rows if text]


def summary(seen: Seen, stale: str) -> dict[str, Any]:
    """The same for programs; unknown numbers are null."""
    return {
        "site": seen.site,
        "mode": seen.mode,
        "now_s": seen.now_s,
        "state": seen.state,
        "held": held(seen, stale),
        "stale": stale,
        "limit_w": seen.limit_w,
        "binding": seen.binding,
        "until_s": _until_s(seen.limits),
        "draw_w": seen.draw_w,
        "headroom_w": seen.headroom_w,
        "storage": seen.storage.model_dump() if seen.storage else None,
        "jobs": dict(Counter(job.state for job in seen.jobs)),
        "next": [asdict(c) for c in coming(seen)],
    }


def watts(value_w: float | None) -> str:
    """Watts as a person says them."""
    return "not known" if value_w is None else explain.watts(value_w)


def left(seen: Seen) -> str:
    """What may still be drawn, or by how much it is too much."""
    if seen.headroom_w is None:
        return "headroom not known"
    return f"{watts(abs(seen.headroom_w))} {'left' if seen.headroom_w >= 0 else 'too much'}"


def bound(seen: Seen) -> str:
    """What binds, and for how long if that is known."""
    until_s, binding = _until_s(seen.limits), seen.binding.rstrip(".")
    return binding if until_s is None else f"{binding}; until {_when(until_s, seen.now_s)}"


def battery(storage: SeenStorage | None) -> str:
    """How full it is and what it does; empty where there is none."""
    if storage is None:
        return ""
    full = "charge not known" if storage.soc_frac is None else f"{storage.soc_frac:.0%} full"
    power_w = storage.power_w or 0.0
    does = "rests" if abs(power_w) < 1.0 else f"{'gives' if power_w > 0 else 'takes'} {watts(abs(power_w))}"
    return f"{full}, {does}. {storage.text}".strip()


def counted(jobs: Iterable[SeenJob]) -> str:
    """Jobs by what is done to them."""
    count = Counter(job.state for job in jobs)
    parts = [f"{count[state]} {state}" for state in (*STATES, *sorted(set(count) - set(STATES))) if count[state]]
    return ", ".join(parts) or "none"


def coming(seen: Seen) -> list[Coming]:
    """Limits that are known to come, soonest first."""
    found = [
        Coming(x.from_s, x.limit_w, x.source, x.text)
        for x in seen.limits
        if x.from_s is not None and x.from_s > seen.now_s
    ]
    return sorted(found, key=lambda c: c.from_s)


def expected(forecast: SeenForecast) -> str:
    """The peak of the next half hour, and how high it may be; empty where nothing is foreseen.

    What is foreseen is held under the limit, so that both may be the same.
    """
    likely, high = _peak(forecast.p50_w), _peak(forecast.p90_w)
    if math.isnan(likely) or math.isnan(high):
        return ""
    minutes = round((forecast.t_s[-1] - forecast.t_s[0]) / 60)
    worse = f"; 1 chance in 10 that it passes {watts(high)}" if high > likely * SAME else ""
    return f"a peak of {watts(likely)} in the next {minutes} min{worse}"


def time_of_day(now_s: float) -> str:
    """A time as the clock on this machine's wall shows it."""
    return datetime.fromtimestamp(now_s).astimezone().strftime("%H:%M:%S")


def _until_s(limits: Sequence[SeenLimit]) -> float | None:
    return next((x.until_s for x in limits if x.binds), None)


def _peak(column_w: Iterable[float | None]) -> float:
    return max((w for w in column_w if w is not None), default=math.nan)


def _in_words(c: Coming, now_s: float) -> str:
    return f"{watts(c.limit_w)} from {_when(c.from_s, now_s)}: {c.text}"


def _when(at_s: float, now_s: float) -> str:
    """A time of day, with its date where it is not today's, and how long that is from now."""
    at, now = (datetime.fromtimestamp(s).astimezone() for s in (at_s, now_s))
    shown = at.strftime("%H:%M" if at.date() == now.date() else "%Y-%m-%d %H:%M")
    return f"{shown} (in {explain.span(at_s - now_s)})"
