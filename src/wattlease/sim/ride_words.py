"""Rides as tables: one for the terminal, one line a seed where there are many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from wattlease.sim.ride import Ride
from wattlease.sim.summary import Summary, duration, share

Worst = Callable[[Iterable[float]], float]


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that seeds are compared by: its name in `summary.json`, its head, its worse side, its words."""

    name: str
    head: str
    worst: Worst
    text: Callable[[float], str]


def _permille(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "–"


SITE_MEASURES = (
    Measure("over_s", "over", max, lambda x: f"{x:,.0f} s"),
    Measure("worst_minute_over_w", "worst minute over", max, lambda x: f"{x:,.0f} W"),
    Measure("work_gpu_h", "work", min, lambda x: f"{x:,.1f} GPU-h"),
    Measure("breaches", "broken", max, lambda x: f"{x:,.0f}"),
)
RIDE_MEASURES = (
    Measure("settle_s", "settled in", max, duration),
    Measure("minutes_over", "minutes over", max, lambda x: f"{x:,.0f}"),
    Measure("mean_frac", "mean", max, share),
    Measure("lowest_frac", "lowest minute", min, share),
    Measure("of_best_frac", "of the best", min, _permille),
    Measure("of_allowed_frac", "of the allowed best", min, _permille),
    Measure("beyond_class_frac", "beyond class", max, share),
    Measure("rise_frac", "rise a minute", max, share),
    Measure("after_rise_frac", "in the half hour after", max, share),
)


def facts(ride: Ride) -> dict[str, float | str]:
    """The lines of the report and of the terminal for one ride."""
    lines: dict[str, float | str] = {
        "drawn before": f"{ride.before_w / 1000:,.1f} kW",
        "settled in": duration(ride.settle_s),
        "minutes over the limit after 5 min": f"{ride.minutes_over}",
        "mean of the event, of the draw before": share(ride.mean_frac),
        "lowest minute, of the draw before": share(ride.lowest_frac),
        "steepest rise in a minute of release, of the draw before": share(ride.rise_frac),
        "the same in the half hour after the event": share(ride.after_rise_frac),
        "speed of the mean GPU": share(ride.throughput_frac),
    }
    if math.isfinite(ride.best_used_frac):
        lines["exact best for the watts drawn"] = (
            f"{share(ride.best_used_frac)}, reached {_permille(ride.of_best_frac)}"
        )
    if math.isfinite(ride.best_allowed_frac):
        best = f"{share(ride.best_allowed_frac)}, reached {_permille(ride.of_allowed_frac)}"
        lines["exact best for the watts allowed"] = best
    for loss in ride.losses:
        lines[f"worst minute of {loss.job}"] = (
            f"lost {share(loss.worst_frac)} of {share(loss.tolerated_frac)} tolerated"
        )
    return {f"{ride.event}: {name}": text for name, text in lines.items()}


def facts_table(lines: Mapping[str, float | str]) -> Table:
    """Facts for the terminal."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in lines.items():
        table.add_row(name, f"{value:,.4g}" if isinstance(value, float) else value)
    return table


def figures(summary: Summary, ridden: Sequence[Ride]) -> dict[str, float]:
    """One seed in figures; of several events the worst of each."""
    found = {m.name: float(getattr(summary, m.name)) for m in SITE_MEASURES}
    found["energy_kwh"], found["bill"] = summary.energy_kwh, summary.bill.total
    for m in RIDE_MEASURES if ridden else ():
        found[m.name] = worst_of(m, [float(getattr(ride, m.name)) for ride in ridden])
    return found


def worst_of(measure: Measure, values: Sequence[float]) -> float:
    """The worst of the values that are known; NaN if none is."""
    known = [x for x in values if not math.isnan(x)]
    return measure.worst(known) if known else math.nan


def worst(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The worst of every measure over all seeds."""
    return {m.name: worst_of(m, [row[m.name] for row in rows]) for m in measures(rows[0])}


def measures(row: Mapping[str, float]) -> list[Measure]:
    """The measures that a row has."""
    return [m for m in (*RIDE_MEASURES, *SITE_MEASURES) if m.name in row]


def line(title: str, row: Mapping[str, float]) -> str:
    """One seed, or the worst of all, in a line."""
    return f"{title:>9}  " + "  ".join(f"{m.head} {m.text(row[m.name])}" for m in measures(row))


def ride_json(ride: Ride) -> dict[str, Any]:
    """A ride for `summary.json`, with its shares of the best."""
    ratios = ("of_best_frac", "of_allowed_frac", "beyond_class_frac")
    return asdict(ride) | {name: getattr(ride, name) for name in ratios}
