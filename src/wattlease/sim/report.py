"""The report of a simulation: one page with pictures that works offline, and `summary.json` beside it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from html import escape
from importlib.resources import as_file, files
from pathlib import Path
from string import Template

import numpy as np
import orjson

from wattlease.core import explain
from wattlease.sim.charts import battery, power, stacked, varies
from wattlease.sim.charts_jobs import job_speeds, policies, slowdowns
from wattlease.sim.picture import Picture, Table, time_text
from wattlease.sim.run import Overlay, Run
from wattlease.sim.summary import EVENT_HEAD, Summary, comparison, duration, event_rows, share, summary, summary_json

FEW_JOBS = 40
"""More jobs than this are shown by class, not by name."""

MOST_EVENTS = 500
LONG_COLUMNS = frozenset({"last said", "what happened", "event", "value"})

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
<script src="plotly.min.js"></script>
<script>
$js</script>
</body>
</html>
""")


def write_report(runs: Sequence[Run], folder: Path, overlay: Overlay | None = None) -> list[Summary]:
    """Write report.html, plotly.min.js and summary.json into the folder; `overlay` is drawn beside the main run.

    The main run is the one under Wattlease, or else the last one.
    """
    summaries = [summary(run) for run in runs]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_bytes(summary_json(summaries))
    (folder / "report.html").write_text(page(runs, summaries, overlay), encoding="utf-8")
    with as_file(files("plotly") / "package_data" / "plotly.min.js") as script:
        shutil.copyfile(script, folder / "plotly.min.js")
    return summaries


def page(runs: Sequence[Run], summaries: Sequence[Summary], overlay: Overlay | None = None) -> str:
    """The report as HTML."""
    k = next((i for i, run in enumerate(runs) if run.policy.lower() == "wattlease"), len(runs) - 1)
    run, main = runs[k], summaries[k]
    others = [r for r in runs if r is not run]
    parts = [_tiles(main)]
    if others:
        parts.append(_section("All figures", comparison(summaries)))
    if rows := event_rows(summaries):
        parts.append(_section("Events", (EVENT_HEAD, *rows)))
    parts += [_figure(p) for p in pictures(run, others, summaries, overlay)]
    if not others:
        parts.append(_section("All figures", comparison(summaries)))
    parts += [_log(run), _facts(main)]
    return PAGE.substitute(
        title=escape(f"{run.name}: {run.policy}"),
        subtitle=escape(_subtitle(main)),
        css=_static("report.css"),
        js=_static("report.js"),
        body="\n".join(filter(None, parts)),
    )


def pictures(run: Run, others: Sequence[Run], summaries: Sequence[Summary], overlay: Overlay | None) -> list[Picture]:
    """The pictures that this run has something for, in the order of the page."""
    shown = [power(run, others, overlay)]
    if others:
        shown.append(policies(summaries))
    if run.series:
        shown.append(stacked(run))
    if len(run.storage_w) or varies(run.energy_per_kwh):
        shown.append(battery(run))
    if 0 < len(run.jobs) <= FEW_JOBS:
        shown.append(job_speeds(run))
    elif any(np.isfinite(j.slowdown) for j in run.jobs):
        shown.append(slowdowns(run))
    return shown


def _static(name: str) -> str:
    return (files("wattlease.sim") / "static" / name).read_text(encoding="utf-8")


def _subtitle(main: Summary) -> str:
    begin, end = time_text(main.start_s, long=True), time_text(main.start_s + main.duration_s, long=True)
    return f"{begin} to {end} UTC · {explain.span(main.duration_s)} simulated · seed {main.seed}"


def _tiles(main: Summary) -> str:
    tiles = [("over the limit", duration(main.over_s), "bad" if main.over_s else "good")]
    tiles += [("contracts broken", f"{main.breaches:,}", "bad" if main.breaches else "good")]
    if main.events:
        event = main.events[0]
        tiles += [
            ("event settled in", duration(event.settle_s), ""),
            ("speed kept in it", share(event.throughput_frac), ""),
        ]
    tiles += [
        ("work done", f"{main.work_gpu_h:,.0f} GPU-h", ""),
        ("energy", f"{main.energy_kwh:,.0f} kWh", ""),
        ("highest minute", explain.watts(main.peak_minute_w), ""),
    ]
    if main.bill.total:
        tiles.append(("bill", f"{main.bill.total:,.2f}", ""))
    cells = (f'<div><dt>{escape(name)}</dt><dd class="{tone}">{escape(text)}</dd></div>' for name, text, tone in tiles)
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def _section(title: str, table: Table, note: str = "") -> str:
    words = f'<p class="soft">{escape(note)}</p>' if note else ""
    return f"<section>\n<h2>{escape(title)}</h2>{words}\n{_table(table)}\n</section>"


def _figure(picture: Picture) -> str:
    # "<" would let a name leave the script element, or be markup to plotly, which reads the entity as the character
    data = orjson.dumps({"traces": picture.traces, "layout": picture.layout}, option=orjson.OPT_SERIALIZE_NUMPY)
    inert = data.decode().replace("<", "&lt;")
    words = escape(picture.words)
    return f"""<figure>
<h2>{escape(picture.title)}</h2>
<figcaption>{words}</figcaption>
<div class="plot" role="img" aria-label="{escape(picture.title)}: {words}" style="height:{picture.height_px}px"></div>
<script type="application/json">{inert}</script>
<details><summary>The same as a table</summary>
{_table(picture.table)}
</details>
</figure>"""


def _table(table: Table) -> str:
    head, *rows = table
    kinds = [' class="long"' if name in LONG_COLUMNS else "" for name in head]
    cells = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(head, kinds, strict=True))
    lines = ("".join(f"<td{k}>{escape(text)}</td>" for text, k in zip(row, kinds, strict=True)) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{cells}</tr></thead>\n<tbody>{body}</tbody></table></div>'
    )


def _log(run: Run) -> str:
    if not run.events:
        return ""
    events = sorted(run.events, key=lambda e: e.t_s)
    rows = tuple((time_text(e.t_s, long=True), e.text) for e in events[:MOST_EVENTS])
    note = f"The first {MOST_EVENTS} of {len(events):,}." if len(events) > MOST_EVENTS else ""
    return _section("What happened", (("time (UTC)", "what happened"), *rows), note)


def _facts(main: Summary) -> str:
    rows = tuple((name, f"{v:,.4g}" if isinstance(v, float) else str(v)) for name, v in main.facts.items())
    return _section("Facts", (("fact", "value"), *rows)) if rows else ""
