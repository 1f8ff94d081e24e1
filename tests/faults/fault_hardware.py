"""The hardware's side of a site: cards that draw what work wants and limits allow, and a meter of the law.

The meter looks every 50 ms at what the cards' own limits allow, whatever any process believes. Two readings of all
nodes must agree to count as a sample: then there was a moment at which all of it held at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event, Thread

import numpy as np

from wattlease.agent.virtual_state import VirtualState

FLOOR_W, PER_IT_FRAC, CARDS = 800.0, 0.1, 8
MIN_W, MAX_W = 200.0, 700.0
SAMPLE_S = 0.05
ROUNDING_W = 0.01


def node_w(cards_w: float) -> float:
    return FLOOR_W + (1.0 + PER_IT_FRAC) * cards_w


FALLBACK_W, NAMEPLATE_W = node_w(CARDS * MIN_W), node_w(CARDS * MAX_W)


@dataclass
class Sample:
    """What all limits allow, beside the limit that must hold by then."""

    at_s: float
    nodes_w: tuple[float, ...]
    limit_w: float

    @property
    def sum_w(self) -> float:
        return sum(self.nodes_w)


@dataclass
class Excuse:
    """A node that is raised from outside: for a while it counts at most as it stood before. The others do not."""

    from_s: float
    until_s: float
    node: int
    had_w: float


@dataclass
class Hardware(Thread):
    """Plays all nodes' cards and measures them, until it is ended.

    A limit that fell must hold one time to live later; until then the one before it does.
    """

    states: Sequence[VirtualState]
    ttl_s: float
    wants_w: list[float]
    samples: list[Sample] = field(default_factory=list)
    limits: list[tuple[float, float]] = field(default_factory=list)
    excuses: list[Excuse] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True, name="hardware")
        self._over = Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        last_s = time.monotonic()
        while not self._over.wait(SAMPLE_S):
            at_s, nodes_w = self.read()
            self.samples.append(Sample(at_s, nodes_w, self.limit_w(at_s)))
            for state, wants_w in zip(self.states, self.wants_w, strict=True):
                draw_w = np.minimum(state.enforced_w(), wants_w)
                state.play(np.minimum(draw_w, state.cards["draw_mw"] / 1e3), at_s - last_s)  # no energy before a rise
                state.play(draw_w, 0.0)
            last_s = at_s

    def end(self) -> None:
        self._over.set()
        self.join(5.0)

    def read(self) -> tuple[float, tuple[float, ...]]:
        """When, and what each node may draw by its cards' limits, all at one moment."""
        nodes_w = self._read()
        while True:
            at_s, again_w = time.monotonic(), self._read()
            if again_w == nodes_w:
                return at_s, nodes_w
            nodes_w = again_w

    def limit_w(self, at_s: float) -> float:
        """The highest that held at any time in the last time to live."""
        holds = [limit_w for from_s, limit_w in self.limits if from_s <= at_s - self.ttl_s][-1:]
        recent = [limit_w for from_s, limit_w in self.limits if at_s - self.ttl_s < from_s <= at_s]
        return max([*holds, *recent], default=float("inf"))

    def over(self, since_s: float = 0.0) -> list[Sample]:
        """The samples above the limit, without what is excused."""
        return [s for s in self.samples if s.at_s >= since_s and self.counted_w(s) > s.limit_w + ROUNDING_W]

    def counted_w(self, sample: Sample) -> float:
        """The sum of a sample, with nodes that are excused as they stood before."""
        nodes_w = list(sample.nodes_w)
        for excuse in self.excuses:
            if excuse.from_s <= sample.at_s <= excuse.until_s:
                nodes_w[excuse.node] = min(nodes_w[excuse.node], excuse.had_w)
        return sum(nodes_w)

    def _read(self) -> tuple[float, ...]:
        return tuple(node_w(float(state.enforced_w().sum())) for state in self.states)
