"""The report's pictures of jobs and policies: who kept what speed, and what each policy came to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wattlease.runtime.document.picture import Figure, Picture
from wattlease.sim.measures import lowering, mean
from wattlease.sim.picture import DRAW, LIMIT, STACK
from wattlease.sim.run import Event, Run
from wattlease.sim.summary import Summary, comparison, share


def job_speeds(run: Run) -> Picture:
    """Each job's speed against the least that its class allows: in the events if there are any, else while it ran."""
    spans = lowering(run)
    kept = [(j, _speed_in(run, j.name, spans, j.speed_frac)) for j in run.jobs]
    names = [f"{j.name} · {j.job_class}" for j, _ in kept]
    least = [1 - j.loss_frac for j, _ in kept]
    broken = [name for name, (j, _) in zip(names, kept, strict=True) if j.breaches]
    words = (
        f"{len(broken)} jobs broke their class: {', '.join(broken)}." if broken else "Every job kept within its class."
    )
    traces = [
        {"type": "bar", "orientation": "h", "name": "speed kept", "y": names, "x": [100 * s for _, s in kept],
         "marker": {"color": f"{DRAW}99"}, "text": [share(s) for _, s in kept], "textposition": "inside",
         "insidetextanchor": "start"},
        {"type": "scatter", "mode": "markers", "name": "least allowed", "y": names, "x": [100 * f for f in least],
         "marker": {"symbol": "line-ns", "size": 20, "line": {"width": 4, "color": LIMIT}}},
    ]  # fmt: skip
    table = (
        ("job", "class", "GPUs", "speed kept", "least allowed", "breaches", "last said"),
        *(
            (j.name, j.job_class, str(j.gpus), share(s), share(1 - j.loss_frac), str(j.breaches), j.sentence or "–")
            for j, s in kept
        ),
    )
    layout = {
        "xaxis": {"title": {"text": "% of uncapped speed"}, "range": [0, 105]},
        "yaxis": {"autorange": "reversed", "automargin": True},
    }
    title = "Speed of each job in the events" if spans and run.speeds else "Speed of each job"
    return Picture(title, words, table, traces, layout, 130 + 34 * len(kept))


def _speed_in(run: Run, job: str, spans: Sequence[Event], otherwise: float) -> float:
    columns = [s.speed_frac for s in run.speeds if s.job == job]
    inside = [mean(run.t_s, columns[0], e.t_s, e.end_s) for e in spans] if columns else []
    known = [v for v in inside if np.isfinite(v)]
    return float(np.mean(known)) if known else otherwise


def slowdowns(run: Run) -> Picture:
    """For many jobs: what share of each class was slowed down by no more than so much."""
    groups: dict[str, list[float]] = {}
    for job in sorted(run.jobs, key=lambda j: (j.loss_frac, j.job_class)):
        if np.isfinite(job.slowdown):
            groups.setdefault(job.job_class, []).append(job.slowdown)
    ranks = np.linspace(0, 1, 201)
    at = {name: np.quantile(values, ranks) for name, values in groups.items()}
    traces = [
        {"type": "scatter", "mode": "lines", "name": name, "x": (q - 1) * 100, "y": ranks * 100,
         "line": {"color": STACK[i % len(STACK)], "width": 2}}
        for i, (name, q) in enumerate(at.items())
    ]  # fmt: skip
    table = (
        ("class", "ended", "p50", "p90", "p99", "worst"),
        *(
            (name, f"{len(groups[name]):,}", *(f"{np.quantile(groups[name], p):.3f}" for p in (0.5, 0.9, 0.99, 1.0)))
            for name in at
        ),
    )
    words = "; ".join(f"{name}: 99 % slowed by at most {max(q[198] - 1, 0):.1%}" for name, q in at.items()) + "."
    layout = {"xaxis": {"title": {"text": "slowdown, %"}}, "yaxis": {"title": {"text": "% of the jobs that ended"}}}
    return Picture("Slowdown by class", words, table, traces, layout)


def policies(summaries: Sequence[Summary]) -> Picture:
    """The policies side by side: a row of bars for each measure."""
    names = [s.policy for s in summaries]
    measures: tuple[tuple[str, list[float]], ...] = (
        ("seconds over the limit", [s.over_s for s in summaries]),
        ("work done, GPU-h", [s.work_gpu_h for s in summaries]),
        ("energy, kWh", [s.energy_kwh for s in summaries]),
        ("bill", [s.bill.total for s in summaries]),
    )
    shown = [(name, values) for name, values in measures if any(values)]
    traces: list[Figure] = []
    layout: Figure = {"showlegend": False, "annotations": []}
    for i, (name, values) in enumerate(shown):
        axis, top = "" if i == 0 else str(i + 1), 1 - i / len(shown)
        traces.append(_bars(name, names, values, axis))
        layout["annotations"].append(_heading(name, top))
        hidden = {"visible": False, "range": [0, 1.18 * max(values)], "anchor": f"y{axis}", "fixedrange": True}
        layout[f"xaxis{axis}"] = hidden
        layout[f"yaxis{axis}"] = {
            "domain": [top - 0.74 / len(shown), top - 0.12 / len(shown)],
            "autorange": "reversed", "automargin": True, "anchor": f"x{axis}", "fixedrange": True, "showgrid": False,
        }  # fmt: skip
    words = " ".join(f"{s.policy}: {s.over_s:,.0f} s over the limit, {s.work_gpu_h:,.0f} GPU-h." for s in summaries)
    height_px = 60 + len(shown) * (40 + 26 * len(names))
    return Picture("Policies compared", words, comparison(summaries), traces, layout, height_px)


def _bars(measure: str, names: list[str], values: list[float], axis: str) -> Figure:
    colours = [STACK[k % len(STACK)] for k in range(len(names))]
    return {
        "type": "bar", "orientation": "h", "name": measure, "x": values, "y": names, "xaxis": f"x{axis}",
        "yaxis": f"y{axis}", "marker": {"color": colours}, "text": [f"{v:,.0f}" for v in values],
        "textposition": "outside", "cliponaxis": False,
    }  # fmt: skip


def _heading(text: str, top: float) -> Figure:
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": top, "xanchor": "left", "yanchor": "top"}
    return place | {"text": text, "showarrow": False}
