"""Which grants are worth a line: the first, the first after none, large changes now and then; the rest is detail."""

from __future__ import annotations

import logging

from wattlease.core.lease import Grant
from wattlease.runtime.lease.clock import Now, steady_s

LARGE_FRAC = 0.1
"""Of the watts last told; a plan that follows its jobs moves a few percent each second."""

EVERY_S = 10.0

log = logging.getLogger(__name__)


class GrantLog:
    """Logs grants; `None` is the end of one, which the lease's client tells of."""

    def __init__(self, clock: Now = steady_s) -> None:
        self._clock = clock
        self._told_w: float | None = None
        self._told_s = float("-inf")

    def note(self, grant: Grant | None) -> None:
        """Take what is granted now."""
        if grant is None:
            self._told_w = None
            return
        news = self._is_news(grant.watts_w)
        if news:
            self._told_w, self._told_s = grant.watts_w, self._clock()
        level = logging.INFO if news else logging.DEBUG
        log.log(level, "grant watts_w=%.0f fallback_w=%.0f ttl_s=%g", grant.watts_w, grant.fallback_w, grant.ttl_s)

    def _is_news(self, watts_w: float) -> bool:
        if self._told_w is None:
            return True
        large = abs(watts_w - self._told_w) > LARGE_FRAC * self._told_w
        return large and self._clock() - self._told_s >= EVERY_S
