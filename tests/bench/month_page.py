"""A month's bills as rows of text, and as a page with the store and the draw from the grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from month_load import QUARTER_S
from month_site import Month
from month_walk import Walked

from wattlease.core.model import Floats
from wattlease.runtime.document.page import figure, page, section, tiles
from wattlease.runtime.document.picture import Figure, Picture, Table

HEAD = ("market", "month", "who", "energy", "demand", "wear", "bill", "saved", "of perfect", "peak kW", "cycles")
WIDTHS = (10, 5, 10, 8, 7, 5, 7, 6, 10, 7, 6)
COLOURS = {"nobody": "#888888", "timer": "#ccbb44", "wattlease": "#4477aa", "perfect": "#228833"}


@dataclass(frozen=True, slots=True)
class Case:
    """A month and what became of it under each hand."""

    month: Month
    by: Mapping[str, Walked]

    def saved(self, who: str) -> float:
        """Money against nobody's month."""
        return self.by["nobody"].bill.total - self.by[who].bill.total

    def rows(self) -> list[tuple[str, ...]]:
        """A row for each hand."""
        when = f"{datetime.fromtimestamp(self.month.start_s, self.month.zone):%b}"
        return [
            (
                self.month.market,
                when,
                who,
                *(f"{money:,.0f}" for money in (w.bill.energy, w.bill.demand, w.bill.wear, w.bill.total)),
                f"{self.saved(who):,.0f}",
                f"{self.saved(who) / self.saved('perfect'):.1%}",
                f"{w.peak_w / 1e3:,.0f}",
                f"{w.cycles:.1f}",
            )
            for who, w in self.by.items()
        ]

    def lines(self) -> list[str]:
        """The rows for a terminal."""
        return ["  ".join(text.rjust(n) for text, n in zip(row, WIDTHS, strict=True)) for row in self.rows()]


def head() -> str:
    """The line above the rows on a terminal."""
    return "  ".join(text.rjust(n) for text, n in zip(HEAD, WIDTHS, strict=True))


def month_page(cases: Sequence[Case]) -> str:
    """The page as HTML, with the chart's library inside."""
    shown = [(_name(case.month), f"{case.saved('wattlease') / case.saved('perfect'):.0%}", "") for case in cases]
    rows: Table = (HEAD, *(row for case in cases for row in case.rows()))
    bills = section("Bills", rows, "Dollars; wear is billed by nobody.")
    pictures = [figure(picture) for case in cases for picture in (_draws(case), _stores(case))]
    subtitle = "2 MW, a battery of 1 MWh and 500 kW; what Wattlease saves of what perfect foresight would"
    return page("A month of real prices", subtitle, [tiles(shown), bills, *pictures], alone=True)


def _name(month: Month) -> str:
    return f"{month.market}, {datetime.fromtimestamp(month.start_s, month.zone):%B %Y}"


def _draws(case: Case) -> Picture:
    without_w, with_w = case.by["nobody"].peak_w, case.by["wattlease"].peak_w
    said = f"The month's peak is {without_w / 1e3:,.0f} kW without a battery and {with_w / 1e3:,.0f} kW with Wattlease."
    rows = [("who", "peak kW"), *((who, f"{w.peak_w / 1e3:,.0f}") for who, w in case.by.items())]
    traces = [_line(case.month, who, w.grid_w / 1e3) for who, w in case.by.items() if who != "timer"]
    return Picture(f"Drawn from the grid, {_name(case.month)}", said, tuple(rows), traces, _axis("kW"))


def _stores(case: Case) -> Picture:
    ours, best = case.by["wattlease"].cycles, case.by["perfect"].cycles
    said = f"Wattlease discharged the capacity {ours:.1f} times, perfect foresight {best:.1f} times."
    rows = [("who", "cycles"), *((who, f"{w.cycles:.1f}") for who, w in case.by.items())]
    traces = [_line(case.month, who, 100.0 * w.soc_frac) for who, w in case.by.items() if who != "nobody"]
    traces.append(_line(case.month, "price, cents a kWh", 100.0 * _prices(case.month), "#cc4455"))
    return Picture(f"State of charge, {_name(case.month)}", said, tuple(rows), traces, _axis("%"))


def _prices(month: Month) -> Floats:
    return month.price_per_kwh(month.start_s + QUARTER_S * np.arange((month.end_s - month.start_s) // QUARTER_S))


def _line(month: Month, name: str, values: Floats, colour: str = "") -> Figure:
    at = month.start_s + QUARTER_S * np.arange(float(len(values)))
    wall = [datetime.fromtimestamp(t, month.zone).strftime("%Y-%m-%d %H:%M") for t in at.tolist()]
    style = {"width": 1.4, "color": colour or COLOURS[name], "shape": "hv"}
    shown = np.round(values, 2).tolist()
    return {"type": "scatter", "mode": "lines", "name": name, "x": wall, "y": shown, "line": style}


def _axis(unit: str) -> Figure:
    return {"yaxis": {"title": {"text": unit}}, "xaxis": {"type": "date", "hoverformat": "%d %b %H:%M"}}
