"""How a process that hears thousands of reports a second, or simulates weeks, counts its memory."""

from __future__ import annotations

import gc


def collect_rarely() -> None:
    """Look for unreachable cycles some hundred times less often; called once, by a process that ticks.

    Reports, grants and plans are trees: counting references frees them at once. Each second's reports would else pass
    for new garbage, and the search through all of them takes two fifths of a grantor's time and holds up every answer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
