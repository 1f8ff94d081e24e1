"""Faults by schedule: what is wrong now, and what it does to readings. The truth knows nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wattlease.core.errors import BudgetError
from wattlease.core.model import Bools, Floats, Ints, Reading
from wattlease.sim.scenario import Fault

ABSURD_CARD_W = 9000.0
NEGATIVE_W = -100.0
_SILENT = ("stale", "lostNode", "pausedAgent")
_OF_READINGS = ("stale", "frozen", "zero", "absurd", "negative")


@dataclass(frozen=True, slots=True)
class Spell:
    """A fault with its span in unix seconds and the nodes (a mask) or the meter that it hits."""

    fault: Fault
    start_s: float
    end_s: float
    nodes: Bools
    meter: str | None


class Faults:
    """The schedule, and what readings looked like before they froze."""

    def __init__(self, faults: Sequence[Fault], start_s: float, nodes: Sequence[str], meters: Sequence[str]) -> None:
        self.spells = tuple(_spell(f, start_s, nodes, meters) for f in faults)
        self.none = np.zeros(len(nodes), dtype=bool)
        self.held: dict[int, tuple[float, Floats]] = {}
        self.held_node: dict[int, tuple[float, Floats]] = {}
        self.held_meter: dict[int, tuple[float, Reading]] = {}

    def edges_s(self) -> list[float]:
        """Every time at which a fault comes or goes."""
        return sorted({t for s in self.spells for t in (s.start_s, s.end_s)})

    def hit(self, kind: str, now_s: float) -> Bools:
        """The nodes on which a fault of this kind is now."""
        mask = self.none
        for spell in self._now(now_s):
            if spell.fault.kind == kind:
                mask = mask | spell.nodes
        return mask

    def grantor_lost(self, now_s: float) -> bool:
        """Whether whoever grants is away now."""
        return any(s.fault.kind == "lostGrantor" for s in self._now(now_s))

    def spoil(self, now_s: float, node: Ints, power_w: Floats, age_s: Floats) -> None:
        """Change the readings of cards in place; `node` is each card's node."""
        for i, spell in enumerate(self.spells):
            if spell.fault.kind == "lostGrantor" or spell.meter is not None:
                continue
            if not spell.start_s <= now_s < spell.end_s:
                self.held.pop(i, None)
                continue
            cards = spell.nodes[node]
            since_s, before_w = self.held.setdefault(i, (now_s, power_w[cards]))
            if spell.fault.kind in ("zero", "absurd", "negative"):
                power_w[cards] = _card_w(spell.fault)
                continue
            power_w[cards] = before_w
            if spell.fault.kind in _SILENT:
                age_s[cards] += now_s - since_s

    def spoil_nodes(self, now_s: float, power_w: Floats, age_s: Floats) -> None:
        """Change the nodes' own readings in place: they are as silent or as wrong as their cards'."""
        for i, spell in enumerate(self.spells):
            if spell.meter is None and spell.start_s <= now_s < spell.end_s and spell.fault.kind != "lostGrantor":
                since_s, before_w = self.held_node.setdefault(i, (now_s, power_w[spell.nodes]))
                wrong = {"zero": 0.0, "negative": NEGATIVE_W, "absurd": 8 * ABSURD_CARD_W}
                power_w[spell.nodes] = wrong.get(spell.fault.kind, before_w)
                if spell.fault.kind in _SILENT:
                    age_s[spell.nodes] += now_s - since_s
            else:
                self.held_node.pop(i, None)

    def spoil_meter(self, now_s: float, reading: Reading) -> Reading:
        """What the meter says under the faults that hit it."""
        for i, spell in enumerate(self.spells):
            if spell.meter != reading.meter:
                continue
            if not spell.start_s <= now_s < spell.end_s:
                self.held_meter.pop(i, None)
                continue
            since_s, before = self.held_meter.setdefault(i, (now_s, reading))
            reading = _spoiled(spell.fault, reading, before, now_s - since_s)
        return reading

    def _now(self, now_s: float) -> list[Spell]:
        return [s for s in self.spells if s.start_s <= now_s < s.end_s]


def _spell(fault: Fault, start_s: float, nodes: Sequence[str], meters: Sequence[str]) -> Spell:
    mask = np.array([fault.target in ("*", n) for n in nodes])
    meter = fault.target if fault.target in meters and fault.kind in _OF_READINGS else None
    if meter is None and not mask.any() and fault.kind != "lostGrantor":
        known = ", ".join([*nodes[:2], "...", *meters])
        raise BudgetError(f"faults: target '{fault.target}' is neither a node nor a meter; there is {known}")
    begin_s = start_s + fault.at_seconds
    return Spell(fault, begin_s, begin_s + fault.seconds, mask, meter)


def _card_w(fault: Fault) -> float:
    usual = {"zero": 0.0, "absurd": ABSURD_CARD_W, "negative": NEGATIVE_W}[fault.kind]
    return usual if fault.watts is None else fault.watts


def _spoiled(fault: Fault, now: Reading, before: Reading, passed_s: float) -> Reading:
    watts = {"stale": before.power_w, "frozen": before.power_w, "zero": 0.0, "negative": NEGATIVE_W}
    power_w = watts.get(fault.kind, 10.0 * now.power_w) if fault.watts is None else fault.watts
    age_s = before.age_s + passed_s if fault.kind == "stale" else now.age_s
    return Reading(now.meter, now.scope, power_w, age_s, now.window_s)
