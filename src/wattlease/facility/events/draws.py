"""The site's draw of late: what events that ask for a difference are measured from."""

from __future__ import annotations

import math
from collections import deque

SPAN_S = 900.0
"""The mean is over the last quarter of an hour, or as much of it as was watched."""


class Draws:
    """Samples of the last SPAN_S."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, now_s: float, power_w: float | None) -> None:
        """Note a look; None or NaN where nobody knows."""
        while self._samples and self._samples[0][0] < now_s - SPAN_S:
            self._samples.popleft()
        if power_w is not None and math.isfinite(power_w) and not (self._samples and now_s <= self._samples[-1][0]):
            self._samples.append((now_s, power_w))

    def mean_w(self) -> float | None:
        """The mean; None where nothing was seen of late."""
        return math.fsum(w for _, w in self._samples) / len(self._samples) if self._samples else None
