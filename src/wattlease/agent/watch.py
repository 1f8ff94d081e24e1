"""The guard's eyes: the cards' draws over its windows, from looks and glances."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from math import fsum

from wattlease.agent.enforce import Overhead
from wattlease.agent.guard import WINDOWS, Draws, Guard, guarded
from wattlease.agent.roster import Heard, Roster
from wattlease.agent.standing import Standing
from wattlease.runtime.lease.clock import Now

NEAR_FRAC = 0.8
"""A card that draws this much of its limit feels a lower one."""

SETTLE_S = 1.0
"""So long after a lower order the draw is still judged by the higher one before it: cards follow in a second."""


class Watch:
    """Samples of a node's draw, and the guard that judges them."""

    def __init__(self, overhead: Overhead, clock: Now) -> None:
        self.guard = Guard()
        self._overhead, self._clock = overhead, clock
        self._draws: dict[str, Draws] = {}
        self._allowed = Draws()
        self._orders: deque[tuple[float, float]] = deque()

    def sample(self, roster: Roster) -> None:
        """Take the newest draw of each card, and of one that does not answer the most it may draw."""
        self._draws = {uuid: self._draws.get(uuid) or Draws() for uuid in roster.standings}
        now_s = self._clock()
        for uuid, standing in roster.standings.items():
            if (heard := roster.draws.get(uuid)) and standing.answers:
                told = heard.told
                self._draws[uuid].add(heard.heard_s, told.power_w, told.energy_j, standing.most_w, heard.asked_s)
            else:
                self._draws[uuid].add(now_s, None, None, standing.most_w)

    def judge(self, roster: Roster, allowed_w: float, node_w: float | None = None) -> bool:
        """The guard's step; whether it cut. `node_w` is the whole node's draw by a fresh meter, where there is one."""
        cuts, now_s = self.guard.cuts, self._clock()
        self._note_allowed(now_s, max(allowed_w, self._overhead.node_w(roster.most_w())))
        means_w = [
            self._mean_w(span_s, node_w) - (self._allowed.mean_w(span_s) - allowed_w)
            if self._filled(span_s, now_s)
            else None
            for span_s, _ in WINDOWS
        ]
        cards = roster.standings.values()
        least_w = self._overhead.node_w(fsum(card.floor_w if card.answers else card.most_w for card in cards))
        self.guard = guarded(self.guard, now_s, means_w, allowed_w, gives_frac(cards, roster.draws), least_w)
        return self.guard.cuts > cuts

    def _note_allowed(self, now_s: float, allowed_w: float) -> None:
        """A window is judged by what was in force in it: a larger grant, or limits that did not fit and were cut."""
        self._orders.append((now_s, allowed_w))
        while len(self._orders) > 1 and self._orders[1][0] < now_s - SETTLE_S:
            self._orders.popleft()
        self._allowed.add(now_s, max(order_w for _, order_w in self._orders), None, 0.0)

    def _mean_w(self, span_s: float, node_w: float | None) -> float:
        """No meter of the node reads less than its cards do."""
        cards_w = fsum(draws.mean_w(span_s) for draws in self._draws.values())
        return self._overhead.node_w(cards_w) if node_w is None else max(cards_w, node_w)

    def _filled(self, span_s: float, now_s: float) -> bool:
        begins_s = max((draws.samples[0].at_s for draws in self._draws.values()), default=now_s)
        return now_s - max(begins_s, self.guard.cut_s) >= span_s


def gives_frac(standings: Iterable[Standing], draws: Mapping[str, Heard | None]) -> float:
    """The part of what the cards can give that sits on those which draw near their limits; `draws` are the newest."""
    can_give_w, near_w = 0.0, 0.0
    for standing in standings:
        if (heard := draws.get(standing.card.uuid)) and standing.answers:
            gives_w = max(0.0, standing.most_w - standing.floor_w)
            can_give_w += gives_w
            near_w += gives_w * ((heard.told.power_w or 0.0) > NEAR_FRAC * standing.most_w)
    return near_w / can_give_w if can_give_w else 0.0
