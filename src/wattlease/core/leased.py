"""A site whose limit is leased from a larger one: what is kept free at the feed, and how fast it is released, is the
lessor's affair; here the lease is used to the full, and followed as fast as it rises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wattlease.core.memory import Memory
from wattlease.core.model import Snapshot


def risen(memory: Memory, snapshot: Snapshot) -> Memory:
    """The memory with which no ramp of its own and no noise holds the site back; where a meter is silent nothing
    rises."""
    scopes = memory.scopes
    told = {reading.scope for reading in snapshot.meters}
    blind = [bool(s.budget.spec.meters) and i not in told for i, s in enumerate(snapshot.site.scopes)]
    if len(scopes.allowed_w) != len(blind):
        return memory
    allowed_w = np.where(blind, scopes.allowed_w, np.nan)
    return replace(memory, scopes=replace(scopes, allowed_w=allowed_w, over_var=np.zeros(len(blind))))
