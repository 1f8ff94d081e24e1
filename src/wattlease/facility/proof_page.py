"""A proof as one page that needs nothing else: verdict, chart, how the baseline was made, and what each job paid."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
import orjson

from wattlease.core import explain
from wattlease.core.model import Floats
from wattlease.facility.proof import Minutes, Proof

DRAW, LIMIT, BASE = "#4477aa", "#cc4455", "#888888"
MOST_JOBS = 200

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
$css</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="soft">$subtitle</p>
</header>
<main>
$body
</main>
<script>$plotly</script>
<script>
$js</script>
</body>
</html>
""")

Rows = list[tuple[str, ...]]


def page(found: Proof, by_minute: Minutes, tz: tzinfo) -> str:
    """The page as HTML, times in the zone; the chart's library is inside, so that the file can be sent alone."""
    event = found.event
    cancelled = f", cancelled; it was to end at {_time(event.planned_end_s, tz)}" if event.was_cancelled else ""
    subtitle = f"{event.scope} · {_time(event.start_s, tz)} to {_time(event.end_s, tz)} ({tz}){cancelled}"
    body = [_tiles(found), _figure(found, by_minute, tz), _section("Measured", _facts(found)), _jobs(found)]
    plotly = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    return PAGE.substitute(
        title=escape(f"Event {event.name}"), subtitle=escape(subtitle), css=_static("proof.css"),
        js=_static("proof.js"), plotly=plotly.replace("</script", "<\\/script"), body="\n".join(body),
    )  # fmt: skip


def _static(name: str) -> str:
    return (files("wattlease.facility") / "static" / name).read_text(encoding="utf-8")


def _time(at_s: float, tz: tzinfo) -> str:
    return datetime.fromtimestamp(at_s, tz).strftime("%Y-%m-%d %H:%M:%S")


def _tiles(found: Proof) -> str:
    tiles = [
        ("asked", explain.watts(found.asked_w), ""),
        ("delivered", explain.watts(found.delivered_w), "good" if found.delivered_w >= found.asked_w else "bad"),
        ("delivered for asked", _share(found.performance), ""),
        ("settled in", explain.span(found.settle_s) if math.isfinite(found.settle_s) else "never", ""),
        ("energy over the limit", f"{found.over_kwh:,.2f} kWh", "bad" if found.over_kwh >= 0.005 else "good"),
        ("lasted", explain.span(found.duration_s), ""),
        ("jobs paid", f"{found.cost:,.2f}", ""),
    ]
    cells = (f'<div><dt>{escape(name)}</dt><dd class="{tone}">{escape(text)}</dd></div>' for name, text, tone in tiles)
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def _facts(found: Proof) -> Rows:
    return [
        ("what", "value"),
        ("baseline", f"{explain.watts(found.baseline_w)}: {found.baseline.method}, {found.baseline.words}"),
        ("limit asked for, mean", explain.watts(found.limit_w)),
        ("drawn, mean", explain.watts(found.draw_w)),
        ("energy delivered", f"{found.delivered_kwh:,.2f} kWh"),
        ("energy allowed and not drawn", f"{found.unused_kwh:,.2f} kWh"),
        ("highest minute in the event", explain.watts(found.highest_w)),
        ("highest minute in the hour after", _snap_back(found)),
        ("not recorded", explain.span(found.missing_s)),
    ]


def _snap_back(found: Proof) -> str:
    if not math.isfinite(found.snap_back_w):
        return "not recorded"
    side = "above" if found.snap_back_w >= 0 else "below"
    highest_w = found.baseline_w + found.snap_back_w
    return f"{explain.watts(highest_w)}, {explain.watts(abs(found.snap_back_w))} {side} the baseline"


def _jobs(found: Proof) -> str:
    head = ("job", "name", "owner", "GPUs", "speed kept", "paused", "GPU-hours lost", "cost")
    rows = [
        (j.id, j.name, j.owner, str(j.gpus), _share(j.speed_frac), explain.span(j.paused_s),
         f"{j.lost_s * j.gpus / 3600:,.2f}", f"{j.cost:,.2f}")
        for j in found.jobs[:MOST_JOBS]
    ]  # fmt: skip
    more = len(found.jobs) - MOST_JOBS
    note = f"The dearest {MOST_JOBS}; {more:,} more stand in jobs.csv." if more > 0 else ""
    return _section("What each job paid", [head, *rows], note)


def _figure(found: Proof, by_minute: Minutes, tz: tzinfo) -> str:
    said = (
        f"Drew {explain.watts(found.draw_w)} in the mean where {explain.watts(found.baseline_w)} were expected and "
        f"{explain.watts(found.limit_w)} asked for."
    )
    data = orjson.dumps({"traces": _traces(by_minute, tz), "layout": _layout(found, tz)}).decode()
    return f"""<figure>
<h2>Draw, baseline and limit</h2>
<figcaption>{escape(said)}</figcaption>
<div class="plot" role="img" aria-label="{escape(said)}"></div>
<script type="application/json">{data.replace("<", "&lt;")}</script>
<details><summary>The same as a table</summary>
{_table(_minute_rows(by_minute, tz))}
</details>
</figure>"""


def _traces(by_minute: Minutes, tz: tzinfo) -> list[dict[str, Any]]:
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


def _layout(found: Proof, tz: tzinfo) -> dict[str, Any]:
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


def _minute_rows(by_minute: Minutes, tz: tzinfo) -> Rows:
    columns = (by_minute.draw_w, by_minute.baseline_w, by_minute.limit_w)
    cells = zip(_wall(by_minute.at_s, tz), *(map(_number, _kw(column)) for column in columns), strict=True)
    return [("from", "drawn, kW", "expected, kW", "limit, kW"), *cells]


def _number(kw: float | None) -> str:
    return "–" if kw is None else f"{kw:,.1f}"


def _share(frac: float) -> str:
    return f"{frac:.1%}" if math.isfinite(frac) else "–"


def _section(title: str, rows: Rows, note: str = "") -> str:
    words = f'<p class="soft">{escape(note)}</p>' if note else ""
    return f"<section>\n<h2>{escape(title)}</h2>{words}\n{_table(rows)}\n</section>"


def _table(rows: Rows) -> str:
    head, *body = rows
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "\n".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in body)
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{cells}</tr></thead>\n<tbody>{lines}</tbody></table></div>'
    )
