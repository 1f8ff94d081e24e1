"""What is counted through a billing month, of budgets that are billed for their peak or have a cap on carbon.

Pure but for its settings: what was counted comes in and goes out as a value, and so does the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from wattlease.core.api import PowerBudget
from wattlease.core.model import Peak, Prices, Window
from wattlease.facility.keeping import Remembered
from wattlease.facility.prices.calendar_spans import span_at
from wattlease.facility.prices.clock import local_zone
from wattlease.facility.prices.month import CarbonSoFar, MeterClock, MonthPeak, carbon_window


class Billing:
    """Counts for every budget that wants it."""

    def __init__(self, budgets: Sequence[PowerBudget]) -> None:
        self._charged = tuple(b for b in budgets if b.spec.demand_charge)
        self._capped = tuple(b for b in budgets if b.spec.tariff.carbon_cap)

    def counted(
        self, before: Remembered, now_s: float, draw_w: Callable[[str], float | None], prices: Prices
    ) -> Remembered:
        """As it stands now, if each scope drew `draw_w` since the look before; None where nobody knows."""
        peaks, carbon = dict(before.peaks), dict(before.carbon)
        for budget in self._charged:
            peaks[budget.name] = peaks.get(budget.name, MonthPeak()).updated(now_s, draw_w(budget.name), _clock(budget))
        for budget in self._capped:
            tariff, so_far = budget.spec.tariff, carbon.get(budget.name, CarbonSoFar())
            assert tariff.carbon_cap
            grams = grams_per_kwh(prices, now_s, now_s)
            carbon[budget.name] = so_far.updated(
                now_s, draw_w(budget.name), grams, tariff.carbon_cap, local_zone(tariff), tariff.billing_day
            )
        return before.model_copy(update={"peaks": peaks, "carbon": carbon})

    def peaks(self, so_far: Remembered, scope_index: Mapping[str, int], now_s: float) -> tuple[Peak, ...]:
        """The metering windows of this billing month and of the one before, of all scopes that are counted."""
        counted = [(b, so_far.peaks[b.name]) for b in self._charged if b.name in scope_index and b.name in so_far.peaks]
        return tuple(_peak(budget, counts, scope_index[budget.name], now_s) for budget, counts in counted)

    def windows(
        self, so_far: Remembered, scope_index: Mapping[str, int], now_s: float, prices: Prices
    ) -> tuple[Window, ...]:
        """The limits that keep the caps on carbon, of all scopes whose carbon was counted already."""
        return tuple(
            _window(budget, so_far.carbon[budget.name], scope_index[budget.name], now_s, prices)
            for budget in self._capped
            if budget.name in scope_index and budget.name in so_far.carbon
        )


def grams_per_kwh(prices: Prices, from_s: float, until_s: float) -> float:
    """Mean carbon intensity of a span, as far as it is known; the last known one holds on. 0 where none is known."""
    if not len(prices.at_s):
        return 0.0
    until_s = max(until_s, from_s + 1.0)
    edges_s = np.append(np.clip(prices.at_s, from_s, until_s), until_s)
    edges_s[0] = from_s
    return float(prices.carbon_g_per_kwh @ np.diff(edges_s)) / (until_s - from_s)


def _clock(budget: PowerBudget) -> MeterClock:
    charge, tariff = budget.spec.demand_charge, budget.spec.tariff
    assert charge
    return MeterClock.of(charge, local_zone(tariff), tariff.billing_day)


def _peak(budget: PowerBudget, counts: MonthPeak, scope: int, now_s: float) -> Peak:
    peak_w, before_w = counts.peaks_w(now_s, _clock(budget))
    return Peak(scope, peak_w, before_w, counts.window_start_s, counts.watched_s, counts.drawn_w)


def _window(budget: PowerBudget, so_far: CarbonSoFar, scope: int, now_s: float, prices: Prices) -> Window:
    tariff = budget.spec.tariff
    assert tariff.carbon_cap
    span = span_at(now_s, tariff.carbon_cap.per, local_zone(tariff), tariff.billing_day)
    grams = grams_per_kwh(prices, now_s, span.end_s)
    return carbon_window(so_far, tariff.carbon_cap, span, grams, float(budget.spec.assured_watts), scope)
