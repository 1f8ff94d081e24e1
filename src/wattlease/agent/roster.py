"""The node's cards as the driver finds them, and as it found them before: lost ones stay, in their place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import fsum
from threading import Event

from wattlease.agent.bounded import BoundedCalls
from wattlease.agent.cards import Card, CardReading, Driver, Glance, Trouble
from wattlease.agent.originals import Originals
from wattlease.agent.standing import Standing, first_sight, glanced, is_as_read, seen, silent
from wattlease.runtime.lease.clock import Now

FIND_S = 10.0
"""So often the driver is asked which cards there are."""

REOPEN_S = 30.0
"""So often the driver is opened anew for one card that is lost, while others answer: a reset card needs it."""

DRIVER = "driver"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Heard:
    """A card's answer, when it was asked and when it was heard: between the two lies the moment of which it tells."""

    asked_s: float
    told: CardReading | Glance
    heard_s: float


class Roster:
    """The cards in a stable order: first seen, first; among those found together by their index.

    Cards that an earlier life wrote to, and which are missing, count as lost. `blind` until the driver has said once
    which cards there are. `draws` has each card's newest look or glance, `None` where it did not answer. One thread at
    a time; but `standings` may be read meanwhile: it is replaced, never resized. `urgent` cuts a look short
    after the call that is out.
    """

    def __init__(
        self, driver: Driver, calls: BoundedCalls, clock: Now, originals: Originals, urgent: Event | None = None
    ) -> None:
        self.standings: dict[str, Standing] = {}
        self.draws: dict[str, Heard | None] = {}
        self.trouble: Trouble | None = None
        self.blind = True
        self._driver, self._calls, self._clock, self._originals = driver, calls, clock, originals
        self._urgent = urgent or Event()
        self._absent: frozenset[str] = frozenset()
        self._found_s = self._opened_s = float("-inf")

    def look(self) -> None:
        """Find the cards if it is time to, and read those that are not lost."""
        if self._clock() - self._found_s >= FIND_S or self.trouble or self._any_lost():
            self._find()
        self._read_all()
        if self._all_gone():
            self._reopen()
            self._find()
            self._read_all()

    def read(self, uuids: Iterable[str]) -> None:
        """Read some of the cards back."""
        self._hear(self._driver.read, uuids)

    def glance(self) -> None:
        """Look at all cards that answer as cheaply as can be."""
        self._hear(self._driver.glance, [u for u, standing in self.standings.items() if standing.answers])

    def most_w(self) -> float:
        """The highest that all limits together may be."""
        return fsum(standing.most_w for standing in self.standings.values())

    def forget(self, uuid: str) -> None:
        """Count a card no longer."""
        self.standings = {other: standing for other, standing in self.standings.items() if other != uuid}

    def note(self, uuid: str, standing: Standing) -> None:
        """Take what is now known of a card, and log what is news."""
        _log_change(self.standings[uuid], standing)
        self.standings[uuid] = standing

    def _hear(self, look: Callable[[str], CardReading | Glance | Trouble], uuids: Iterable[str]) -> None:
        heard = self._calls.each(uuids, partial(self._timed, look))
        now_s = self._clock()
        for uuid, answer in heard.items():
            told = answer if isinstance(answer, Trouble) else answer.told
            old = self.standings[uuid]
            self.draws[uuid] = None if isinstance(answer, Trouble) else answer
            if isinstance(told, Trouble):
                self.note(uuid, silent(old, told))
            elif isinstance(told, Glance):
                if not is_as_read(old, told):
                    self.note(uuid, glanced(old, told, now_s))
            else:
                self.note(uuid, seen(old, told, now_s))

    def _timed(self, look: Callable[[str], CardReading | Glance | Trouble], uuid: str) -> Heard | Trouble:
        asked_s, told = self._clock(), look(uuid)
        return told if isinstance(told, Trouble) else Heard(asked_s, told, self._clock())

    def _read_all(self) -> None:
        if not self._urgent.is_set():
            self._hear(self._driver.read, [uuid for uuid in self.standings if uuid not in self._absent])

    def _any_lost(self) -> bool:
        return any(map(_is_gone, self.standings.values()))

    def _all_gone(self) -> bool:
        return bool(self.standings) and all(map(_is_gone, self.standings.values()))

    def _find(self) -> None:
        if self._any_lost() and self._clock() - self._opened_s >= REOPEN_S:
            self._reopen()
        if self._urgent.is_set():
            return
        found = self._calls.one(DRIVER, self._driver.find)
        if isinstance(found, Trouble) and found.lost and not found.hung:
            self._reopen()
            found = found if self._urgent.is_set() else self._calls.one(DRIVER, self._driver.find)
        self._found_s = self._clock()
        if isinstance(found, Trouble):
            self._none_found(found)
        else:
            self._take_in({card.uuid: card for card in found})

    def _reopen(self) -> None:
        """Open the driver anew, unless a call is still out: closing it under one is asking for worse."""
        if not self._calls.hung and not self._urgent.is_set():
            self._opened_s = self._clock()
            self._calls.one(DRIVER, self._driver.reopen)

    def _none_found(self, trouble: Trouble) -> None:
        """The driver is gone; or one card holds up the search, which says nothing of the others."""
        self.trouble = trouble
        self._place(self._with_known({}), lost=() if trouble.hung else None, why=trouble)

    def _take_in(self, there: Mapping[str, Card]) -> None:
        self.trouble, self.blind = None, False
        met = {
            uuid: replace(standing, card=there.get(uuid, standing.card))
            for uuid, standing in self._with_known(there).items()
        }
        self._place(met, lost=met.keys() - there.keys() - self._calls.hung, why=ABSENT)

    def _place(self, met: Mapping[str, Standing], lost: Collection[str] | None, why: Trouble) -> None:
        """Have these stand, the lost among them so; `None` is all of them."""
        self._absent = frozenset(met if lost is None else lost)
        placed = {u: silent(standing, why) if u in self._absent else standing for u, standing in met.items()}
        for uuid, standing in placed.items():
            _log_change(met[uuid], standing)
        self.standings = placed

    def _with_known(self, there: Mapping[str, Card]) -> dict[str, Standing]:
        """What stood before, then cards not met in this life: those found, and those on disk."""
        met = dict(self.standings)
        new = [*there.values(), *(kept.card(uuid) for uuid, kept in self._originals.kept.items() if uuid not in there)]
        for card in sorted(new, key=lambda card: (card.index, card.uuid)):
            met.setdefault(card.uuid, first_sight(card))
        return met


ABSENT = Trouble("the driver does not find this card any more", lost=True)


def _is_gone(standing: Standing) -> bool:
    return standing.trouble is not None and standing.trouble.lost and not standing.trouble.hung


def _log_change(old: Standing, new: Standing) -> None:
    uuid = new.card.uuid
    if new.trouble and (old.trouble is None or old.trouble.text != new.trouble.text):
        log.warning("card=%s trouble=%r counts_w=%.0f", uuid, new.trouble.text, new.most_w)
    elif old.trouble and not new.trouble:
        log.info("card=%s answers again limit_w=%.1f", uuid, new.most_w)
    if new.foreign_writes > old.foreign_writes:
        log.warning("card=%s foreign_w=%.1f ours_w=%.1f", uuid, new.foreign_w, old.settled_w)
    if new.reloads > old.reloads:
        log.warning("card=%s driver was loaded anew: limit_w=%.1f", uuid, new.most_w)
    if new.adjusted > old.adjusted:
        log.warning("card=%s asked_w=%.1f read_back_w=%.1f", uuid, new.asked_w, new.most_w)
