"""Calls that are turned away: with which status, how often, and each distinct one logged once."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from wattlease.runtime.lease.said import Said

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status and what the caller is told; it never repeats what the caller sent."""

    status: int
    reason: str


class Refusals:
    """The refusals of one service."""

    def __init__(self) -> None:
        self.count: Counter[int] = Counter()
        self._said = Said(log)

    def note(self, refusal: Refusal, who: str) -> None:
        """Count it, and log it unless the like of it was; `who` is a verified name, else an address."""
        self.count[refusal.status] += 1
        self._said.once(logging.WARNING, f"refused {who} status={refusal.status}", refusal.reason)
