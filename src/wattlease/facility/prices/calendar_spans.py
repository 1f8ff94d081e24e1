"""Days, billing months and years of the tariff's clock, as spans in unix seconds with a name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Literal

Per = Literal["Day", "Month", "Year"]


@dataclass(frozen=True, slots=True)
class CalendarSpan:
    """Such as `2026-11`, and from when to when it lasts."""

    name: str
    start_s: float
    end_s: float


def span_at(now_s: float, per: Per, tz: tzinfo, billing_day: int = 1) -> CalendarSpan:
    """The day, month or year that the time lies in; months and years begin on the billing day."""
    today = datetime.fromtimestamp(now_s, tz).date()
    if per == "Day":
        return _span(today.isoformat(), today, today + timedelta(days=1), tz)
    shifted = today - timedelta(days=billing_day - 1)  # the calendar month of this is the billing month of today
    year, month = shifted.year, shifted.month
    if per == "Year":
        return _span(f"{year}", date(year, 1, billing_day), date(year + 1, 1, billing_day), tz)
    after = (year + 1, 1) if month == 12 else (year, month + 1)
    return _span(f"{year}-{month:02}", date(year, month, billing_day), date(*after, billing_day), tz)


def _span(name: str, first: date, after: date, tz: tzinfo) -> CalendarSpan:
    start, end = (datetime.combine(day, time(), tz).timestamp() for day in (first, after))
    return CalendarSpan(name, start, end)
