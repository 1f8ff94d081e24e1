"""The last half hour of a site's draw as a line of bars."""

from __future__ import annotations

from rich.text import Text

from wattlease.runtime.live_words import SPAN_S, SeenPast

BARS = " ▁▂▃▄▅▆▇█"
STEPS = len(BARS) - 1


def spark(past: SeenPast, now_s: float, width: int, rows: int = 1) -> list[Text]:
    """A bar for each part of the half hour that ended at `now_s`: its peak, red where the limit was passed.

    The highest limit or draw of the half hour is as high as all rows; a part of which nothing is known is blank.
    """
    top_w = max((w for column in (past.limit_w, past.draw_w) for w in column if w is not None), default=0.0)
    lines = [Text() for _ in range(rows)]
    for peak_w, over in _peaks(past, now_s, width):
        steps = max(round(peak_w / top_w * rows * STEPS), 1) if top_w > 0 and peak_w > 0 else 0
        for row, line in enumerate(reversed(lines)):
            line.append(BARS[min(max(steps - row * STEPS, 0), STEPS)], "red" if over else "green")
    return lines


def _peaks(past: SeenPast, now_s: float, width: int) -> list[tuple[float, bool]]:
    """The highest draw of each part, and whether it passed the limit there."""
    peaks = [(0.0, False)] * width
    for t_s, limit_w, draw_w in zip(past.t_s, past.limit_w, past.draw_w, strict=True):
        part = width - 1 - int((now_s - t_s) / SPAN_S * width)
        if draw_w is not None and 0 <= part < width:
            peak_w, over = peaks[part]
            peaks[part] = max(peak_w, draw_w), over or (limit_w is not None and draw_w > limit_w)
    return peaks
