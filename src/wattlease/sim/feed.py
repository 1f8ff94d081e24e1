"""From cards to the feed: node overhead, losses, storage; and the meters that see it late and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wattlease.core.api import Meter
from wattlease.core.model import NONE, Floats, Reading, Site
from wattlease.sim.scenario_site import Losses
from wattlease.sim.wiring import Wiring

USUAL_WINDOW_S, USUAL_DELAY_S = 5, 1
"""Of the meter that a root scope has where its budget names none."""


@dataclass(frozen=True, slots=True)
class Passage:
    """How the nodes' draw reaches the feed of each scope; `storage_under` is [units, scopes]."""

    wiring: Wiring
    losses_frac: float
    cooling_w: Floats
    storage_under: Floats

    def node_w(self, draw_w: Floats) -> Floats:
        """Draw of nodes, [steps, nodes], from that of cards."""
        it_w = np.add.reduceat(draw_w, self.wiring.first_gpu, axis=1)
        it_w *= 1.0 + self.wiring.per_it_frac
        it_w += self.wiring.floor_w
        return it_w

    def feed_w(self, node_w: Floats, storage_w: Floats) -> Floats:
        """Drawn from the feed at each scope, [steps, scopes]; storage that discharges is taken off."""
        through_w = (node_w @ self.wiring.under) * (1.0 + self.losses_frac) + self.cooling_w
        if storage_w.shape[1]:
            through_w -= storage_w @ self.storage_under
        return np.asarray(through_w, dtype=np.float64)


def passage_of(site: Site, wiring: Wiring, losses: Losses) -> Passage:
    """The passage of this site; cooling's floor hangs on the first root."""
    cooling_w = np.zeros(len(site.scopes))
    cooling_w[wiring.root[0]] = losses.cooling_floor_watts
    under = np.zeros((len(site.storages), len(site.scopes)))
    for i, unit in enumerate(site.storages):
        scope = unit.scope
        while scope != NONE:
            under[i, scope] = 1.0
            scope = site.scopes[scope].parent
    return Passage(wiring, (losses.conversion_percent + losses.cooling_percent) / 100, cooling_w, under)


def meters_of(site: Site) -> tuple[tuple[int, Meter], ...]:
    """Every scope's meters of its feed; a root without any has one named `<scope>-feed`."""
    named = [(i, m) for i, s in enumerate(site.scopes) for m in s.budget.spec.meters if m.measures == "Feed"]
    metered = {i for i, _ in named}
    usual = [
        (i, Meter(name=f"{s.id[:58]}-feed", kind="Virtual", window_seconds=USUAL_WINDOW_S, delay_seconds=USUAL_DELAY_S))
        for i, s in enumerate(site.scopes)
        if s.parent == NONE and i not in metered
    ]
    return (*named, *usual)


class Meters:
    """What the meters have seen: running energy at each step, as far back as the slowest of them looks."""

    def __init__(self, meters: Sequence[tuple[int, Meter]], step_s: float, feed_w: Floats) -> None:
        self.meters = tuple(meters)
        self.step_s = step_s
        far_s = max((m.window_seconds + m.delay_seconds for _, m in self.meters), default=1)
        self.keep = int(np.ceil(far_s / step_s)) + 1
        self.energy_j = np.zeros((4 * self.keep + 4096, len(feed_w)))
        self.energy_j[: self.keep] = np.outer(np.arange(self.keep), feed_w * step_s)
        self.filled = self.keep

    def note(self, feed_w: Floats) -> None:
        """The next steps, [steps, scopes]."""
        steps = len(feed_w)
        if self.filled + steps > len(self.energy_j):
            self.energy_j[: self.keep] = self.energy_j[self.filled - self.keep : self.filled].copy()
            self.filled = self.keep
        before_j = self.energy_j[self.filled - 1]
        self.energy_j[self.filled : self.filled + steps] = before_j + np.cumsum(feed_w, axis=0) * self.step_s
        self.filled += steps

    def readings(self) -> tuple[Reading, ...]:
        """What each meter says now: the mean over its window, as old as its delay."""
        return tuple(self._read(scope, meter) for scope, meter in self.meters)

    def _read(self, scope: int, meter: Meter) -> Reading:
        end = self.filled - 1 - round(meter.delay_seconds / self.step_s)
        width = max(1, round(meter.window_seconds / self.step_s))
        joules = self.energy_j[end, scope] - self.energy_j[end - width, scope]
        watts = float(joules / (width * self.step_s))
        return Reading(meter.name, scope, watts, float(meter.delay_seconds), float(meter.window_seconds))
