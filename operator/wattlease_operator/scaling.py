"""Services: how far an autoscaler may go while watts are short, and its own ceiling back afterwards, exactly.

The ceiling that was there before stands on the autoscaler beside ours, in the same write, so that whoever comes after
us, or a person with `kubectl`, can put it back. Where somebody else writes the ceiling meanwhile, it is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from wattlease_operator.words import HELD_BY, MAX_BEFORE, MAX_NOW, SCALE_OUT_PAUSED, US, Scaler
from wattlease_operator.writes import Apply, Disown, Write, owning

CEILING = ("spec", "maxReplicas")


def bound(scaler: Scaler, most: float) -> tuple[Write, ...]:
    """The writes that hold an autoscaler to at most so many replicas, or let it go where that is no bound to it.

    KEDA knows a bound for a while only as scaling out no further (2.18 or newer).
    """
    if overruled(scaler):
        return (owning(scaler.ref, {}),)
    if scaler.keda:
        return _pause_scale_out(scaler, most < scaler.most)
    own = scaler.before if scaler.before is not None else scaler.most
    wanted = max(min(most, own), scaler.least, 1)
    if wanted >= own:
        return () if scaler.before is None else (owning(scaler.ref, {}, CEILING, own), Disown(scaler.ref))
    if wanted == scaler.most:
        return ()
    return (owning(scaler.ref, {MAX_BEFORE: str(own), MAX_NOW: str(int(wanted))}, CEILING, int(wanted)),)


def held(scaler: Scaler) -> bool:
    """Whether it stands as we set it."""
    if scaler.keda:
        return scaler.ours and scaler.scale_out_paused
    return scaler.before is not None and scaler.now == scaler.most


def overruled(scaler: Scaler) -> bool:
    """Whether somebody else wrote what we had set, and left our mark."""
    return (scaler.ours if scaler.keda else scaler.before is not None) and not held(scaler)


def raises(scaler: Scaler, most: float) -> bool:
    """Whether it could go further than it can now, were it held to so many."""
    if scaler.keda:
        return scaler.ours and most >= scaler.most
    return most > (scaler.now if scaler.now is not None else scaler.most)


def gives_back(writes: Iterable[Write]) -> bool:
    """Whether nothing of ours is left on the autoscaler after these."""
    return any(isinstance(w, Disown) or (isinstance(w, Apply) and not w.fields) for w in writes)


def _pause_scale_out(scaler: Scaler, paused: bool) -> tuple[Write, ...]:
    if paused and not scaler.scale_out_paused:
        return (owning(scaler.ref, {SCALE_OUT_PAUSED: "true", HELD_BY: US}),)
    if not paused and scaler.ours:
        return (owning(scaler.ref, {}),)
    return ()


def ceilings(services: Iterable[tuple[str, Scaler, int, float]], room_w: float) -> Mapping[str, float]:
    """How many replicas each service may have: those that it has, and what there is room for, first come first served.

    A service is its id, its autoscaler, its replicas now and the watts of one more.
    """
    found: dict[str, float] = {}
    for name, scaler, replicas, each_w in services:
        own = scaler.before if scaler.before is not None else scaler.most
        more = min(math.floor(room_w / max(each_w, 1.0)), max(own - replicas, 0))
        room_w -= more * each_w
        found[name] = replicas + more
    return found
