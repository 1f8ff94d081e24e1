"""A run through all faults around a hall: what each did is kept, and told as a table."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from fault_facility import TTL_S, Day, Look, comes, open_day
from fault_facility_kinds import FAULTS, Fault

START_S, BACK_S = 60.0, 60.0
CALM_S = 1.5
STOOD_S = 0.5
"""Looks are 50 ms apart."""


@dataclass(frozen=True, slots=True)
class Spell:
    """One fault, on the monotonic clock: until it was mended, and until all was as before; None: that never came."""

    from_s: float
    seen: bool
    mended_s: float
    back_s: float | None
    until_s: float


@dataclass(frozen=True, slots=True)
class Told:
    """What was known of the price of energy."""

    price: float
    age_s: float
    text: str


@dataclass
class Run:
    """All that was seen from when the hall was whole for the first time."""

    looks: list[Look] = field(default_factory=list)
    limits: list[tuple[float, float, float]] = field(default_factory=list)
    spells: dict[str, Spell] = field(default_factory=dict)
    prices: tuple[Told, ...] = ()

    def looks_of(self, name: str) -> list[Look]:
        spell = self.spells[name]
        return [look for look in self.looks if spell.from_s <= look.at_s < spell.until_s]


def in_time(looks: list[Look]) -> list[Look]:
    """Without those that come within a time to live of a moment at which all of us stood still, as a busy machine makes
    us: leases run out meanwhile, and their nodes rightly fall."""
    stood_s, found = -math.inf, looks[:1]
    for before, look in pairwise(looks):
        stood_s = look.at_s if look.at_s - before.at_s > STOOD_S else stood_s
        if look.at_s - stood_s > TTL_S:
            found.append(look)
    return found


async def run(folder: Path) -> Run:
    """Through all of them, with a calm after each."""
    found = Run()
    async with open_day(folder) as day:
        assert await comes(lambda: bool(day.looks) and day.is_taught() and day.is_whole(), START_S), (
            "the hall never came to work"
        )
        await asyncio.sleep(CALM_S)
        began = len(day.looks)
        found.prices = (_told(day),)
        for fault in FAULTS:
            found.spells[fault.__name__] = await _through(day, fault)
        found.prices = (*found.prices, _told(day))
        found.looks, found.limits = day.looks[began:], day.limits
    return found


async def _through(day: Day, fault: Fault) -> Spell:
    from_s = time.monotonic()
    seen = await fault(day)
    mended_s = time.monotonic()
    back_s = time.monotonic() if await comes(day.is_whole, BACK_S) else None
    await asyncio.sleep(CALM_S)
    return Spell(from_s, seen, mended_s, back_s, time.monotonic())


def _told(day: Day) -> Told:
    energy = day.around.standing().prices[0]
    return Told(day.price, energy.age_s, energy.text)


def table(found: Run) -> str:
    """When each fault began, how long it and the way back took, and the highest look against the limit."""
    zero_s = found.looks[0].at_s
    rows = [f"{'fault':72} {'at':>6} {'lasts':>6} {'back in':>8} {'highest':>8}"]
    for name, spell in found.spells.items():
        back = "never" if spell.back_s is None else f"{spell.back_s - spell.mended_s:.1f} s"
        highest = max(look.limit_frac for look in found.looks_of(name))
        lasts_s = spell.mended_s - spell.from_s
        words = name.replace("_", " ")
        rows.append(f"{words:72} {spell.from_s - zero_s:4.0f} s {lasts_s:4.0f} s {back:>8} {highest:8.4f}")
    return "\n".join(rows)
