"""A run in figures: for `summary.json`, for the terminal and for the report, from one place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import orjson
from rich.table import Table

from wattlease.core import explain
from wattlease.sim.measures import (
    MINUTE_S,
    Bill,
    ClassResult,
    bill,
    class_results,
    edges,
    energy_j,
    lowering,
    max_rise_w,
    mean,
    one_minute_means,
    seconds_over,
    settle_s,
)
from wattlease.sim.run import Event, Run

AFTER_S = 1800.0
"""How long after an event's end the site is watched."""


@dataclass(frozen=True, slots=True)
class EventResult:
    """How a run rode one lowered limit: `limit_w` held for most of the event, `settle_s` was the time to get there.

    `mean_w`, `worst_minute_w` and `throughput_frac` are of the part after that; `rise_w` is the steepest rise of a
    minute's mean in the release, from the event's end until its ramp is over; `after_rise_w` that of the half hour
    after the event, most of which is the site's own.
    """

    text: str
    start_s: float
    end_s: float
    settle_s: float
    limit_w: float
    mean_w: float
    worst_minute_w: float
    throughput_frac: float
    rise_w: float
    after_rise_w: float


@dataclass(frozen=True, slots=True)
class Summary:
    """All figures of a run. `over_s` is held against the meter's window; `throughput_frac` is GPU-weighted."""

    name: str
    policy: str
    seed: int
    start_s: float
    duration_s: float
    over_s: float
    worst_minute_over_w: float
    peak_minute_w: float
    energy_kwh: float
    work_gpu_h: float
    throughput_frac: float
    breaches: int
    cost: float
    bill: Bill
    classes: tuple[ClassResult, ...]
    events: tuple[EventResult, ...]
    facts: dict[str, float | str]


def summary(run: Run) -> Summary:
    """Every figure of the run."""
    start_s, end_s = edges(run.t_s)[[0, -1]].tolist()
    _, feed_w = one_minute_means(run.t_s, run.feed_w)
    _, limit_w = one_minute_means(run.t_s, run.limit_w)
    speed = run.throughput_frac
    return Summary(
        name=run.name,
        policy=run.policy,
        seed=run.seed,
        start_s=start_s,
        duration_s=end_s - start_s,
        over_s=seconds_over(run.t_s, run.feed_w, run.limit_w, run.meter_window_s),
        worst_minute_over_w=float(max(np.max(feed_w - limit_w, initial=0.0), 0.0)),
        peak_minute_w=float(np.max(feed_w, initial=0.0)),
        energy_kwh=energy_j(run.t_s, run.feed_w) / 3.6e6,
        work_gpu_h=sum(j.work_gpu_h for j in run.jobs),
        throughput_frac=mean(run.t_s, speed, start_s, end_s) if len(speed) else math.nan,
        breaches=sum(j.breaches for j in run.jobs),
        cost=sum(j.cost for j in run.jobs),
        bill=bill(run.t_s, run.feed_w, run.energy_per_kwh, run.carbon_g_per_kwh, run.tariff),
        classes=class_results(run.jobs),
        events=tuple(_event_result(run, e) for e in lowering(run)),
        facts=dict(run.facts),
    )


def _event_result(run: Run, event: Event) -> EventResult:
    end_s = min(event.end_s, float(edges(run.t_s)[-1]))
    # the level that was asked for, ramp apart: following a ramp late must not count as settled early
    level_w = float(np.median(run.limit_w[(run.t_s >= event.t_s) & (run.t_s < end_s)]))
    took_s = settle_s(run.t_s, run.feed_w, np.full(len(run.t_s), level_w), event.t_s, end_s)
    from_s = event.t_s + (took_s if math.isfinite(took_s) else 0.0)
    minutes, feed_w = one_minute_means(run.t_s, run.feed_w, event.t_s)
    settled = feed_w[(minutes >= from_s - 1e-6) & (minutes + MINUTE_S <= end_s + 1e-6)]
    return EventResult(
        text=event.text,
        start_s=event.t_s,
        end_s=end_s,
        settle_s=took_s,
        limit_w=level_w,
        mean_w=mean(run.t_s, run.feed_w, from_s, end_s),
        worst_minute_w=float(np.max(settled, initial=0.0)),
        throughput_frac=mean(run.t_s, run.throughput_frac, from_s, end_s) if len(run.throughput_frac) else math.nan,
        rise_w=max_rise_w(run.t_s, run.feed_w, end_s - 2 * MINUTE_S, end_s + _release_s(run, end_s)),
        after_rise_w=max_rise_w(run.t_s, run.feed_w, end_s - 2 * MINUTE_S, end_s + AFTER_S),
    )


def _release_s(run: Run, end_s: float) -> float:
    """How long the ramp takes from the limit at an event's end to the one after it, at most until AFTER_S."""
    after = np.flatnonzero(run.t_s >= end_s)
    if not len(after):
        return 0.0
    risen_w = float(run.limit_w[after[0]] - run.limit_w[max(after[0] - 1, 0)])
    return min(max(risen_w, 0.0) / run.ramp_w_per_s, AFTER_S)


def summary_json(summaries: Sequence[Summary]) -> bytes:
    """The content of `summary.json`; what is not known, or never happened, is null."""
    return orjson.dumps({"runs": [asdict(s) for s in summaries]}, option=orjson.OPT_INDENT_2)


Row = tuple[str, Callable[[Summary], str]]

ROWS: tuple[Row, ...] = (
    ("over the limit", lambda s: f"{s.over_s:,.0f} s"),
    ("worst minute over", lambda s: f"{s.worst_minute_over_w / 1000:,.2f} kW"),
    ("highest minute", lambda s: f"{s.peak_minute_w / 1000:,.1f} kW"),
    ("energy", lambda s: f"{s.energy_kwh:,.1f} kWh"),
    ("work done", lambda s: f"{s.work_gpu_h:,.1f} GPU-h"),
    ("speed of the mean GPU", lambda s: share(s.throughput_frac)),
    ("contracts broken", lambda s: f"{s.breaches:,}"),
    ("bill", lambda s: f"{s.bill.total:,.2f}"),
)
"""What is said of every run, on the terminal and in the report."""


def share(value: float) -> str:
    """A fraction in percent, a dash where it is not known."""
    return f"{value:.1%}" if math.isfinite(value) else "–"


def duration(value_s: float) -> str:
    """Seconds in words."""
    return explain.span(value_s) if math.isfinite(value_s) else "never"


def comparison(summaries: Sequence[Summary]) -> tuple[tuple[str, ...], ...]:
    """A head, then a row per figure with a cell per run."""
    classes = dict.fromkeys(c.job_class for s in summaries for c in s.classes)
    return (
        ("", *(s.policy for s in summaries)),
        *((name, *(text(s) for s in summaries)) for name, text in ROWS),
        *((f"slowdown p50 / p99, {c}", *(_slowdown(s, c) for s in summaries)) for c in classes),
    )


def _slowdown(summary: Summary, job_class: str) -> str:
    for c in summary.classes:
        if c.job_class == job_class and math.isfinite(c.p99_slowdown):
            return f"{c.p50_slowdown:.3f} / {c.p99_slowdown:.3f}"
    return "–"


EVENT_HEAD = ("policy", "event", "settled in", "limit", "mean", "worst minute", "speed kept", "steepest rise")


def event_rows(summaries: Sequence[Summary]) -> list[tuple[str, ...]]:
    """A row per run and lowered limit, under `EVENT_HEAD`."""
    return [
        (
            s.policy,
            e.text,
            duration(e.settle_s),
            f"{e.limit_w / 1000:,.1f} kW",
            f"{e.mean_w / 1000:,.1f} kW",
            f"{e.worst_minute_w / 1000:,.1f} kW",
            share(e.throughput_frac),
            f"{e.rise_w / 1000:,.1f} kW/min",
        )
        for s in summaries
        for e in s.events
    ]


def tables(summaries: Sequence[Summary]) -> list[Table]:
    """What the terminal shows: the runs side by side, and how each rode the events."""
    head, *rows = comparison(summaries)
    shown = [_table(head, rows, title=summaries[0].name)]
    if events := event_rows(summaries):
        shown.append(_table(EVENT_HEAD, events))
    return shown


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    table = Table(title=title, box=None, pad_edge=False, header_style="bold", title_justify="left")
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i == 0 or name == "event" else "right")
    for row in rows:
        table.add_row(*row)
    return table
