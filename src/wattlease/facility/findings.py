"""One thing that the doctor tried."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was tried, what it said, how old that was and how long it took; `fix` says what to do where not `ok`."""

    name: str
    kind: str
    ok: bool
    verdict: str
    read: str = ""
    age_s: float | None = None
    took_s: float | None = None
    fix: str = ""
