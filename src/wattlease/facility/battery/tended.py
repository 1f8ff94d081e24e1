"""One battery and all that its task keeps of it."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field, replace
from itertools import pairwise

from wattlease.core.api_storage import Pcs
from wattlease.core.model import Storage, StorageUnit
from wattlease.facility.battery.belief import Belief, Patience, floor_w, heard, ordered, silent, storage, why_not
from wattlease.facility.battery.witness import Witness
from wattlease.facility.battery.words import Battery, Trouble

PAST_S = 60.0
"""How far back its power is remembered; meters tell of the past too."""


@dataclass(slots=True)
class Tended:
    """A battery, what is believed of it and what it is to do. `touches` is False where its budget only shadows.

    `begun_s` is when it was taken up: before that, another process may have ordered something.
    """

    pcs: Pcs
    battery: Battery
    touches: bool
    belief: Belief
    begun_s: float
    planned_w: float = 0.0
    planned_s: float = -math.inf
    aim_w: float = 0.0
    turned_s: float = -math.inf
    helped_w: float = 0.0
    witness: Witness = field(default_factory=Witness)
    past: deque[tuple[float, float]] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    lets_go: bool = False

    @property
    def unit(self) -> StorageUnit:
        """As it was written."""
        return self.belief.unit

    def storage(self, now_s: float, patience: Patience) -> Storage:
        """As a tick knows it: of one that is not heard nobody knows what it does, until its timer has idled it."""
        told = storage(self.belief, now_s, patience)
        return replace(told, power_w=0.0) if math.isnan(told.power_w) and self._has_lapsed(now_s, patience) else told

    def _has_lapsed(self, now_s: float, patience: Patience) -> bool:
        """Whether no order of ours can be in force: none was sent for as long as one lasts, on its way included."""
        reading = self.belief.reading
        mine = self.touches and not self.belief.lie and not (reading and reading.is_local)
        sent_s = max(self.belief.read_s, self.begun_s)
        return mine and now_s - sent_s > self.pcs.reversion_seconds + patience.lost_s

    def plan_w(self, now_s: float) -> float:
        """The plan's order, which lapses like every order of ours."""
        return self.planned_w if now_s - self.planned_s <= self.pcs.reversion_seconds else 0.0

    def gave_w(self, from_s: float, to_s: float) -> float:
        """Mean of the power it told in a span; each word of it holds until the next."""
        given_j = 0.0
        for (at_s, power_w), (next_s, _) in pairwise([*self.past, (math.inf, 0.0)]):
            given_j += power_w * max(0.0, min(next_s, to_s) - max(at_s, from_s))
        first_s = self.past[0][0] if self.past else math.inf
        known_s = to_s - max(from_s, first_s)
        return given_j / known_s if known_s > 0.0 else 0.0

    def is_on_its_way(self, now_s: float, patience: Patience) -> bool:
        """Whether it was given another order a moment ago and is not there yet, or has not told so."""
        reading = self.belief.reading
        if reading is None or not self.touches or now_s - self.turned_s > patience.settle_s:
            return False
        return not abs(reading.power_w - self.aim_w) <= floor_w(self.unit, patience) / 2

    async def tend(self, now_s: float, patience: Patience) -> None:
        """Read it, and order what is meant if it may be ordered."""
        reading = await self.battery.read()
        if isinstance(reading, Trouble):
            self.belief = silent(self.belief, reading)
        else:
            self.belief = heard(self.belief, reading, now_s, patience, self.pcs.sign_check)
        power_w = self.storage(now_s, patience).power_w
        self._remember(now_s, power_w if math.isfinite(power_w) else 0.0)
        if not self.touches or isinstance(reading, Trouble):
            return
        if not why_not(self.belief, now_s, patience):
            self.belief = ordered(self.belief, await self.battery.order(self.aim_w), now_s, patience)
            self.lets_go = True
        elif self.lets_go and not reading.is_local:
            self.lets_go = await self.battery.idle() is not None

    def _remember(self, now_s: float, power_w: float) -> None:
        self.past.append((now_s, power_w))
        while self.past[0][0] < now_s - PAST_S:
            self.past.popleft()
