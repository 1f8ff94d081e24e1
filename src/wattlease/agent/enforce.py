"""Which limit each card gets so that the node keeps to its grant, and in which order they are written.

Rule 1: the limits and what the node draws beside its cards fit in what is allowed, or every card that can move stands
    at its floor and the shortfall is told.
Rule 2: a card that does not answer or does not obey counts at the highest limit it may have; the others give way.
Rule 3: lowers come first and are read back; raises come after, within what was returned, so that the sum of what the
    cards may have never passes what is allowed by a write of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

SLACK_W = 0.001
"""Kept free, so that no rounding of sums makes an exact fit too large."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a node draws beside its cards: a constant, and a fraction of what the cards draw (fans, supplies)."""

    constant_w: float = 0.0
    per_it_frac: float = 0.0

    def node_w(self, cards_w: float) -> float:
        """The node's draw when its cards draw this; whole microwatts, so that equal sums stay equal."""
        return round(self.constant_w + (1.0 + self.per_it_frac) * cards_w, 6)

    def cards_w(self, node_w: float) -> float:
        """What the cards may draw of the node's watts; never negative."""
        return max(0.0, (node_w - self.constant_w) / (1.0 + self.per_it_frac))


@dataclass(frozen=True, slots=True)
class Seat:
    """A card that takes part: the range it can be brought to, the highest limit it may have now, whether it moves."""

    floor_w: float
    ceiling_w: float
    most_w: float
    moves: bool = True


@dataclass(frozen=True, slots=True)
class Shares:
    """A limit for each seat, and by how much the floors and what does not move exceed the cards' watts."""

    limits_w: tuple[float, ...]
    shortfall_w: float


def share_out(seats: Sequence[Seat], cards_w: float, caps_w: Sequence[float] = ()) -> Shares:
    """Each card's cap within its range; where they do not fit, all give up the same share above their floors.

    Without a cap for each card every one may have its ceiling.
    """
    caps_w = caps_w if len(caps_w) == len(seats) else [seat.ceiling_w for seat in seats]
    wishes_w = [min(max(cap_w, seat.floor_w), seat.ceiling_w) for seat, cap_w in zip(seats, caps_w, strict=True)]
    fixed_w = fsum(seat.most_w for seat in seats if not seat.moves)
    floors_w = fsum(seat.floor_w for seat in seats if seat.moves)
    above_w = fsum(wish_w - seat.floor_w for seat, wish_w in zip(seats, wishes_w, strict=True) if seat.moves)
    spare_w = cards_w - fixed_w - floors_w
    share_frac = 1.0 if above_w <= spare_w - SLACK_W else max(0.0, spare_w - SLACK_W) / above_w if above_w else 0.0
    limits_w = tuple(
        seat.floor_w + share_frac * (wish_w - seat.floor_w) if seat.moves else seat.most_w
        for seat, wish_w in zip(seats, wishes_w, strict=True)
    )
    return Shares(limits_w, max(0.0, -spare_w))


def within_room(seats: Sequence[Seat], limits_w: Sequence[float], cards_w: float) -> tuple[float, ...]:
    """The limits as far as what was returned allows: raises share the room that is left, lowers stay as they are."""
    room_w = max(0.0, cards_w - fsum(seat.most_w for seat in seats) - SLACK_W)
    raises_w = [max(0.0, limit_w - seat.most_w) for seat, limit_w in zip(seats, limits_w, strict=True)]
    wanted_w = fsum(raises_w)
    share_frac = 1.0 if wanted_w <= room_w else room_w / wanted_w
    return tuple(
        seat.most_w + share_frac * raise_w if raise_w else limit_w
        for seat, limit_w, raise_w in zip(seats, limits_w, raises_w, strict=True)
    )
