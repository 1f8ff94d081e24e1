"""What the agent knows of one card's limit: read back, in flight, moved by others, or unknown.

Rule 1: `most_w` is the highest limit that the card may have. A write raises it before it is sent; only reading back
    lowers it. Silence leaves it, and a lost card's may have gone back to its default.
Rule 2: reading back wins over what was asked. A card that takes a limit at a higher value is asked for that much less.
    At another value it may also stand because someone else wrote in between: so it is asked again after a while.
Rule 3: a limit that differs from what our last write read back as was written by someone else, unless the driver was
    loaded anew: then its energy counts from zero, or it stands at its default after the driver had been gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wattlease.agent.cards import Card, CardReading, Glance, Trouble

SAME_W = 0.002
"""Limits are whole milliwatts; two that differ by less than two of them are the same."""

RETRY_S = 30.0
"""So often a card that took limits at other values is believed to take them as asked."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One card. Limits in watts; `settled_w` is as read back after the last write of ours, `None` before the first.

    `extra_w` is by how much it takes limits above what it is asked; `otherwise_s` is since when it has stood at another
    value than asked. `missed` counts the writes in a row that left it higher than meant, refused ones among them.
    `trouble` is of the last call, `None` where it answered.
    """

    card: Card
    most_w: float
    reading: CardReading | None = None
    read_s: float = 0.0
    asked_w: float | None = None
    settled_w: float | None = None
    in_flight: bool = False
    extra_w: float = 0.0
    otherwise_s: float = 0.0
    missed: int = 0
    refused: Trouble | None = None
    trouble: Trouble | None = None
    was_lost: bool = False
    foreign_writes: int = 0
    foreign_w: float | None = None
    adjusted: int = 0
    refusals: int = 0
    reloads: int = 0

    @property
    def answers(self) -> bool:
        """Whether the last call did."""
        return self.trouble is None and self.reading is not None

    @property
    def follows(self) -> bool:
        """Whether it is worth planning with: not once it has refused, or twice been left higher than meant."""
        return self.missed < 1 + (self.refused is None)

    @property
    def took_otherwise(self) -> bool:
        """Whether our last write reads back as another value than it asked for."""
        known = self.asked_w is not None and self.settled_w is not None and not self.in_flight
        return known and abs((self.settled_w or 0.0) - (self.asked_w or 0.0)) > SAME_W

    @property
    def floor_w(self) -> float:
        """The lowest limit that asking can bring about."""
        return min(self.card.min_w + self.extra_w, max(self.card.max_w, self.card.min_w))

    def asking_for(self, limit_w: float) -> float:
        """What to ask for so that the card gets to `limit_w` or below, within its range; whole milliwatts."""
        whole_w = int((limit_w - self.extra_w) * 1e3 + 1e-6) / 1e3
        return min(max(whole_w, self.card.min_w), self.card.max_w)

    def is_asked(self, limit_w: float) -> bool:
        """Whether this was asked for already, and the card stands at what it made of it."""
        return self.asked_w is not None and abs(self.asking_for(limit_w) - self.asked_w) < SAME_W


def first_sight(card: Card) -> Standing:
    """A card of which nothing is known yet."""
    return Standing(card=card, most_w=max(card.max_w, card.default_w))


def sending(standing: Standing, limit_w: float) -> Standing:
    """About to ask for a limit: from here on the card may have it."""
    return replace(
        standing,
        most_w=max(standing.most_w, limit_w + standing.extra_w),
        asked_w=limit_w,
        in_flight=True,
    )


def sent(standing: Standing, answer: Trouble | None) -> Standing:
    """The call came back, or did not; what it did is told by reading back."""
    if answer is None:
        return replace(standing, refused=None)
    if answer.lost or answer.hung:
        return silent(standing, answer)
    return replace(standing, refused=answer, refusals=standing.refusals + 1)


def silent(standing: Standing, trouble: Trouble) -> Standing:
    """A call did not answer: what is known gets old, and the limit may be any that was known or asked for."""
    gone = trouble.lost and not trouble.hung
    most_w = max(standing.most_w, standing.card.default_w) if gone else standing.most_w
    return replace(standing, trouble=trouble, most_w=most_w, was_lost=standing.was_lost or gone)


def seen(standing: Standing, reading: CardReading, now_s: float) -> Standing:
    """The card answers: its limit is what it reads back as, and it is told who moved it."""
    told = _settled(standing, reading, now_s) if standing.in_flight else _compared(standing, reading)
    return replace(
        told,
        most_w=max(reading.limit_w, reading.enforced_w),
        reading=reading,
        read_s=now_s,
        in_flight=False,
        trouble=None,
        was_lost=False,
    )


def is_as_read(standing: Standing, glance: Glance) -> bool:
    """Whether a glance says nothing new of the limit."""
    known = standing.reading if standing.answers and not standing.in_flight else None
    return known is not None and known.limit_w == glance.limit_w


def glanced(standing: Standing, glance: Glance, now_s: float) -> Standing:
    """The same by a cheaper look; what it leaves out stays as it was read."""
    if standing.reading is None:
        return standing
    old = standing.reading
    reading = replace(
        old,
        power_w=glance.power_w,
        energy_j=glance.energy_j,
        limit_w=glance.limit_w,
        enforced_w=min(old.enforced_w, glance.limit_w) if old.enforced_w < old.limit_w else glance.limit_w,
    )
    return seen(standing, reading, now_s)


def forgiven(standing: Standing, now_s: float) -> Standing:
    """Before a new round of writes: refusals are tried again, and after a while so is what was taken otherwise."""
    if (standing.extra_w or standing.took_otherwise) and now_s - standing.otherwise_s > RETRY_S:
        standing = replace(standing, extra_w=0.0, asked_w=None)
    return replace(standing, missed=0)


def _settled(standing: Standing, reading: CardReading, now_s: float) -> Standing:
    """What came of our own write."""
    asked_w = standing.asked_w if standing.asked_w is not None else reading.limit_w
    over_w = reading.limit_w - asked_w
    meant = over_w <= standing.extra_w + SAME_W
    missed = 0 if meant else standing.missed + 1
    if standing.refused or standing.trouble:  # whatever came of it, it was not taken as asked: ask again
        return replace(standing, settled_w=reading.limit_w, asked_w=None, missed=missed)
    return replace(
        standing,
        settled_w=reading.limit_w,
        missed=missed,
        extra_w=over_w if over_w > SAME_W else 0.0,
        otherwise_s=standing.otherwise_s if standing.extra_w and over_w > SAME_W and meant else now_s,
        adjusted=standing.adjusted + (abs(over_w) > SAME_W),
    )


def _compared(standing: Standing, reading: CardReading) -> Standing:
    """Whether someone else moved the limit, or the driver forgot it."""
    if _loaded_anew(standing, reading):
        return replace(standing, settled_w=None, asked_w=None, extra_w=0.0, reloads=standing.reloads + 1)
    expected_w = standing.settled_w
    if expected_w is None or abs(reading.limit_w - expected_w) < SAME_W:
        return standing
    return replace(
        standing,
        settled_w=reading.limit_w,
        asked_w=None,
        foreign_writes=standing.foreign_writes + 1,
        foreign_w=reading.limit_w,
    )


def _loaded_anew(standing: Standing, reading: CardReading) -> bool:
    if standing.reading is None or abs(reading.limit_w - standing.card.default_w) > SAME_W:
        return False
    before_j, now_j = standing.reading.energy_j, reading.energy_j
    if before_j is not None and now_j is not None:
        return now_j < before_j
    return standing.was_lost
