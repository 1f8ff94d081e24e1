"""A site whose limit is leased from a larger one: what is kept free at the feed, and how fast it is released, is the
lessor's affair; here the lease is used to the full, and followed as fast as it rises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wattlease.core.memory import Memory
from wattlease.core.model import Snapshot, Window

AHEAD_S = 26 * 3600.0
"""A lease has no end that is known: as a window it lasts beyond all that is looked ahead to."""


def leased_window(name: str, watts_w: float, now_s: float) -> Window:
    """The watts that are leased to a site, as one limit of its root among others."""
    return Window(0, "share", name, now_s - 1.0, now_s + AHEAD_S, watts_w)


def risen(memory: Memory, snapshot: Snapshot) -> Memory:
    """The memory with which no ramp of its own and no noise holds the site back; where a meter is silent nothing
    rises."""
    scopes = memory.scopes
    told = {reading.scope for reading in snapshot.meters}
    blind = [bool(s.budget.spec.meters) and i not in told for i, s in enumerate(snapshot.site.scopes)]
    if len(scopes.allowed_w) != len(blind):
        return memory
    allowed_w = np.where(blind, scopes.allowed_w, np.nan)
    calm = np.zeros(len(blind))
    return replace(memory, scopes=replace(scopes, allowed_w=allowed_w, ramp_w=allowed_w, over_var=calm))
