"""A month walked tick by tick: the battery does as it is told, the site's books count, the bill is added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from month_load import MINUTE_S, QUARTER_S
from month_site import Month

from wattlease.core.model import Floats, Peak, Storage
from wattlease.core.storage_plan import J_PER_KWH, Outlook, cheap_per_kwh
from wattlease.facility.billing import Billing
from wattlease.facility.keeping import Remembered
from wattlease.sim.battery import Batteries

TICK_S = 120.0
"""The product ticks every second or two; this is what a benchmark has time for, and it makes the steering slower."""

LOOK_S = 30.0
"""So often the books look at the meter: more seldom, and they call its draw not watched."""

START_FRAC = 0.5


@dataclass(frozen=True, slots=True)
class Seen:
    """What may be known when a tick begins: what the meter showed in the minute before, the battery, the month's peak
    by the site's books."""

    now_s: float
    grid_w: float
    storage: Storage
    peaks: tuple[Peak, ...]


class Steers(Protocol):
    """Whoever says what the battery is to do."""

    def power_w(self, seen: Seen) -> float:
        """For this tick; positive to discharge."""


@dataclass(frozen=True, slots=True)
class Bill:
    """Money of a month. Nobody bills the `wear`; `held` is what the store's gain since the start is worth."""

    energy: float
    demand: float
    wear: float
    held: float

    @property
    def total(self) -> float:
        """What the month cost."""
        return self.energy + self.demand + self.wear - self.held


@dataclass(frozen=True, slots=True)
class Walked:
    """Columns by quarter of an hour, `soc_frac` at its end; `cycles` counts discharges of the capacity."""

    grid_w: Floats
    soc_frac: Floats
    peak_w: float
    cycles: float
    bill: Bill


def walk(month: Month, steers: Steers) -> Walked:
    """Walk the days before and the whole month, which begins with the store at START_FRAC whoever steered before."""
    batteries, unit = Batteries(month.site.storages, START_FRAC, np.inf), month.site.storages[0]
    course_w = np.concatenate([month.before_w, month.draw_w]).reshape(-1, round(TICK_S / MINUTE_S))
    before, grid_w = len(course_w) - round(len(month.draw_w) * MINUTE_S / TICK_S), course_w[0]
    books = Billing((month.budget,))
    counted = books.counted(Remembered(), month.start_s - before * TICK_S, lambda _: None, month.prices)
    power_w, soc_frac = np.empty((2, len(course_w)))
    for tick, draw_w in enumerate(course_w):
        now_s = month.start_s + (tick - before) * TICK_S
        if tick == before:
            batteries.soc_frac[:] = START_FRAC
        peaks = books.peaks(counted, {month.budget.name: 0}, now_s)
        batteries.order(unit.id, steers.power_w(Seen(now_s, float(grid_w[-1]), batteries.readings()[0], peaks)))
        batteries.refresh(now_s)
        power_w[tick] = batteries.run(now_s, TICK_S, 1)[0, 0]
        soc_frac[tick], grid_w = batteries.soc_frac[0], draw_w - power_w[tick]
        counted = _looked(books, counted, month, now_s, grid_w)
    return walked(month, power_w[before:], soc_frac[before:])


def _looked(books: Billing, counted: Remembered, month: Month, now_s: float, grid_w: Floats) -> Remembered:
    """The books after they have looked at these minutes."""
    for look, watts in enumerate(np.repeat(grid_w, round(MINUTE_S / LOOK_S)).tolist(), start=1):
        counted = books.counted(counted, now_s + look * LOOK_S, lambda _, w=watts: w, month.prices)  # type: ignore[misc]
    return counted


def walked(month: Month, power_w: Floats, soc_frac: Floats) -> Walked:
    """What such a course cost, counted from the minutes."""
    unit = month.site.storages[0]
    grid_w = month.draw_w - np.repeat(power_w, len(month.draw_w) // len(power_w))
    quarter = round(QUARTER_S / MINUTE_S)
    quarters_w = grid_w.reshape(-1, quarter).mean(axis=1)
    socs_frac = np.repeat(soc_frac, len(month.draw_w) // len(soc_frac))[quarter - 1 :: quarter]
    price = month.price_per_kwh(month.start_s + MINUTE_S * np.arange(float(len(grid_w))))
    given_j = float(np.maximum(power_w, 0.0).sum()) * (month.end_s - month.start_s) / len(power_w)
    gained_kwh = (float(soc_frac[-1]) - START_FRAC) * unit.capacity_j / J_PER_KWH
    way_frac = float(np.sqrt(unit.round_trip_frac))
    bill = Bill(
        energy=float(price @ grid_w) * MINUTE_S / J_PER_KWH,
        demand=month.budget.spec.demand_price_per_kilowatt * float(quarters_w.max()) / 1e3,
        wear=given_j / J_PER_KWH * unit.wear_per_kwh,
        held=gained_kwh * cheap_per_kwh(whole(month)) * (way_frac if gained_kwh > 0 else 1 / way_frac),
    )
    return Walked(quarters_w, socs_frac, float(quarters_w.max()), given_j / unit.capacity_j, bill)


def whole(month: Month) -> Outlook:
    """The month as somebody sees it who knows all of it, in quarters of an hour."""
    draw_w = month.draw_w.reshape(-1, round(QUARTER_S / MINUTE_S)).mean(axis=1)
    at_s, none = month.start_s + QUARTER_S * np.arange(float(len(draw_w))), 0.0 * draw_w
    return Outlook(
        start_s=month.start_s,
        step_s=QUARTER_S,
        draw_w=draw_w,
        high_w=draw_w,
        limit_w=none + float(month.budget.spec.limit_watts),
        energy_per_kwh=month.price_per_kwh(at_s),
        carbon_per_kwh=none,
        demand_per_kw=month.budget.spec.demand_price_per_kilowatt,
    )
