"""The report of a simulation: one page with pictures that works offline, and `summary.json` beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wattlease.core import explain
from wattlease.runtime.document.page import add_plotly, figure, page, section, tiles
from wattlease.runtime.document.picture import Picture
from wattlease.sim.charts import battery, power, stacked, varies
from wattlease.sim.charts_jobs import job_speeds, policies, slowdowns
from wattlease.sim.picture import time_text
from wattlease.sim.run import Overlay, Run
from wattlease.sim.summary import EVENT_HEAD, Summary, comparison, duration, event_rows, share, summary, summary_json

FEW_JOBS = 40
"""More jobs than this are shown by class, not by name."""

MOST_EVENTS = 500


def write_report(runs: Sequence[Run], folder: Path, overlay: Overlay | None = None) -> list[Summary]:
    """Write report.html, plotly.min.js and summary.json into the folder; `overlay` is drawn beside the main run.

    The main run is the one under Wattlease, or else the last one.
    """
    summaries = [summary(run) for run in runs]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_bytes(summary_json(summaries))
    (folder / "report.html").write_text(report(runs, summaries, overlay), encoding="utf-8")
    add_plotly(folder)
    return summaries


def report(runs: Sequence[Run], summaries: Sequence[Summary], overlay: Overlay | None = None) -> str:
    """The report as HTML."""
    k = next((i for i, run in enumerate(runs) if run.policy.lower() == "wattlease"), len(runs) - 1)
    run, main = runs[k], summaries[k]
    others = [r for r in runs if r is not run]
    parts = [_tiles(main)]
    if others:
        parts.append(section("All figures", comparison(summaries)))
    if rows := event_rows(summaries):
        parts.append(section("Events", (EVENT_HEAD, *rows)))
    parts += [figure(p) for p in pictures(run, others, summaries, overlay)]
    if not others:
        parts.append(section("All figures", comparison(summaries)))
    parts += [_log(run), _facts(main)]
    return page(f"{run.name}: {run.policy}", _subtitle(main), parts)


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


def _subtitle(main: Summary) -> str:
    begin, end = time_text(main.start_s, long=True), time_text(main.start_s + main.duration_s, long=True)
    return f"{begin} to {end} UTC · {explain.span(main.duration_s)} simulated · seed {main.seed}"


def _tiles(main: Summary) -> str:
    shown = [("over the limit", duration(main.over_s), "bad" if main.over_s else "good")]
    shown += [("contracts broken", f"{main.breaches:,}", "bad" if main.breaches else "good")]
    if main.events:
        event = main.events[0]
        shown += [
            ("event settled in", duration(event.settle_s), ""),
            ("speed kept in it", share(event.throughput_frac), ""),
        ]
    shown += [
        ("work done", f"{main.work_gpu_h:,.0f} GPU-h", ""),
        ("energy", f"{main.energy_kwh:,.0f} kWh", ""),
        ("highest minute", explain.watts(main.peak_minute_w), ""),
    ]
    if main.bill.total:
        shown.append(("bill", f"{main.bill.total:,.2f}", ""))
    return tiles(shown)


def _log(run: Run) -> str:
    if not run.events:
        return ""
    events = sorted(run.events, key=lambda e: e.t_s)
    rows = tuple((time_text(e.t_s, long=True), e.text) for e in events[:MOST_EVENTS])
    note = f"The first {MOST_EVENTS} of {len(events):,}." if len(events) > MOST_EVENTS else ""
    return section("What happened", (("time (UTC)", "what happened"), *rows), note)


def _facts(main: Summary) -> str:
    rows = tuple((name, f"{v:,.4g}" if isinstance(v, float) else str(v)) for name, v in main.facts.items())
    return section("Facts", (("fact", "value"), *rows)) if rows else ""
