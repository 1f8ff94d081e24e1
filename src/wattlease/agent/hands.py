"""The agent's hands on its GPUs: look, hold them to what is allowed, watch, fall back. Nothing here waits for a driver.

Decided here: a limit that someone else raised above ours is lowered as soon as it is seen, by a look or a glance; one
that someone else lowered stays so until the next `hold`, which raises it again to the plan's cap, since only then is a
valid grant at hand. A card that a BMC holds lower counts at the driver's limit: the BMC may let go at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import fsum, inf
from threading import Event, Lock

from wattlease.agent.bounded import PATIENCE_S, BoundedCalls
from wattlease.agent.cards import Driver, Trouble
from wattlease.agent.enforce import Overhead
from wattlease.agent.limiter import Limiter, Order
from wattlease.agent.originals import Originals
from wattlease.agent.roster import Roster
from wattlease.agent.standing import SAME_W, Standing
from wattlease.agent.watch import Watch
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.said import Said

REACTION_S = 6 * PATIENCE_S
"""From a call of `fall` to the last write on a card that answers, where drivers hang: one write and its reading back
of the call in progress, then its own write. A dead-man asks for what is allowed this much later than now."""

STUCK = "guard"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, in watts of the whole node.

    `in_force_w` is the most that the node may draw by its limits as read back or in flight, `shortfall_w` by how much
    the cards' floors and those that do not obey exceed what is allowed, `off_w` what the guard has taken off.
    """

    in_force_w: float
    allowed_w: float
    shortfall_w: float
    off_w: float
    troubles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened since the start, over all cards."""

    foreign_writes: int
    adjusted: int
    refusals: int
    reloads: int
    guard_cuts: int


class Hands:
    """One node's GPUs. All methods may be called from any thread and return within a few patiences.

    Without `writes` (a dry run) nothing is set and nothing is put on disk; the outcome still says what would fit.
    """

    def __init__(
        self,
        driver: Driver,
        originals: Originals,
        overhead: Overhead,
        *,
        writes: bool = True,
        patience_s: float = PATIENCE_S,
        clock: Now = steady_s,
    ) -> None:
        calls = BoundedCalls(patience_s)
        self._originals, self._overhead, self._clock = originals, overhead, clock
        self._urgent = Event()
        self._roster = Roster(driver, calls, clock, originals, self._urgent)
        self._limiter = Limiter(driver, calls, self._roster, originals, overhead, writes, self._urgent)
        self._watch = Watch(overhead, clock)
        self._lock = Lock()
        self._order: Order | None = None
        self._said = Said(log)

    # What the agent's loop calls

    def look(self, node_w: float | None = None) -> tuple[Standing, ...]:
        """Read every card, find new and lost ones, and lower at once what someone else raised; a guard's step too."""
        with self._lock:
            self._roster.look()
            self._watch.sample(self._roster)
            self._limiter.keep_originals()
            self._judge(node_w)
            self._lower_what_rose()
            return self.standings

    def hold(self, allowed_w: float, caps_w: Sequence[float] = (), still: Callable[[], bool] = lambda: True) -> Outcome:
        """Bring the limits to the caps as far as the node's `allowed_w` goes: lowers first, then raises.

        Nothing is done unless it may `still` be, asked when nobody else has the cards: a fall that came before this
        is not undone, and one that comes after waits and lowers.
        """
        with self._lock:
            if still():
                order = self._take(Order(allowed_w, tuple(caps_w)))
                self._limiter.lower(order)
                self._limiter.lift(order)
            return self._outcome()

    def fall(self, allowed_w: float) -> Outcome:
        """Lower the limits to what fits `allowed_w`, raising nothing; a call in progress is cut short."""
        self._urgent.set()
        with self._lock:
            self._urgent.clear()
            self._limiter.lower(self._take(Order(allowed_w, self._order.caps_w if self._order else ())))
            return self._outcome()

    def watch(self, node_w: float | None = None) -> Outcome:
        """The guard's step, several times a second: glance at the draws, cut if the node draws too much for long.

        `node_w` is the whole node's draw by a fresh meter; without one it is the cards' and the overhead.
        """
        with self._lock:
            self._roster.glance()
            self._watch.sample(self._roster)
            self._judge(node_w)
            self._lower_what_rose()
            return self._outcome()

    def restore(self) -> tuple[str, ...]:
        """Give every card the limit that it had before the first write, for an uninstall; return what did not go."""
        with self._lock:
            self._order = None
            self._roster.look()
            kept = dict(self._originals.kept)
            self._limiter.write({u: old.limit_w for u, old in kept.items() if self._roster.standings[u].answers})
            done = [u for u, old in kept.items() if self._stands_at(u, old.limit_w)]
            failed = self._originals.forget(done) if done else self._originals.trouble
            left = [f"{u}: still at {self._roster.standings[u].most_w:.0f} W" for u in kept if u not in done]
            return (*left, *([failed.text] if failed else []))

    def forget(self, uuid: str) -> Trouble | None:
        """Count a card that has left the node for good no longer; one that answers is not forgotten."""
        with self._lock:
            standing = self._roster.standings.get(uuid)
            if standing and standing.answers:
                return Trouble(f"{uuid} answers; only a card that has left the node can be forgotten")
            failed = self._originals.forget([uuid])
            if failed is None:
                self._roster.forget(uuid)
            return failed

    # What is known without asking a driver, or waiting for whoever does

    @property
    def standings(self) -> tuple[Standing, ...]:
        """The cards as last seen, in the order of a grant's caps."""
        return tuple(self._roster.standings.values())

    @property
    def blind(self) -> bool:
        """Whether the driver has not yet said which cards there are, so that `in_force_w` is no promise."""
        return self._roster.blind

    @property
    def counts(self) -> Counts:
        """What happened since the start."""
        cards = self.standings
        return Counts(
            foreign_writes=sum(card.foreign_writes for card in cards),
            adjusted=sum(card.adjusted for card in cards),
            refusals=sum(card.refusals for card in cards),
            reloads=max((card.reloads for card in cards), default=0),
            guard_cuts=self._watch.guard.cuts,
        )

    @property
    def ordered_w(self) -> float:
        """What the last `hold` or `fall` was to keep to; without limit before the first."""
        order = self._order
        return order.allowed_w if order else inf

    @property
    def in_force_w(self) -> float:
        """The most that the node may draw by its limits as read back or in flight."""
        return self._overhead.node_w(self._roster.most_w())

    @property
    def floor_w(self) -> float:
        """The node's watts with every card at its least limit: the fallback where none is configured."""
        return self._overhead.node_w(fsum(standing.card.min_w for standing in self.standings))

    # Within

    def _take(self, order: Order) -> Order:
        """Remember an order, and see that every card has been looked at before it is carried out."""
        self._order = order
        if self.blind:
            self._roster.look()
        unread = [u for u, card in self._roster.standings.items() if card.reading is None and card.trouble is None]
        if unread:
            self._roster.read(unread)
        self._limiter.keep_originals()
        self._limiter.forgive(self._clock())
        return self._guarded(order)

    def _judge(self, node_w: float | None) -> None:
        if self._order and self._watch.judge(self._roster, self._order.allowed_w, node_w):
            self._cut(self._order)

    def _cut(self, order: Order) -> None:
        """Lower to what the guard leaves; tell of a cut that did something, and once that none does any more."""
        before_w, off_w = self.in_force_w, self._watch.guard.off_w
        self._limiter.lower(self._guarded(order))
        if self.in_force_w < before_w:
            self._said.forget(STUCK)
            log.warning("guard allowed_w=%.0f off_w=%.0f in_force_w=%.0f", order.allowed_w, off_w, self.in_force_w)
        else:
            self._said.once(logging.WARNING, STUCK, f"above allowed_w={order.allowed_w:.0f}, no card can give more")

    def _guarded(self, order: Order) -> Order:
        return replace(order, allowed_w=order.allowed_w - self._watch.guard.off_w)

    def _lower_what_rose(self) -> None:
        """By an order that may have run out since: that raises nothing."""
        if self._order:
            order = self._guarded(self._order)
            if self._roster.most_w() > self._overhead.cards_w(order.allowed_w):
                self._limiter.lower(order)

    def _stands_at(self, uuid: str, limit_w: float) -> bool:
        standing = self._roster.standings[uuid]
        return standing.answers and abs(standing.most_w - limit_w) < SAME_W

    def _outcome(self) -> Outcome:
        cards = [f"{card.card.uuid}: {told.text}" for card in self.standings if (told := card.trouble or card.refused)]
        others = [told.text for told in (self._roster.trouble, self._limiter.unkept, self._originals.trouble) if told]
        return Outcome(
            in_force_w=self.in_force_w,
            allowed_w=self._order.allowed_w if self._order else 0.0,
            shortfall_w=self._limiter.shortfall_w,
            off_w=self._watch.guard.off_w,
            troubles=tuple(dict.fromkeys([*others, *cards])),
        )
