"""Weekdays, local clocks and grid events as windows in unix seconds, over midnight and the turn of the clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlease.core.api import Metadata, PowerBudget, PowerBudgetSpec
from wattlease.core.model import NONE, Scope, Window
from wattlease.runtime.calendar import windows

DAY_S = 86_400.0
BERLIN = ZoneInfo("Europe/Berlin")


def scope(**spec: Any) -> Scope:
    whole = PowerBudgetSpec.model_validate({"limitWatts": 1000, **spec})
    return Scope("hall", NONE, PowerBudget(metadata=Metadata(name="hall"), spec=whole))


def weekly(start: str, end: str, zone: str = "Europe/Berlin", **more: Any) -> dict[str, Any]:
    return {"name": "w", "start": start, "end": end, "timeZone": zone, "limitWatts": 500, **more}


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def spans(found: tuple[Window, ...]) -> list[tuple[str, str]]:
    """Start and end of each window in UTC, to the minute."""
    utc = ZoneInfo("UTC")
    return [tuple(f"{datetime.fromtimestamp(t, utc):%d %H:%M}" for t in (w.start_s, w.end_s)) for w in found]  # type: ignore[misc]


def one_day(entry: dict[str, Any], midnight: str) -> list[tuple[str, str]]:
    return spans(windows([scope(schedule=[entry])], unix(midnight), 22 * 3600.0))


@pytest.mark.parametrize(
    ("start", "end", "midnight", "expected"),
    [
        ("17:00", "21:00", "2026-07-01T00:00+02:00", [("01 15:00", "01 19:00")]),
        ("17:00", "21:00", "2026-01-15T00:00+01:00", [("15 16:00", "15 20:00")]),
        ("00:00", "24:00", "2026-07-01T00:00+02:00", [("30 22:00", "01 22:00")]),
        ("22:00", "06:00", "2026-07-01T00:00+02:00", [("30 20:00", "01 04:00"), ("01 20:00", "02 04:00")]),
        # 29 March 2026: 02:00 becomes 03:00
        ("00:00", "24:00", "2026-03-29T00:00+01:00", [("28 23:00", "29 22:00")]),
        ("02:30", "04:00", "2026-03-29T00:00+01:00", [("29 01:30", "29 02:00")]),
        ("01:00", "02:30", "2026-03-29T00:00+01:00", [("29 00:00", "29 01:30")]),
        ("02:00", "03:00", "2026-03-29T00:00+01:00", []),
        # 25 October 2026: 03:00 becomes 02:00
        ("02:00", "03:00", "2026-10-25T00:00+02:00", [("25 00:00", "25 02:00")]),
        ("02:30", "04:00", "2026-10-25T00:00+02:00", [("25 00:30", "25 03:00")]),
        ("01:00", "02:30", "2026-10-25T00:00+02:00", [("24 23:00", "25 01:30")]),
    ],
)
def test_a_window_follows_the_clock_on_the_wall(
    start: str, end: str, midnight: str, expected: list[tuple[str, str]]
) -> None:
    assert one_day(weekly(start, end), midnight) == expected


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("Asia/Kolkata", ("01 11:30", "01 12:30")),
        ("America/New_York", ("01 21:00", "01 22:00")),
        ("Pacific/Auckland", ("01 05:00", "01 06:00")),
        ("UTC", ("01 17:00", "01 18:00")),
    ],
)
def test_a_time_zone_is_the_entrys_own(zone: str, expected: tuple[str, str]) -> None:
    assert one_day(weekly("17:00", "18:00", zone), "2026-07-01T00:00+00:00") == [expected]


def test_the_day_of_a_window_is_the_day_on_which_it_starts() -> None:
    friday_night = weekly("22:00", "06:00", days=["Fri"])
    saturday = unix("2026-07-04T03:00+02:00")
    found = windows([scope(schedule=[friday_night])], saturday, 7 * DAY_S)
    assert spans(found) == [("03 20:00", "04 04:00"), ("10 20:00", "11 04:00")]


@given(
    st.integers(0, 23),
    st.integers(0, 23),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.floats(unix("2026-01-01T00:00+00:00"), unix("2027-12-31T00:00+00:00")),
)
def test_whoever_looks_at_the_clock_finds_the_window_open(start: int, end: int, zone: str, now_s: float) -> None:
    if start == end:
        return
    found = windows([scope(schedule=[weekly(f"{start:02}:00", f"{end:02}:00", zone)])], now_s, 0.0)
    hour = datetime.fromtimestamp(now_s, ZoneInfo(zone)).hour
    shown_open = start <= hour < end if start < end else hour >= start or hour < end
    is_open = any(w.start_s <= now_s < w.end_s for w in found)
    turned = {datetime.fromtimestamp(now_s + h * 3600, ZoneInfo(zone)).utcoffset() for h in range(-48, 49)}
    if len(turned) == 1:
        assert is_open == shown_open


@given(st.floats(unix("2026-01-01T00:00+00:00"), unix("2026-12-31T00:00+00:00")), st.floats(0, 3 * DAY_S))
def test_a_later_look_finds_the_same_windows(now_s: float, later_s: float) -> None:
    scopes = [scope(schedule=[weekly("22:00", "06:00"), weekly("12:00", "13:00", "Asia/Tokyo", name="noon")])]
    early = windows(scopes, now_s, 4 * DAY_S)
    late = windows(scopes, now_s + later_s, 4 * DAY_S - later_s)
    assert set(late) <= set(early)
    assert {w for w in early if w.end_s > now_s + later_s} == set(late)


EVENT = {
    "name": "peak",
    "start": "2026-07-01T16:00:00+02:00",
    "end": "2026-07-01T19:00:00+02:00",
    "limitWatts": 750,
    "rampSeconds": 300,
    "noticeSeconds": 1800,
}


def test_an_event_is_a_window_with_its_ramp_once_it_is_noticed() -> None:
    start_s = unix("2026-07-01T14:00+00:00")
    scopes = [scope(), scope(demandResponse=[EVENT])]
    assert windows(scopes, start_s - 1801, DAY_S) == ()
    event = Window(1, "event", "peak", start_s, start_s + 10_800, 750.0, 300.0)
    assert windows(scopes, start_s - 1800, DAY_S) == (event,)
    assert windows(scopes, start_s + 10_799, DAY_S) == (event,)
    assert windows(scopes, start_s + 11_200, DAY_S) == ()


def test_a_window_stays_while_a_ramp_may_still_fall_from_it() -> None:
    before = weekly("14:00", "16:00", name="before")
    during = unix("2026-07-01T14:01+00:00")
    found = windows([scope(schedule=[before], demandResponse=[EVENT])], during, 600.0)
    assert [w.name for w in found] == ["before", "peak"]


def test_a_zone_that_nobody_knows_limits_wherever_it_might_be() -> None:
    assert one_day(weekly("10:00", "12:00", "Mars/Olympus", days=["Wed"]), "2026-07-01T00:00+00:00") == [
        ("30 20:00", "02 00:00")
    ]


def test_no_budget_has_no_windows() -> None:
    assert windows([scope()], 0.0, DAY_S) == ()
