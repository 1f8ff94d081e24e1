"""The report's pictures over time: limit and draw, who draws, battery and prices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wattlease.core.model import Floats
from wattlease.runtime.document.picture import Figure, Picture, Table
from wattlease.sim.measures import edges, lowering, mean
from wattlease.sim.picture import (
    BATTERY,
    DRAW,
    FIELD,
    LIMIT,
    PLAN,
    PRICE,
    STACK,
    clock,
    line,
    time_axis,
    time_table,
)
from wattlease.sim.run import Overlay, Run
from wattlease.sim.thin import bin_bounds, corners, extremes, means


def power(run: Run, others: Sequence[Run] = (), overlay: Overlay | None = None) -> Picture:
    """Limit, plan and draw; other policies can be switched on in the legend."""
    bounds = bin_bounds(run.t_s)
    at_s, drawn_w = bounds[:-1], means(run.t_s, run.feed_w, bounds)
    low_w, high_w = extremes(run.t_s, run.feed_w, bounds)
    span = f"{_bin_text(bounds)} means"
    band: Figure = {"line": {"width": 0}, "hoverinfo": "skip"}
    traces = [
        line("lowest", at_s, low_w / 1000, DRAW, **band, showlegend=False),
        line("every sample", at_s, high_w / 1000, DRAW, **band, fill="tonexty", fillcolor="#4477aa33"),
        line(f"draw, {span}", at_s, drawn_w / 1000, DRAW),
        *_planned(run, bounds),
        line("limit", *_kw(corners(run.t_s, run.limit_w)), LIMIT, line={"shape": "hv"}),
        *(
            line(o.policy, bin_bounds(o.t_s)[:-1], means(o.t_s, o.feed_w, bin_bounds(o.t_s)) / 1000, STACK[i % 8],
                 line={"width": 1.2}, visible="legendonly")
            for i, o in enumerate(others, start=2)
        ),
    ]  # fmt: skip
    if overlay is not None:
        traces.append(line(overlay.label, overlay.t_s, overlay.power_w / 1000, FIELD, line={"width": 1.5}))
    layout = {"yaxis": {"title": {"text": "kW"}}, "xaxis": time_axis(run), "shapes": _spans(run)}
    table = _power_table(run, overlay)
    return Picture("Limit and draw", _power_words(run), table, traces, layout, 420)


def _kw(step: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    return step[0], step[1] / 1000


def _planned(run: Run, bounds: Floats) -> list[Figure]:
    if not len(run.planned_w):
        return []
    plan_kw = means(run.t_s, run.planned_w, bounds) / 1000
    return [line("planned", bounds[:-1], plan_kw, PLAN, line={"width": 1.2, "dash": "dot"})]


def _spans(run: Run) -> list[Figure]:
    """A shade behind every event that lowers the limit."""
    return [
        {"type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "x0": x[0], "x1": x[1], "layer": "below",
         "line": {"width": 0}, "fillcolor": "#cc445518"}
        for x in (clock(np.array([e.t_s, e.end_s])).tolist() for e in lowering(run))
    ]  # fmt: skip


def _bin_text(bounds: Floats) -> str:
    width_s = float(np.median(np.diff(bounds)))
    return "one-minute" if width_s == 60 else f"{width_s / 60:.0f}-minute" if width_s > 60 else f"{width_s:.0f} s"


def _power_words(run: Run) -> str:
    told = [
        f"In {event.text} it drew {mean(run.t_s, run.feed_w, event.t_s, event.end_s) / 1000:,.1f} kW in the mean."
        for event in lowering(run)[:3]
    ]
    return " ".join([f"Drew {run.feed_w.mean() / 1000:,.1f} kW in the mean over the whole run.", *told])


def _power_table(run: Run, overlay: Overlay | None) -> Table:
    columns = [("limit, kW", run.t_s, run.limit_w / 1000), ("draw, kW", run.t_s, run.feed_w / 1000)]
    if len(run.planned_w):
        columns.append(("planned, kW", run.t_s, run.planned_w / 1000))
    if overlay is not None:
        columns.append((f"{overlay.label}, kW", overlay.t_s, overlay.power_w / 1000))
    return time_table(run, columns)


def stacked(run: Run) -> Picture:
    """Who draws: one band per cluster and kind of work, with the limit above."""
    bounds = bin_bounds(run.t_s)
    several = len({s.cluster for s in run.series}) > 1
    names = [f"{s.cluster} · {s.kind}" if several else s.kind for s in run.series]
    traces = [
        line(name, bounds[:-1], means(run.t_s, s.power_w, bounds) / 1000, STACK[i % len(STACK)],
             stackgroup="draw", line={"width": 0.5})
        for i, (name, s) in enumerate(zip(names, run.series, strict=True))
    ]  # fmt: skip
    traces.append(line("limit", *_kw(corners(run.t_s, run.limit_w)), LIMIT, line={"shape": "hv"}))
    energy_w = {name: float(s.power_w.mean()) for name, s in zip(names, run.series, strict=True)}
    most = max(energy_w, key=lambda name: energy_w[name])
    words = f"{most} drew the most, {energy_w[most] / max(sum(energy_w.values()), 1e-9):.0%} of all."
    columns = [(f"{n}, kW", run.t_s, s.power_w / 1000) for n, s in zip(names, run.series, strict=True)]
    layout = {"yaxis": {"title": {"text": "kW"}, "rangemode": "tozero"}, "xaxis": time_axis(run)}
    return Picture("Draw by kind of work", words, time_table(run, columns), traces, layout)


def battery(run: Run) -> Picture:
    """What the battery gave and took, what it held, and the prices it answered to: rows of one picture."""
    bounds = bin_bounds(run.t_s)
    at_s = bounds[:-1]
    panels: list[tuple[str, list[Figure]]] = []
    if len(run.storage_w):
        given_kw = means(run.t_s, run.storage_w, bounds) / 1000
        held = means(run.t_s, run.soc_frac, bounds) * 100
        reserve = line(
            "reserve", edges(run.t_s)[[0, -1]], np.full(2, run.reserve_frac * 100), LIMIT, line={"dash": "dot"}
        )
        panels.append(
            ("kW given", [line("battery gives (takes below 0)", at_s, given_kw, BATTERY, line={"shape": "hv"})])
        )
        panels.append(("% charged", [line("charge", at_s, held, DRAW), reserve]))
    if varies(run.energy_per_kwh):
        price = line("energy price", *corners(run.t_s, run.energy_per_kwh), PRICE, line={"shape": "hv"})
        panels.append((f"{run.tariff.currency}/kWh", [price]))
    if varies(run.carbon_g_per_kwh):
        carbon = line("carbon", *corners(run.t_s, run.carbon_g_per_kwh), PLAN, line={"shape": "hv"})
        panels.append(("g CO₂/kWh", [carbon]))
    traces, layout = _panels(panels, time_axis(run))
    title = "Battery and prices" if len(run.storage_w) else "Prices"
    return Picture(title, _battery_words(run), _battery_table(run), traces, layout, 150 * len(panels) + 110)


def varies(column: Floats) -> bool:
    """Whether there is anything to draw."""
    known = column[np.isfinite(column)]
    return bool(len(known) and known.min() < known.max())


def _panels(panels: list[tuple[str, list[Figure]]], xaxis: Figure) -> tuple[list[Figure], Figure]:
    """Traces and layout of panels above one another that share their time."""
    traces: list[Figure] = []
    layout: Figure = {"xaxis": xaxis | {"anchor": f"y{len(panels)}" if len(panels) > 1 else "y"}}
    height = 1 / len(panels)
    for i, (unit, lines) in enumerate(panels):
        axis = "y" if i == 0 else f"y{i + 1}"
        top = 1 - i * height
        layout[axis.replace("y", "yaxis")] = {"domain": [top - height * 0.84, top], "title": {"text": unit}}
        traces += [trace | {"yaxis": axis, "xaxis": "x"} for trace in lines]
    return traces, layout


def _battery_words(run: Run) -> str:
    if not len(run.soc_frac):
        return f"Energy cost {np.nanmin(run.energy_per_kwh):.3f} to {np.nanmax(run.energy_per_kwh):.3f} a kWh."
    given_kwh = float(np.sum(np.maximum(run.storage_w, 0) * np.diff(edges(run.t_s)))) / 3.6e6
    low = f"{np.nanmin(run.soc_frac):.0%}"
    return (
        f"The battery gave {given_kwh:,.1f} kWh and never held less than {low}; {run.reserve_frac:.0%} is its reserve."
    )


def _battery_table(run: Run) -> Table:
    columns = (
        ("battery gives, kW", run.t_s, run.storage_w / 1000),
        ("charge, %", run.t_s, run.soc_frac * 100),
        ("energy price, per kWh", run.t_s, run.energy_per_kwh),
        ("carbon, g/kWh", run.t_s, run.carbon_g_per_kwh),
    )
    return time_table(run, [c for c in columns if len(c[2])], digits=2)
