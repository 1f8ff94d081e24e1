"""The forecasts of all scopes of a site: each told of every tick, and one at a time trained."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wattlease.core.actions import Plan
from wattlease.core.memory import Memory
from wattlease.core.model import Forecast, Snapshot
from wattlease.facility.forecast.note import NOTHING, known, wanted_w
from wattlease.facility.forecast.scope_forecast import ScopeForecast
from wattlease.facility.forecast.standing import Standing
from wattlease.runtime.lease.said import Said

log = logging.getLogger(__name__)

KNOWN_EVERY_S = 60.0
"""How often the queue is looked into, which costs milliseconds where thousands of jobs wait."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What a tick knew, decided and left to be remembered."""

    snapshot: Snapshot
    plan: Plan
    memory: Memory


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What was foreseen at a moment, and how each forecast stands; by scope."""

    now_s: float = -math.inf
    forecasts: Mapping[str, tuple[Forecast, ...]] = field(default_factory=dict)
    standing: Mapping[str, Standing] = field(default_factory=dict)


class ScopeForecasts:
    """One forecast for each scope of `folders`, which holds where its record and its models last.

    Making one reads the records, about a second for four weeks of a scope; a look takes a millisecond or two, and
    some more each minute.
    """

    def __init__(self, folders: Mapping[str, Path], zone_name: str) -> None:
        said = Said(log)
        self._scopes = {name: ScopeForecast(folder, zone_name, said=said) for name, folder in folders.items()}
        self._known_s = -math.inf

    @property
    def training(self) -> tuple[str, ...]:
        """The scopes whose training runs now: one at most."""
        return tuple(name for name, one in self._scopes.items() if one.training)

    def look(self, tick: Tick) -> Foreseen:
        """Learn from a tick and look ahead from it."""
        now_s = tick.snapshot.now_s
        places = {scope.id: s for s, scope in enumerate(tick.snapshot.site.scopes) if scope.id in self._scopes}
        self._note(tick, places)
        self._tend(now_s)
        forecasts = {name: self._scopes[name].forecasts(s, now_s) for name, s in places.items()}
        return Foreseen(now_s, forecasts, {name: one.standing() for name, one in self._scopes.items()})

    def close(self) -> None:
        """End a training that runs."""
        for one in self._scopes.values():
            one.close()

    def _note(self, tick: Tick, places: Mapping[str, int]) -> None:
        snapshot, plan, memory = tick.snapshot, tick.plan, tick.memory
        due = not 0.0 <= snapshot.now_s - self._known_s < KNOWN_EVERY_S
        for name, s in places.items():
            ahead = known(snapshot, plan, memory, s) if due else NOTHING
            self._scopes[name].note(snapshot.now_s, wanted_w(snapshot, plan, memory, s), ahead)
        if due:
            self._known_s = snapshot.now_s

    def _tend(self, now_s: float) -> None:
        for name in self.training or self._scopes:
            self._scopes[name].tend(now_s)
            if self._scopes[name].training:
                break
