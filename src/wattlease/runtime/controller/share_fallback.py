"""What a cluster falls back to, over restarts: what its facility last guaranteed, else what its budget says."""

from __future__ import annotations

import logging

import orjson

from wattlease.runtime.controller.lasting import Kept

log = logging.getLogger(__name__)


class ShareFallback:
    """`watts_w` is in force as soon as it is saved; before the first `load` it is what the budget guarantees."""

    def __init__(self, kept: Kept, guaranteed_w: float) -> None:
        self._kept = kept
        self.watts_w = self._guaranteed_w = guaranteed_w

    def load(self) -> None:
        """Take up what this or another process saved; what is of no use is told. Blocks."""
        try:
            self.watts_w = max(0.0, float(orjson.loads(self._kept.read())["fallback_w"]))
        except FileNotFoundError:
            self.watts_w = self._guaranteed_w
        except (OSError, ValueError, TypeError, KeyError) as trouble:
            log.error("%s: %s; the budget's guaranteed watts are fallen back to", self._kept, trouble)
            self.watts_w = self._guaranteed_w

    def save(self, watts_w: float) -> None:
        """Fall back to this from now on. Blocks; raises OSError, and the old one holds."""
        if watts_w != self.watts_w:
            self._kept.write(orjson.dumps({"fallback_w": watts_w}))
            self.watts_w = watts_w
