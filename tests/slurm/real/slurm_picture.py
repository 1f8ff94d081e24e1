"""The picture of a run: the limit, what all cards together may and do draw, and how many jobs run and are paused."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from plotly.subplots import make_subplots
from slurm_hardware import Hardware, Look

THIN = 10
"""Every so many-th sample is drawn: half a second apart."""


def picture(hardware: Hardware, limits: Sequence[tuple[float, float]], title: str, name: str) -> Path:
    """Write it under out/e2e; `limits` are the times from which each limit held."""
    samples = hardware.samples[::THIN]
    zero_s = samples[0].at_s
    t_s = [s.at_s - zero_s for s in samples]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.06)
    kw = {"allowed by all cards' limits": [s.allowed_w for s in samples], "drawn": [s.drawn_w for s in samples]}
    for label, watts in kw.items():
        figure.add_scatter(x=t_s, y=[w / 1e3 for w in watts], name=label, mode="lines", row=1, col=1)
    at_s, steps = _steps([(at - zero_s, w) for at, w in limits], t_s[-1])
    figure.add_scatter(x=at_s, y=[w / 1e3 for w in steps], name="limit", line={"dash": "dash", "color": "#c00"})
    for label, counts in _jobs(hardware.looks).items():
        figure.add_scatter(
            x=[look.at_s - zero_s for look in hardware.looks], y=counts, name=label, line_shape="hv", row=2, col=1
        )
    figure.update_yaxes(title_text="kW", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="jobs on nodes", rangemode="tozero", row=2, col=1)
    figure.update_xaxes(title_text="seconds", row=2, col=1)
    figure.update_layout(title=title, template="plotly_white", legend={"orientation": "h", "y": 1.08})
    path = Path(os.environ.get("WATTLEASE_OUT", "out")) / "e2e" / f"{name}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(path, include_plotlyjs=True)
    return path


def _steps(limits: Iterable[tuple[float, float]], end_s: float) -> tuple[list[float], list[float]]:
    at_s: list[float] = []
    watts: list[float] = []
    for from_s, limit_w in limits:
        at_s += [from_s] if not watts else [from_s, from_s]
        watts += [limit_w] if not watts else [watts[-1], limit_w]
    return [*at_s, end_s], [*watts, watts[-1]]


def _jobs(looks: Iterable[Look]) -> dict[str, list[int]]:
    working = [sum(job.computes for job in look.jobs) for look in looks]
    stopped = [sum(not job.computes for job in look.jobs) for look in looks]
    return {"jobs at work": working, "jobs at rest on theirs": stopped}
