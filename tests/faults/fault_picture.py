"""The picture of a run of faults around a hall: the limit, what limits allow, the feed, and the battery."""

from __future__ import annotations

import os
from pathlib import Path

from fault_facility import LIMIT_W
from fault_facility_run import Run
from plotly.graph_objects import Figure

THIN = 4
"""Every so many-th look is drawn: five a second."""


def picture(found: Run) -> Path:
    """Write it under out/e2e."""
    looks, zero_s = found.looks[::THIN], found.looks[0].at_s
    t_s = [look.at_s - zero_s for look in looks]
    lines = {
        "allowed by all cards' limits, with overhead": [look.may_w for look in looks],
        "drawn from the feed": [look.feed_w for look in looks],
        "given by the battery": [look.battery_w for look in looks],
    }
    figure = Figure()
    for label, watts in lines.items():
        figure.add_scatter(x=t_s, y=[w / 1e3 for w in watts], name=label, mode="lines")
    limit_kw = [min([LIMIT_W, *(w for a, b, w in found.limits if a <= look.at_s < b)]) / 1e3 for look in looks]
    figure.add_scatter(x=t_s, y=limit_kw, name="limit", line={"dash": "dash", "color": "#c00", "shape": "hv"})
    for i, (name, spell) in enumerate(found.spells.items(), start=1):
        begins, ends = spell.from_s - zero_s, spell.mended_s - zero_s
        figure.add_vrect(x0=begins, x1=ends, fillcolor="#888", opacity=0.12, line_width=0, annotation_text=f"{i}")
        figure.add_scatter(x=[None], y=[None], mode="markers", marker_opacity=0, name=f"{i} {name.replace('_', ' ')}")
    figure.update_yaxes(title_text="kW")
    figure.update_xaxes(title_text="seconds")
    figure.update_layout(template="plotly_white", legend={"orientation": "h", "y": -0.12})
    path = Path(os.environ.get("WATTLEASE_OUT", "out")) / "e2e" / "facility-faults.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(path, include_plotlyjs=True)
    return path
