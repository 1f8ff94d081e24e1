"""One meter as it is followed: what was read, when, what went wrong, and where it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from wattlease.core.api_meters import Meter
from wattlease.core.model import Reading
from wattlease.facility.meters.judging import Past, Verdict, judged, top_w
from wattlease.facility.meters.reading import Driver, Measured, Trouble
from wattlease.facility.voting import Ballot, Vote, vote

AGAIN_MAX_S = 30.0
"""The longest that a meter without an answer is left alone, unless it is asked more rarely anyway."""


@dataclass(slots=True, eq=False)
class Followed:
    """A meter, its driver and what came of it; `beside` are the pasts of what moves with the same load."""

    scope: str
    limit_w: float
    meter: Meter
    driver: Driver
    past: Past = field(default_factory=Past)
    beside: tuple[Past, ...] = ()
    newest: Measured | None = None
    made_s: float = 0.0
    trouble: Trouble | None = None
    failures: int = 0

    @property
    def label(self) -> str:
        """The meter's name and its scope's, for people."""
        return f"{self.scope}/{self.meter.name}"

    def take(self, found: Measured | Trouble, asked_s: float) -> float:
        """Note what came of asking; seconds from then until the next question."""
        every_s = float(self.meter.every_seconds)
        if isinstance(found, Trouble):
            self.trouble, self.failures = found, min(self.failures + 1, 8)
            return max(every_s, found.wait_s, min(every_s * 2.0**self.failures, AGAIN_MAX_S))
        self.trouble, self.failures = None, 0
        self.newest, self.made_s = found, asked_s - found.age_s
        self.past.hear(self.made_s, found.power_w, self.meter, top_w(self.meter, self.limit_w))
        return every_s

    def age_s(self, now_s: float) -> float:
        """Of the newest reading, with the delay that the device itself has."""
        return max(0.0, now_s - self.made_s) + self.meter.delay_seconds

    def verdict(self, now_s: float) -> Verdict:
        """Where it stands by itself; a silence is told by the trouble behind it."""
        found = judged(self.past, self.age_s(now_s), now_s, self.meter, self.beside)
        if found.state in ("Unread", "Stale") and self.trouble is not None:
            return Verdict(found.state, str(self.trouble))
        return found

    def good_w(self, now_s: float) -> float | None:
        """Its newest reading, if it is believed."""
        return self.newest.power_w if self.newest and self.verdict(now_s).state == "Good" else None

    def reading(self, scope: int, now_s: float) -> Reading:
        """Its newest reading in the core's words; there must be one."""
        assert self.newest is not None
        return Reading(self.meter.name, scope, self.newest.power_w, self.age_s(now_s), float(self.meter.window_seconds))


def followed(scope: str, limit_w: float, meter: Meter, driver: Driver, before: Followed | None) -> Followed:
    """A meter to follow; where it was followed before, under another limit perhaps, with its past."""
    fresh = Followed(scope, limit_w, meter, driver)
    if before is not None:
        fresh.past, fresh.newest, fresh.made_s, fresh.trouble = (
            before.past,
            before.newest,
            before.made_s,
            before.trouble,
        )
    return fresh


@dataclass(frozen=True, slots=True)
class Feed:
    """The meters that measure one feed of a scope, and vote on it."""

    scope: str
    name: str
    meters: tuple[Followed, ...]

    def vote(self, now_s: float) -> Vote | None:
        """What the believed ones say together."""
        told = ((one.meter.name, one.good_w(now_s)) for one in self.meters)
        return vote([Ballot(name, power_w) for name, power_w in told if power_w is not None])

    def stand(self, now_s: float) -> tuple[Followed, ...]:
        """The believed ones that were not outvoted."""
        held = self.vote(now_s)
        outvoted = held.outvoted if held else ()
        return tuple(m for m in self.meters if m.meter.name not in outvoted and m.good_w(now_s) is not None)


def feeds_of(followed: Iterable[Followed]) -> dict[str, tuple[Feed, ...]]:
    """The feeds of each scope, by name."""
    found: dict[tuple[str, str], list[Followed]] = {}
    for one in followed:
        if one.meter.measures == "Feed":
            found.setdefault((one.scope, one.meter.feed or ""), []).append(one)
    scopes: dict[str, tuple[Feed, ...]] = {}
    for (scope, name), meters in sorted(found.items()):
        scopes[scope] = (*scopes.get(scope, ()), Feed(scope, name, tuple(meters)))
    return scopes


def summed(feeds: Iterable[tuple[Vote, tuple[Followed, ...]]], scope: int, now_s: float) -> Reading:
    """Several feeds as one reading: the sum of their votes, as old as the oldest."""
    pairs = tuple(feeds)
    every = [one for _, meters in pairs for one in meters]
    return Reading(
        meter="+".join(one.meter.name for one in every),
        scope=scope,
        power_w=sum(held.power_w for held, _ in pairs),
        age_s=max(one.age_s(now_s) for one in every),
        window_s=float(max(one.meter.window_seconds for one in every)),
    )
