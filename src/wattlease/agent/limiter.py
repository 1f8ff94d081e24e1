"""Writes limits in the order of `enforce`'s rules: lowers, read back, then raises within what was returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event

from wattlease.agent.bounded import BoundedCalls
from wattlease.agent.cards import Driver, Trouble
from wattlease.agent.enforce import Overhead, Seat, share_out, within_room
from wattlease.agent.originals import Original, Originals
from wattlease.agent.roster import Roster
from wattlease.agent.standing import SAME_W, Standing, forgiven, sending, sent

WORTH_W = 1.0
"""A raise by less is not worth a write."""


DISK = "disk"
SLOW_DISK = Trouble("original limits are not on disk yet, so their cards' limits stay as they are; the disk is slow")


@dataclass(frozen=True, slots=True)
class Order:
    """What the node is to keep to; `caps_w` are by card in the roster's order, or none."""

    allowed_w: float
    caps_w: tuple[float, ...] = ()


class Limiter:
    """Brings the roster's cards to their limits. One thread at a time; `urgent` cuts it short between two writes."""

    def __init__(
        self,
        driver: Driver,
        calls: BoundedCalls,
        roster: Roster,
        originals: Originals,
        overhead: Overhead,
        writes: bool,
        urgent: Event,
    ) -> None:
        self.shortfall_w = 0.0
        self.unkept: Trouble | None = None
        self._driver, self._calls, self._roster = driver, calls, roster
        self._originals, self._overhead, self._writes, self._urgent = originals, overhead, writes, urgent
        self._disk = BoundedCalls(calls.patience_s)

    def keep_originals(self) -> None:
        """Have every card's original limit on disk before its first write; a disk that hangs keeps only its cards."""
        found = {
            uuid: Original.of(standing.card, standing.reading.limit_w)
            for uuid, standing in self._standings.items()
            if self._writes and standing.reading and uuid not in self._originals.kept
        }
        told = self._disk.one(DISK, lambda: self._originals.keep(found)) if found else None
        self.unkept = told and (SLOW_DISK if told.hung else told)

    def forgive(self, now_s: float) -> None:
        """Try again what was refused, and after a while what was taken otherwise."""
        for uuid, standing in self._standings.items():
            if standing.missed or standing.extra_w or standing.took_otherwise:
                self._roster.note(uuid, forgiven(standing, now_s))

    def lower(self, order: Order) -> None:
        """Bring down what is above its share, until it is or will not go.

        First as planned, then with what the cards made of it, then without those that do not follow: a card leaves
        the plan with its second miss, so the rounds end.
        """
        for _ in range(2 * len(self._standings) + 1):
            _, limits_w = self._plan(order)
            asks_w = self._asks(limits_w, lambda limit_w, most_w: limit_w < most_w - SAME_W)
            if not asks_w or self._urgent.is_set():
                return
            self.write(asks_w)

    def lift(self, order: Order) -> None:
        """Bring up what is below its share, as far as the watts returned go."""
        seats, limits_w = self._plan(order)
        room_w = within_room(seats, list(limits_w.values()), self._overhead.cards_w(order.allowed_w))
        granted_w = dict(zip(limits_w, room_w, strict=True))
        asks_w = self._asks(granted_w, lambda limit_w, most_w: limit_w > most_w + WORTH_W)
        if asks_w and not self._urgent.is_set():
            self.write(asks_w)
            self.lower(order)  # where one was taken at a higher value than asked

    def write(self, limits_w: Mapping[str, float]) -> None:
        """Ask for limits and read them back."""
        asks_w = {uuid: self._standings[uuid].asking_for(limit_w) for uuid, limit_w in limits_w.items()}
        for uuid, ask_w in asks_w.items():
            self._roster.note(uuid, sending(self._standings[uuid], ask_w))
        for uuid, answer in self._calls.each(asks_w, lambda uuid: self._driver.limit(uuid, asks_w[uuid])).items():
            self._roster.note(uuid, sent(self._standings[uuid], answer))
        self._roster.read(asks_w)

    @property
    def _standings(self) -> Mapping[str, Standing]:
        return self._roster.standings

    def _moves(self, uuid: str) -> bool:
        return self._writes and self._standings[uuid].answers and uuid in self._originals.kept

    def _seats(self) -> list[Seat]:
        return [
            Seat(
                floor_w=standing.floor_w,
                ceiling_w=max(standing.card.max_w, standing.floor_w),
                most_w=standing.most_w,
                moves=self._moves(uuid) and standing.follows,
            )
            for uuid, standing in self._standings.items()
        ]

    def _plan(self, order: Order) -> tuple[Sequence[Seat], dict[str, float]]:
        """The seats, and the limit that each card should have."""
        seats, overhead = self._seats(), self._overhead
        shares = share_out(seats, overhead.cards_w(order.allowed_w), order.caps_w)
        beside_w = max(0.0, overhead.constant_w - order.allowed_w)
        self.shortfall_w = round(beside_w + shares.shortfall_w * (1.0 + overhead.per_it_frac), 3)
        return seats, dict(zip(self._standings, shares.limits_w, strict=True))

    def _asks(self, limits_w: Mapping[str, float], wanted: Callable[[float, float], bool]) -> dict[str, float]:
        return {
            uuid: limit_w
            for uuid, limit_w in limits_w.items()
            if self._moves(uuid)
            and wanted(limit_w, self._standings[uuid].most_w)
            and not self._standings[uuid].is_asked(limit_w)
        }
