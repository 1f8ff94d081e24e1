"""Prices always have an answer: a feed's while it holds, the tariff's as written otherwise."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from wattlease.core.api import Tariff
from wattlease.core.model import Floats
from wattlease.facility.prices.curve import Curve
from wattlease.facility.prices.prices import AHEAD_S, Prices

NOW_S = datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()


def tariff(**more: object) -> Tariff:
    return Tariff.model_validate({"pricePerKilowattHour": 0.20, "carbonGramsPerKilowattHour": 400.0, **more})


def filed(path: Path, text: str, **more: object) -> Tariff:
    path.write_text(text)
    return tariff(feed={"file": {"path": str(path), "pollSeconds": 1}}, **more)


def at(prices: Prices, when_s: float, now_s: float = NOW_S) -> tuple[float, float]:
    ahead = prices.prices(now_s)
    k = int(np.searchsorted(ahead.at_s, when_s, side="right")) - 1
    return float(ahead.energy_per_kwh[k]), float(ahead.carbon_g_per_kwh[k])


def asked(prices: Prices) -> Prices:
    for feed in prices.feeds:
        asyncio.run(feed.ask())
    return prices


periods = st.lists(
    st.fixed_dictionaries(
        {
            "days": st.lists(st.sampled_from(["Mon", "Wed", "Sat", "Sun"]), min_size=1, unique=True),
            "start": st.sampled_from(["00:00", "02:30", "07:00", "22:00"]),
            "end": st.sampled_from(["03:00", "09:30", "24:00", "06:00"]),
            "pricePerKilowattHour": st.floats(-1, 2),
        }
    ),
    max_size=4,
).map(lambda found: [{"name": f"p{i}", **one} for i, one in enumerate(found)])


@given(
    periods,
    st.sampled_from(["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata"]),
    st.floats(1.7e9, 1.9e9),
    st.lists(st.floats(-1e5, 3e5), max_size=5, unique=True).map(sorted),
)
@settings(max_examples=60, deadline=None)
def test_every_moment_of_two_days_has_a_price_whatever_the_feeds_know(
    written: list[dict[str, object]], zone: str, now_s: float, known_s: list[float]
) -> None:
    prices = Prices(tariff(periods=written, timeZone=zone))
    ahead = prices.prices(now_s)
    assert ahead.at_s[0] == now_s
    assert (np.diff(ahead.at_s) > 0).all()
    assert ahead.at_s[-1] < now_s + AHEAD_S
    assert np.isfinite(ahead.energy_per_kwh).all()
    assert np.isfinite(ahead.carbon_g_per_kwh).all()
    told = {0.20} | {one["pricePerKilowattHour"] for one in written}
    assert set(ahead.energy_per_kwh.tolist()) <= told


@given(st.floats(1.7e9, 1.9e9), st.integers(0, 47))
@settings(max_examples=60, deadline=None)
def test_a_period_holds_by_the_clock_on_the_wall(now_s: float, hours: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    written = [{"name": "peak", "start": "07:00", "end": "09:00", "days": ["Mon", "Tue", "Wed", "Thu", "Fri"],
                "months": [1, 2, 11, 12], "pricePerKilowattHour": 0.5}]  # fmt: skip
    when_s = now_s + 3600.0 * hours
    local = datetime.fromtimestamp(when_s, zone)
    dear = 7 <= local.hour < 9 and local.weekday() < 5 and local.month in (1, 2, 11, 12)
    energy, _ = at(Prices(tariff(periods=written, timeZone="Europe/Berlin")), when_s, now_s)
    assert energy == (0.5 if dear else 0.20)


def test_a_period_over_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    written = [{"name": "night", "start": "22:00", "end": "06:00", "days": ["Sat"], "pricePerKilowattHour": 0.1}]
    prices = Prices(tariff(periods=written))
    saturday_night, sunday_night = (datetime(2026, 11, d, 3, tzinfo=UTC).timestamp() for d in (22, 23))
    assert at(prices, saturday_night)[0] == 0.1
    assert at(prices, sunday_night)[0] == 0.20


def test_the_first_of_two_periods_that_hold_counts() -> None:
    written = [
        {"name": n, "start": "00:00", "end": "24:00", "pricePerKilowattHour": p} for n, p in (("a", 1), ("b", 2))
    ]
    assert at(Prices(tariff(periods=written)), NOW_S)[0] == 1.0


def test_a_file_holds_until_its_end_and_the_tariff_after_it(tmp_path: Path) -> None:
    text = "start,pricePerKilowattHour\n2026-11-21T11:00:00Z,0.05\n2026-11-21T13:00:00Z,-0.02\n"
    prices = asked(Prices(filed(tmp_path / "p.csv", text), clock=lambda: NOW_S))
    assert at(prices, NOW_S) == (0.05, 400.0)
    assert at(prices, NOW_S + 3600)[0] == -0.02
    assert at(prices, NOW_S + 3 * 3600)[0] == 0.20
    energy, carbon = prices.standing()
    assert energy.source == "p.csv"
    assert energy.valid_for_s == 3 * 3600
    assert carbon.source == "tariff"


def test_a_cell_that_is_empty_is_the_tariffs_and_not_nothing(tmp_path: Path) -> None:
    text = (
        "start,pricePerKilowattHour,carbonGramsPerKilowattHour\n2026-11-21T11:00:00Z,,120\n2026-11-21T13:00:00Z,0.3,\n"
    )
    prices = asked(Prices(filed(tmp_path / "p.csv", text), clock=lambda: NOW_S))
    assert at(prices, NOW_S) == (0.20, 120.0)
    assert at(prices, NOW_S + 3700) == (0.3, 400.0)


def test_a_yaml_file_says_until_when_it_holds(tmp_path: Path) -> None:
    text = "validUntil: 2026-11-21T12:30:00Z\nsteps:\n- {start: 2026-11-21T12:00:00Z, pricePerKilowattHour: 0.07}\n"
    prices = asked(Prices(filed(tmp_path / "p.yaml", text), clock=lambda: NOW_S))
    assert at(prices, NOW_S)[0] == 0.07
    assert at(prices, NOW_S + 1800)[0] == 0.20


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("p.csv", "when,price\n", "p.csv:1: has no column start"),
        ("p.csv", "start,pricePerKilowattHour\n2026-11-21T11:00:00Z,cheap\n", "p.csv:2: pricePerKilowattHour: 'cheap'"),
        ("p.csv", "start,pricePerKilowattHour\n2026-11-21T11:00:00,1\n", "p.csv:2: start: '2026-11-21T11:00:00' names"),
        ("p.csv", "start,pricePerKilowattHour\n2026-11-21T11:00:00Z,nan\n", "p.csv:2: pricePerKilowattHour: nan"),
        ("p.csv", "start,carbonGramsPerKilowattHour\n2026-11-21T11:00:00Z,-5\n", "p.csv:2: carbonGrams"),
        ("p.csv", "start,pricePerKilowattHour\n2026-11-21T11:00:00Z,1\n2026-11-21T11:00:00Z,1\n", "p.csv:3: start:"),
        ("p.csv", "start,x\n2026-11-21T11:00:00Z,1\n", "tells neither"),
        ("p.csv", "start,pricePerKilowattHour\n\xff\n", "is no CSV in UTF-8"),
        ("p.json", '{"steps": [\n{"start": "2026-11-21T11:00:00Z", "pricePerKilowattHour": "1"}]}', "p.json:2: st"),
        ("p.json", '{"steps": []}', "p.json:1: steps"),
        ("p.yaml", "steps:\n- {start: 2026-11-21T11:00:00Z}\n", "tells neither"),
    ],
)  # fmt: skip
def test_a_file_with_a_mistake_is_refused_with_its_line(tmp_path: Path, name: str, text: str, told: str) -> None:
    written = tmp_path / name
    settings = filed(written, "start,pricePerKilowattHour\n")
    written.write_bytes(text.encode("latin-1"))
    prices = asked(Prices(settings.model_copy(update={"feed": _at(settings, written)}), clock=lambda: NOW_S))
    assert told in prices.troubles()[0]
    assert at(prices, NOW_S)[0] == 0.20


def _at(settings: Tariff, path: Path) -> object:
    assert settings.feed
    assert settings.feed.file
    return settings.feed.model_copy(update={"file": settings.feed.file.model_copy(update={"path": str(path)})})


async def test_a_file_that_breaks_keeps_its_last_good_curve_through_a_restart(tmp_path: Path) -> None:
    written = tmp_path / "p.csv"
    settings = filed(written, "start,pricePerKilowattHour\n2026-11-21T11:00:00Z,0.05\n2026-11-21T14:00:00Z,0.06\n")
    before = Prices(settings, tmp_path / "kept", lambda: NOW_S)
    await before.feeds[0].ask()
    written.write_text("garbage")
    await before.feeds[0].ask()
    assert at(before, NOW_S)[0] == 0.05
    assert "has no column start" in before.troubles()[0]

    after = Prices(settings, tmp_path / "kept", lambda: NOW_S)
    task = asyncio.create_task(after.run())
    async with asyncio.timeout(5):
        while not after.feeds[0].curves:
            await asyncio.sleep(0.01)
    task.cancel()
    assert at(after, NOW_S)[0] == 0.05
    assert at(after, datetime(2026, 11, 21, 18, tzinfo=UTC).timestamp())[0] == 0.20


async def test_what_is_on_disk_for_another_question_is_no_answer(tmp_path: Path) -> None:
    text = "start,pricePerKilowattHour\n2026-11-21T11:00:00Z,0.05\n2026-11-21T14:00:00Z,0.06\n"
    first = Prices(filed(tmp_path / "a.csv", text), tmp_path, lambda: NOW_S)
    await first.feeds[0].ask()
    other = Prices(filed(tmp_path / "b.csv", "garbage"), tmp_path, lambda: NOW_S)
    task = asyncio.create_task(other.run())
    async with asyncio.timeout(10):
        while not other.troubles()[0].startswith("file: "):
            await asyncio.sleep(0.01)
    task.cancel()
    assert at(other, NOW_S)[0] == 0.20


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=8, unique=True).map(sorted),
    st.lists(st.one_of(st.floats(-1, 1), st.just(float("nan"))), min_size=8, max_size=8),
)
def test_a_curve_survives_json(at_s: list[float], values: list[float]) -> None:
    curve = Curve(kind="energy", source="x", at_s=tuple(at_s), values=tuple(values[: len(at_s)]),
                  valid_until_s=at_s[-1] + 1, got_s=0)  # fmt: skip
    back = Curve.model_validate_json(curve.model_dump_json())
    when: Floats = np.linspace(-1, 1.1e6, 200)
    np.testing.assert_array_equal(back.at(when), curve.at(when))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"feed": {}}, "names no feed"),
        ({"feed": {"entsoE": {"zone": "10Y1001A1001A82H", "tokenFile": "t", "url": "http://x.org"}}}, "readable"),
        ({"periods": [{"name": "a", "start": "24:00", "pricePerKilowattHour": 1}]}, "24:00 is no start"),
        ({"periods": [{"name": "a", "start": "07:00", "end": "07:00", "pricePerKilowattHour": 1}]}, "is empty"),
        ({"periods": [{"name": "a", "pricePerKilowattHour": 1}] * 2}, "used twice"),
    ],
)
def test_a_tariff_that_cannot_be_meant_is_refused(written: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        tariff(**written)
