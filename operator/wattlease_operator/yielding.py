"""Autoscalers whose bound somebody else undid: he has his way for a while, and nobody is fought.

A tool that applies its own ceiling every few minutes would else take turns with us for ever, and whoever wants more
replicas now would have to be faster than we are. Cards' limits hold the site meanwhile.

Rule 1: what we had bound, did not give back ourselves, and is not as we set it, somebody else has undone.
Rule 2: it is left alone for ten minutes, and for twice as long after each further time, until a bound of ours was kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wattlease.runtime.lease.clock import Now
from wattlease_operator.cache import Ref
from wattlease_operator.scaling import bound, gives_back, held, overruled
from wattlease_operator.words import SCALE_OUT_PAUSED, Scaler
from wattlease_operator.writes import Write

YIELD_S, LONGEST_S = 600.0, 21_600.0
"""An autoscaler is left alone for so long after the first time, and at the most."""


@dataclass(slots=True)
class _Past:
    """What is remembered of one: whether it was `held` when last seen, and whether we have `freed` it since."""

    held: bool = False
    freed: bool = False
    until_s: float = -math.inf
    next_s: float = YIELD_S


class Yielding:
    """All autoscalers, those that were undone among them."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._past: dict[Ref, _Past] = {}

    def forget(self) -> None:
        """Somebody else led meanwhile, and may have bound them or given them back."""
        for past in self._past.values():
            past.held = past.freed = False

    def look(self, scalers: Iterable[Scaler]) -> Sequence[Scaler]:
        """See how all of them stand; those that somebody else has newly undone."""
        found = {scaler.ref: scaler for scaler in scalers}
        self._past = {ref: self._past.get(ref) or _Past() for ref in found}
        return [scaler for scaler in found.values() if self._undone(scaler, self._past[scaler.ref])]

    def yields(self, scaler: Scaler) -> bool:
        """Whether it is left alone for now."""
        return self._now() < self._of(scaler).until_s

    def left_s(self, scaler: Scaler) -> float:
        """For how long it still is, in seconds; 0 where it is not."""
        return max(self._of(scaler).until_s - self._now(), 0.0)

    def bound(self, scaler: Scaler, most: float) -> tuple[Write, ...]:
        """The writes that hold it to at most so many replicas; of one that is left alone, those that let it go."""
        writes = bound(scaler, math.inf if self.yields(scaler) else most)
        if gives_back(writes):
            self._of(scaler).freed = True
        return writes

    def _of(self, scaler: Scaler) -> _Past:
        return self._past.setdefault(scaler.ref, _Past())

    def _undone(self, scaler: Scaler, past: _Past) -> bool:
        was_held, past.held = past.held, held(scaler)
        gone = was_held and not past.held
        undone = (overruled(scaler) or (gone and not past.freed)) and not self.yields(scaler)
        if undone:
            past.until_s = self._now() + past.next_s
            past.next_s = min(2.0 * past.next_s, LONGEST_S)
        elif gone and past.freed and not overruled(scaler):
            past.next_s = YIELD_S
        past.freed = past.freed and past.held
        return undone


def why_left(scaler: Scaler, left_s: float) -> str:
    """For people, beside the autoscaler."""
    field = f"the annotation {SCALE_OUT_PAUSED}" if scaler.keda else "spec.maxReplicas"
    return (
        f"somebody else wrote {field} while watts were short: it is left alone for {round(left_s / 60.0)} minutes; "
        f"a tool that applies this again and again should leave that field out"
    )
