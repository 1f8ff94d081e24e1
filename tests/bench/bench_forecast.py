"""What the forecast is worth on real courses, trained on the past and tried on what came after.

Skill is the part of the error that is saved against the last value (`persistence`) and against the best of last
value, day before and week before; `p90` counts how often the draw stayed under it. A high moment lies above the 95th
percentile of the record so far: `caught` were foreseen as high by the p90, `false` are high p90s that nothing came of.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import process_time

import numpy as np
from forecast_public import cornell, helios, philly, servegen
from forecast_queue import CARDS, with_queue
from forecast_walk import Walked, walk

from wattlease.core.errors import BudgetError
from wattlease.facility.forecast.model import DAYS, HOUR
from wattlease.facility.forecast.series import DAY_S, Series, plain
from wattlease.sim import traces

SHORT_S, DAY_AHEAD_S = (300.0, 900.0, 3600.0), (86_400.0,)
QUEUE_DAYS = (40, 75)
HEAD = "course    ahead   error  best naive        skill: persistence / best naive   pinball   p90   caught / false (persistence's)  learned"  # noqa: E501


def main() -> int:
    """Print every table; 0 also where the measurements are not at hand, which is said."""
    try:
        folder = traces.data_folder()
    except BudgetError as missing:
        print(f"skipped: {missing}")
        return 0
    begin_s = process_time()
    print(HEAD)
    hour = _course("ServeGen", servegen(folder), (6, 14), 1, 1)
    _course("Cornell", cornell(folder), (330, 630), 60, 1)
    _course("Helios", helios(folder), (16, 31), 5, 5)
    _course("Philly", philly(folder), (50, 90), 5, 7)
    _peaks(hour)
    _queue(folder)
    print(f"{process_time() - begin_s:.0f} s of CPU")
    return 0


def _course(name: str, series: Series, days: tuple[int, int], every: int, stride: int) -> Walked:
    """Print a line for each horizon; the walk of an hour ahead."""
    ahead_s = [s for s in SHORT_S if s >= series.step_s] if series.step_s > 60.0 else list(SHORT_S)
    if 600.0 <= series.step_s < 3600.0:
        ahead_s = [series.step_s, 3600.0]
    short = walk(series, HOUR, days, every, ahead_s, stride)
    for walked in (*short, *walk(series, DAYS, days, every, DAY_AHEAD_S)):
        print(_line(name, walked))
    return short[-1]


def _line(name: str, w: Walked) -> str:
    caught, false = w.alarms(w.drawn_w)
    other_caught, other_false = w.alarms(w.others_w["persistence"])
    return (
        f"{name:9s} {w.ahead_s / 60:4.0f} m {w.error_frac(w.drawn_w):6.2%}  {w.best_other:11s} "
        f"{w.error_frac(w.others_w[w.best_other]):6.2%}  {w.skill('persistence'):+6.1%} / {w.skill():+6.1%}"
        f"   {w.pinball_skill():+6.1%}  {w.covered_frac:5.1%}  {caught:4.0%} / {false:4.0%}"
        f" ({other_caught:4.0%} / {other_false:4.0%})  {w.learned_frac:4.0%}"
    )


def _peaks(w: Walked) -> None:
    """The highest moment of each day of ServeGen, as it was foreseen an hour ahead."""
    reached, near, hour_near, hour_reached = [], [], [], []
    for day in np.unique(w.at_s // DAY_S):
        here = np.flatnonzero(w.at_s // DAY_S == day)
        truth_w, drawn_w = w.truth_w[here], w.drawn_w[:, here]
        top = int(np.argmax(truth_w))
        reached.append(drawn_w[1, top] >= 0.95 * truth_w[top])
        near.append(abs(drawn_w[1].max() / truth_w[top] - 1.0) <= 0.05)
        hours_w, said_w, high_w = (np.convolve(x, np.full(6, 1 / 6), "valid") for x in (truth_w, *drawn_w))
        top_hour = int(np.argmax(hours_w))
        hour_reached.append(high_w[top_hour] >= 0.95 * hours_w[top_hour])
        hour_near.append(abs(said_w.max() / hours_w.max() - 1.0) <= 0.05)
    print(f"\nServeGen's daily peaks, each window of ten minutes foreseen an hour before, {len(reached)} days:")
    for share, what in (
        (reached, "p90 of the highest window at least 95 % of it"),
        (near, "highest p90 of the day within 5 % of the highest window"),
        (hour_reached, "mean p90 of the highest hour at least 95 % of it"),
        (hour_near, "highest hour of the medians within 5 % of the highest hour"),
    ):
        print(f"  {np.mean(share):4.0%}  {what}")


def _queue(folder: Path) -> None:
    """The same cluster foreseen without its queue, with it, and with it while nobody knows durations well."""
    jobs = traces.philly(folder)
    part = jobs.between(QUEUE_DAYS[0] * DAY_S, QUEUE_DAYS[0] * DAY_S, QUEUE_DAYS[1] * DAY_S)
    guessed_s = part.duration_s * np.random.default_rng(1).lognormal(0.0, 0.5, len(part.duration_s))
    told = with_queue(part, part.duration_s)
    ways = {
        "queue not known": plain(told.start_s, told.step_s, told.mean_w),
        "queue known, durations within a factor of 1.65": with_queue(part, guessed_s),
        "queue and durations known": told,
    }
    waits = np.mean(told.waiting_w > 0)
    print(f"\nPhilly's arrivals on {CARDS} cards, first come first served; jobs wait {waits:.0%} of the time")
    blind: list[Walked] = []
    print(f"{'':47s} ahead   error, pinball loss: better than without   the same while jobs wait")
    for name, series in ways.items():
        found = walk(series, HOUR, (10, 35), 5, SHORT_S, 5)
        blind = blind or found
        for walked, without in zip(found, blind, strict=True):
            began = np.round((walked.at_s - walked.ahead_s - told.start_s) / told.step_s).astype(np.int64)
            busy = told.waiting_w[began] > 0.0
            print(
                f"{name:47s} {walked.ahead_s / 60:3.0f} m  {walked.error_frac(walked.drawn_w):6.2%}  "
                f"{walked.gain(without)}   {walked.where(busy).gain(without.where(busy))}"
            )


if __name__ == "__main__":
    sys.exit(main())
