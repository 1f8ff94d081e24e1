"""A month's bill of a 2 MW site with a battery of 1 MWh: nobody, a timer, Wattlease, and perfect foresight.

Real hourly prices of 2024, known a day ahead; 15 a kW for the month's highest quarter of an hour (`month_site`); a load
made of public measurements (`month_load`). Wattlease is the tick of the product with the facility's forecast and books;
perfect foresight is one linear programme over the whole month.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import process_time

from month_foreseen import Foreseen, foreseen
from month_load import BEFORE_DAYS, KINDS, draw_w
from month_page import Case, head, month_page
from month_site import DEMAND_PER_KW, month
from month_steering import Nobody, Timer, Wattlease, perfect
from month_walk import walk

from wattlease.core.errors import BudgetError
from wattlease.sim import traces

CASES = (("california", 1, 0), ("california", 7, 27), ("texas", 1, 0), ("texas", 7, 27))
"""Market, month, and the day of the traces on which the record before it begins."""


def main() -> int:
    """Print the table, and draw it if asked; 0 also where the measurements are not at hand, which is said."""
    asked = _asked()
    try:
        folder = traces.data_folder()
    except BudgetError as missing:
        print(f"skipped: {missing}")
        return 0
    begin_s = process_time()
    print(f"load: {asked.load}; {DEMAND_PER_KW:g} $/kW of the month's highest 15 min; $\n{head()}")
    cases = [_case(folder, asked.load, *case) for case in CASES if case[0] in asked.markets and case[1] in asked.months]
    if asked.page:
        Path(asked.page).write_text(month_page(cases), encoding="utf-8")
    print(f"{process_time() - begin_s:.0f} s of CPU")
    return 0


def _asked() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--load", choices=KINDS, default=KINDS[0], help="what the site does")
    parser.add_argument("--markets", nargs="+", default=sorted({case[0] for case in CASES}))
    parser.add_argument("--months", nargs="+", type=int, default=sorted({case[1] for case in CASES}))
    parser.add_argument("--page", default="", help="a file for the picture, HTML")
    return parser.parse_args()


def _case(folder: Path, kind: str, market: str, number: int, late_days: int) -> Case:
    there = month(folder, market, number, kind, late_days)
    ahead = replace(_foreseen(folder, kind, late_days, len(there.draw_w)), start_s=there.start_s)
    case = Case(
        there,
        {
            "nobody": walk(there, Nobody()),
            "timer": walk(there, Timer(there)),
            "wattlease": walk(there, Wattlease(there, ahead)),
            "perfect": perfect(there),
        },
    )
    for line in case.lines():
        print(line, flush=True)
    return case


@cache
def _foreseen(folder: Path, kind: str, late_days: int, minutes: int) -> Foreseen:
    """The same forecast serves every market: the load goes by the local clock."""
    return foreseen(0.0, draw_w(folder, kind, BEFORE_DAYS + minutes // 1440, late_days))


if __name__ == "__main__":
    sys.exit(main())
