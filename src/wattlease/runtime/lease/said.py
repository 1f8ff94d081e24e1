"""What was logged already: trouble that repeats is said once, in bounded memory."""

from __future__ import annotations

import logging
import re

SAID_MAX = 1024
REASON_MAX = 300


class Said:
    """Logs each distinct thing once; numbers in it do not make it another. The oldest is forgotten first."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: dict[tuple[str, str], None] = {}

    def once(self, level: int, about: str, reason: str) -> bool:
        """Log it, unless it was; say whether it was new."""
        shown = reason[:REASON_MAX]
        key = (about, re.sub(r"\d+", "#", shown))
        if key in self._said:
            return False
        if len(self._said) >= SAID_MAX:
            del self._said[next(iter(self._said))]
        self._said[key] = None
        self._log.log(level, "%s: %s", about, shown.encode("unicode_escape").decode())
        return True

    def forget(self, about: str) -> bool:
        """It is over: were it to come again, it would be news. Say whether there was anything."""
        over = [key for key in self._said if key[0] == about]
        for key in over:
            del self._said[key]
        return bool(over)
