"""A proof as one page that needs nothing else: verdict, chart, how the baseline was made, and what each job paid."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo
from typing import Any

import numpy as np

from wattlease.core import explain
from wattlease.core.model import Floats
from wattlease.facility.proof import Minutes, Proof
from wattlease.runtime.document.page import figure, page, section, tiles
from wattlease.runtime.document.picture import Figure, Picture, Table

DRAW, LIMIT, BASE = "#4477aa", "#cc4455", "#888888"
MOST_JOBS = 200
HEIGHT_PX = 420


def proof_page(found: Proof, by_minute: Minutes, tz: tzinfo) -> str:
    """The page as HTML, times in the zone; the chart's library is inside, so that the file can be sent alone."""
    event = found.event
    cancelled = f", cancelled; it was to end at {_time(event.planned_end_s, tz)}" if event.was_cancelled else ""
    subtitle = f"{event.scope} · {_time(event.start_s, tz)} to {_time(event.end_s, tz)} ({tz}){cancelled}"
    parts = [_tiles(found), figure(_picture(found, by_minute, tz)), section("Measured", _facts(found)), _jobs(found)]
    return page(f"Event {event.name}", subtitle, parts, alone=True)


def _time(at_s: float, tz: tzinfo) -> str:
    return datetime.fromtimestamp(at_s, tz).strftime("%Y-%m-%d %H:%M:%S")


def _tiles(found: Proof) -> str:
    shown = [
        ("asked", explain.watts(found.asked_w), ""),
        ("delivered", explain.watts(found.delivered_w), "good" if found.delivered_w >= found.asked_w else "bad"),
        ("delivered for asked", _share(found.performance), ""),
        ("settled in", explain.span(found.settle_s) if math.isfinite(found.settle_s) else "never", ""),
        ("energy over the limit", f"{found.over_kwh:,.2f} kWh", "bad" if found.over_kwh >= 0.005 else "good"),
        ("lasted", explain.span(found.duration_s), ""),
        ("jobs paid", f"{found.cost:,.2f}", ""),
    ]
    return tiles(shown)


def _facts(found: Proof) -> Table:
    return (
        ("what", "value"),
        ("baseline", f"{explain.watts(found.baseline_w)}: {found.baseline.method}, {found.baseline.words}"),
        ("limit asked for, mean", explain.watts(found.limit_w)),
        ("drawn, mean", explain.watts(found.draw_w)),
        ("energy delivered", f"{found.delivered_kwh:,.2f} kWh"),
        ("energy allowed and not drawn", f"{found.unused_kwh:,.2f} kWh"),
        ("highest minute in the event", explain.watts(found.highest_w)),
        ("highest minute in the hour after", _snap_back(found)),
        ("not recorded", explain.span(found.missing_s)),
    )


def _snap_back(found: Proof) -> str:
    if not math.isfinite(found.snap_back_w):
        return "not recorded"
    side = "above" if found.snap_back_w >= 0 else "below"
    highest_w = found.baseline_w + found.snap_back_w
    return f"{explain.watts(highest_w)}, {explain.watts(abs(found.snap_back_w))} {side} the baseline"


def _jobs(found: Proof) -> str:
    head = ("job", "name", "owner", "GPUs", "speed kept", "paused", "GPU-hours lost", "cost")
    rows = (
        (j.id, j.name, j.owner, str(j.gpus), _share(j.speed_frac), explain.span(j.paused_s),
         f"{j.lost_s * j.gpus / 3600:,.2f}", f"{j.cost:,.2f}")
        for j in found.jobs[:MOST_JOBS]
    )  # fmt: skip
    more = len(found.jobs) - MOST_JOBS
    note = f"The dearest {MOST_JOBS}; {more:,} more stand in jobs.csv." if more > 0 else ""
    return section("What each job paid", (head, *rows), note)


def _picture(found: Proof, by_minute: Minutes, tz: tzinfo) -> Picture:
    said = (
        f"Drew {explain.watts(found.draw_w)} in the mean where {explain.watts(found.baseline_w)} were expected and "
        f"{explain.watts(found.limit_w)} asked for."
    )
    rows = _minute_rows(by_minute, tz)
    return Picture("Draw, baseline and limit", said, rows, _traces(by_minute, tz), _layout(found, tz), HEIGHT_PX)


def _traces(by_minute: Minutes, tz: tzinfo) -> list[Figure]:
    at = _wall(by_minute.at_s, tz)
    lines: tuple[tuple[str, Floats, str, dict[str, Any]], ...] = (
        ("expected without the event", by_minute.baseline_w, BASE, {"dash": "dash", "shape": "hv"}),
        ("drawn, one-minute means", by_minute.draw_w, DRAW, {}),
        ("allowed on the ramp", by_minute.allowed_w, LIMIT, {"dash": "dot", "width": 1.2}),
        ("limit asked for", by_minute.limit_w, LIMIT, {"shape": "hv"}),
    )
    return [
        {"type": "scatter", "mode": "lines", "name": name, "x": at, "y": _kw(watts),
         "line": {"color": colour, "width": 2} | style}
        for name, watts, colour, style in lines
    ]  # fmt: skip


def _layout(found: Proof, tz: tzinfo) -> Figure:
    x0, x1 = _wall(np.array([found.event.start_s, found.event.end_s]), tz)
    span = {"type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "x0": x0, "x1": x1, "layer": "below",
            "line": {"width": 0}, "fillcolor": "#cc445518"}  # fmt: skip
    xaxis = {"type": "date", "hoverformat": "%d %b %H:%M", "title": {"text": str(tz)}}
    return {"yaxis": {"title": {"text": "kW"}}, "xaxis": xaxis, "shapes": [span]}


def _wall(at_s: Floats, tz: tzinfo) -> list[str]:
    """Times on the wall: plotly shows a date without a zone as it stands."""
    return [datetime.fromtimestamp(at, tz).strftime("%Y-%m-%d %H:%M:%S") for at in at_s.tolist()]


def _kw(watts: Floats) -> list[float | None]:
    return [round(w / 1000, 3) if math.isfinite(w) else None for w in watts.tolist()]


def _minute_rows(by_minute: Minutes, tz: tzinfo) -> Table:
    columns = (by_minute.draw_w, by_minute.baseline_w, by_minute.limit_w)
    cells = zip(_wall(by_minute.at_s, tz), *(map(_number, _kw(column)) for column in columns), strict=True)
    return (("from", "drawn, kW", "expected, kW", "limit, kW"), *cells)


def _number(kw: float | None) -> str:
    return "–" if kw is None else f"{kw:,.1f}"


def _share(frac: float) -> str:
    return f"{frac:.1%}" if math.isfinite(frac) else "–"
