"""The tariff's own clock: periods by local hours and months, and the days on which a billing month turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import numpy as np

from wattlease.core.api import Tariff, TariffPeriod
from wattlease.core.model import Floats
from wattlease.runtime.zones import zone

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in unix seconds in which a period's price holds."""

    start_s: float
    end_s: float
    per_kwh: float


def local_zone(tariff: Tariff) -> tzinfo:
    """The tariff's zone; UTC for a name that nobody knows, for which a file would be refused."""
    return zone(tariff.time_zone) or UTC


def spans(tariff: Tariff, from_s: float, until_s: float) -> tuple[tuple[Span, ...], ...]:
    """The spans of each period, in the tariff's order, that touch [from, until]."""
    tz = local_zone(tariff)
    return tuple(tuple(_spans(period, tz, from_s, until_s)) for period in tariff.periods)


def price_at(tariff: Tariff, found: tuple[tuple[Span, ...], ...], t_s: Floats) -> Floats:
    """The written price at these times: the first period that holds, or the tariff's own."""
    price = np.full(len(t_s), tariff.price_per_kilowatt_hour)
    for period in reversed(found):
        for span in period:
            price[(t_s >= span.start_s) & (t_s < span.end_s)] = span.per_kwh
    return price


def _spans(period: TariffPeriod, tz: tzinfo, from_s: float, until_s: float) -> Iterator[Span]:
    first = datetime.fromtimestamp(from_s, tz).date() - _DAY
    last = datetime.fromtimestamp(until_s, tz).date()
    for ahead in range((last - first).days + 1):
        day = first + timedelta(days=ahead)
        if _WEEKDAYS[day.weekday()] in period.days and day.month in period.months:
            span = Span(*_bounds_s(period, day, tz), period.price_per_kilowatt_hour)
            if span.end_s > from_s and span.start_s <= until_s:
                yield span


def _bounds_s(period: TariffPeriod, day: date, tz: tzinfo) -> tuple[float, float]:
    """Both ends are read alike where the clock is set back, so that periods side by side never overlap."""
    next_day = period.end == "24:00" or period.end < period.start
    end = "00:00" if period.end == "24:00" else period.end
    return _instant_s(day, period.start, tz), _instant_s(day + _DAY if next_day else day, end, tz)


def _instant_s(day: date, clock: str, tz: tzinfo) -> float:
    return datetime.combine(day, time.fromisoformat(clock), tz).timestamp()
