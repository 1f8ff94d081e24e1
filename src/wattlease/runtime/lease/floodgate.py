"""How often one caller may ask."""

from __future__ import annotations

CALLERS_MAX = 16_384


class Floodgate:
    """Lets each caller through `rate_hz` times a second on average, and `burst` times at once."""

    def __init__(self, rate_hz: float, burst: int) -> None:
        self._spacing_s = 1.0 / rate_hz
        self._slack_s = (burst - 1) * self._spacing_s
        self._due_s: dict[str, float] = {}

    def admits(self, caller: str, now_s: float) -> bool:
        """Whether it may ask now; if so it has asked. Of too many callers the one longest silent is forgotten."""
        due_s = self._due_s.pop(caller, now_s)
        admitted = due_s - self._slack_s <= now_s
        self._due_s[caller] = max(due_s, now_s) + self._spacing_s if admitted else due_s
        if len(self._due_s) > CALLERS_MAX:
            del self._due_s[next(iter(self._due_s))]
        return admitted
