"""Price services as they answer: right, late, wrong, garbled, overrun, or not at all. Nothing ever waits for them."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent))  # the service stands in a module beside the tests

from price_service import DE, Service, document, period, series

from wattlease.core.api import Tariff
from wattlease.facility.prices.prices import Prices

NOW_S = datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()
TOKEN = "s3cret-and-long"


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    found = Service()
    await found.server.start_server()
    yield found
    await found.server.close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


def market(service: Service, token: Path, folder: Path | None = None, clock: float = NOW_S, **more: object) -> Prices:
    entsoe = {"zone": DE, "tokenFile": str(token), "url": str(service.server.make_url("/api")), "timeoutSeconds": 5}
    return _prices({"entsoE": entsoe, **more}, folder, clock)


def carbon(service: Service, token: Path, clock: float = NOW_S, **more: object) -> Prices:
    maps = {"zone": "DE", "tokenFile": str(token), "url": str(service.server.make_url("/v3")), "timeoutSeconds": 5}
    return _prices({"electricityMaps": {**maps, **more}}, None, clock)


def _prices(feed: dict[str, object], folder: Path | None, clock: float) -> Prices:
    tariff = {"pricePerKilowattHour": 0.2, "carbonGramsPerKilowattHour": 400.0, "feed": feed}
    return Prices(Tariff.model_validate(tariff), folder, lambda: clock)


def at(prices: Prices, when_s: float, now_s: float = NOW_S) -> tuple[float, float]:
    ahead = prices.prices(now_s)
    k = int(np.searchsorted(ahead.at_s, when_s, side="right")) - 1
    return float(ahead.energy_per_kwh[k]), float(ahead.carbon_g_per_kwh[k])


QUARTERS = period("2026-11-21T11:00Z", "2026-11-21T14:00Z", "PT15M", {1: 50.0, 5: 87.5, 6: -12.5, 9: 0.0})
HOURS = period("2026-11-21T11:00Z", "2026-11-21T16:00Z", "PT60M", {1: 1.0, 5: 99.0})


async def test_quarters_of_an_hour_are_read_and_a_gap_repeats_the_last_price(service: Service, token: Path) -> None:
    service.says("/api", document(series(QUARTERS)))
    prices = market(service, token)
    await prices.feeds[0].ask()
    ahead = prices.prices(NOW_S)
    assert at(prices, NOW_S + 60)[0] == pytest.approx(0.0875)
    assert at(prices, NOW_S + 900)[0] == pytest.approx(-0.0125)
    assert at(prices, NOW_S + 2700)[0] == pytest.approx(-0.0125)
    assert at(prices, NOW_S + 3600)[0] == 0.0
    assert at(prices, NOW_S + 7200)[0] == 0.2
    assert ahead.energy_per_kwh.min() == pytest.approx(-0.0125)
    query = service.asked[0].query
    assert query["documentType"] == "A44"
    assert query["securityToken"] == TOKEN
    assert (query["periodStart"], query["periodEnd"]) == ("202611200000", "202611230000")


async def test_the_finest_resolution_of_the_lowest_sequence_counts_and_intraday_does_not(
    service: Service, token: Path
) -> None:
    exaa = series(period("2026-11-21T11:00Z", "2026-11-22T11:00Z", "PT15M", {1: 700.0}), sequence=2)
    intraday = series(period("2026-11-21T11:00Z", "2026-11-22T11:00Z", "PT15M", {1: 800.0}), contract="A07")
    service.says("/api", document(exaa, series(HOURS), intraday, series(QUARTERS)))
    prices = market(service, token)
    await prices.feeds[0].ask()
    assert at(prices, NOW_S)[0] == pytest.approx(0.0875)
    assert at(prices, NOW_S + 7500)[0] == pytest.approx(0.001)
    assert at(prices, NOW_S + 3 * 3600 + 60)[0] == pytest.approx(0.099)
    assert at(prices, NOW_S + 5 * 3600)[0] == 0.2


async def test_the_site_pays_factor_and_surcharge_on_a_markets_price(service: Service, token: Path) -> None:
    service.says("/api", document(series(QUARTERS)))
    prices = market(service, token, factor=2.0, surchargePerKilowattHour=0.1)
    await prices.feeds[0].ask()
    assert at(prices, NOW_S)[0] == pytest.approx(2 * 0.0875 + 0.1)


async def test_a_feed_that_is_hours_old_holds_to_its_end_and_says_how_old_it_is(
    service: Service, token: Path, tmp_path: Path
) -> None:
    service.says("/api", document(series(HOURS)))
    await market(service, token, tmp_path).feeds[0].ask()
    later_s = NOW_S + 3 * 3600
    prices = market(service, token, tmp_path, later_s)
    service.says("/api", "down", 503)
    task = asyncio.create_task(prices.run())
    async with asyncio.timeout(5):
        while "503" not in prices.feeds[0].trouble.text:
            await asyncio.sleep(0.01)
    task.cancel()
    energy, _ = prices.standing(later_s)
    assert at(prices, later_s, later_s)[0] == pytest.approx(0.099)
    assert energy.age_s == 3 * 3600
    assert "told 180 min ago" in energy.text or "told 3.0 h ago" in energy.text
    assert at(prices, later_s + 3600, later_s)[0] == 0.2
    late, _ = prices.standing(later_s + 3600)
    assert late.source == "tariff"
    assert "503" in late.text


BILLION = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx">]><Publication_MarketDocument>&x;</Publication_MarketDocument>'
NOTHING = (
    "<Acknowledgement_MarketDocument><Reason><code>999</code><text>No matching data found</text></Reason>"
    "</Acknowledgement_MarketDocument>"
)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<html>be right back", "10Y1001A1001A82H:"),
        ("", "10Y1001A1001A82H:"),
        (NOTHING, "No matching data found"),
        ("<a/>", "is a a, not"),
        (BILLION, "document type"),
        (document(series(QUARTERS, zone="10YFR-RTE------C")), "answers for zone 10YFR-RTE------C"),
        (document(series(QUARTERS, currency="BGN")), "tells BGN per MWH, expected EUR"),
        (document(series(QUARTERS, contract="A07")), "holds no day-ahead prices"),
        (document(series(QUARTERS.replace("87.5", "NaN"))), "price of nan"),
        (document(series(QUARTERS.replace("87.5", "cheap"))), "cheap"),
        (document(series(QUARTERS.replace("<position>5<", "<position>50<"))), "positions outside"),
        (document(series(QUARTERS.replace("<position>5<", "<position>1<"))), "positions outside"),
        (document(series(QUARTERS.replace("PT15M", "PT0M"))), "resolution of 'PT0M'"),
        (document(series(QUARTERS.replace("14:00Z", "10:00Z"))), "no length"),
        (document(series(QUARTERS.replace("2026-11-21T14:00Z", "9026-11-21T14:00Z"))), "endless"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_said_and_the_tariff_holds(
    service: Service, token: Path, body: str, told: str
) -> None:
    service.says("/api", body)
    prices = market(service, token)
    await prices.feeds[0].ask()
    assert told in prices.troubles()[0]
    assert at(prices, NOW_S)[0] == 0.2


async def test_a_service_that_was_asked_too_often_is_left_alone(service: Service, token: Path) -> None:
    prices = market(service, token)
    service.says("/api", "slow down", 429)
    assert await prices.feeds[0].ask() == 600.0
    service.says("/api", "slow down", 429, **{"Retry-After": "1200"})
    assert await prices.feeds[0].ask() == 1200.0
    assert "asked too often" in prices.troubles()[0]


async def test_each_failure_doubles_the_wait_up_to_the_feeds_own(service: Service, token: Path) -> None:
    service.says("/api", "", 500)
    feed = market(service, token).feeds[0]
    waits = [await feed.ask() for _ in range(8)]
    assert waits == [30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0]


async def test_a_service_that_never_answers_holds_nobody_up(service: Service, token: Path) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(600)
        return web.Response()

    service.answer["/api"] = hang
    prices = market(service, token)
    task = asyncio.create_task(prices.run())
    while not service.asked:
        await asyncio.sleep(0.01)
    assert at(prices, NOW_S)[0] == 0.2
    async with asyncio.timeout(30):
        while "no answer within 5 s" not in prices.troubles()[0]:
            await asyncio.sleep(0.05)
    task.cancel()


async def test_a_service_that_sends_too_much_is_cut_off(service: Service, token: Path) -> None:
    service.says("/api", "x" * (9 << 20))
    prices = market(service, token)
    await prices.feeds[0].ask()
    assert "sends more than" in prices.troubles()[0]


async def test_the_token_is_never_told(service: Service, token: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wattlease")
    service.says("/api", "no", 302, Location="http://127.0.0.1:1/elsewhere")
    prices = market(service, token)
    await prices.feeds[0].ask()
    await service.server.close()
    await prices.feeds[0].ask()
    assert len(service.asked) == 1
    assert "cannot be reached" in prices.troubles()[0]
    assert TOKEN not in caplog.text + repr(prices.troubles())
    assert "entso-e" in caplog.text


@pytest.mark.parametrize(
    ("mode", "text", "told"),
    [
        (0o644, "x", "others may read"),
        (0o600, "", "holds no token"),
        (0o600, "a\nb", "holds no token"),
        (0, None, "No such"),
    ],
)
async def test_a_token_file_that_is_not_right_is_said(
    service: Service, tmp_path: Path, mode: int, text: str | None, told: str
) -> None:
    path = tmp_path / "t"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    prices = market(service, path)
    await prices.feeds[0].ask()
    assert told in prices.troubles()[0]
    assert not service.asked


def latest(**more: object) -> dict[str, object]:
    figure = {"zone": "DE", "carbonIntensity": 302, "datetime": "2026-11-21T12:00:00.000Z", "isEstimated": True,
              "updatedAt": "2026-11-21T11:45:00.000Z", "estimationMethod": "TIME_SLICER_AVERAGE"}  # fmt: skip
    return figure | more


async def test_the_newest_carbon_figure_holds_for_its_time_and_says_that_it_is_estimated(
    service: Service, token: Path
) -> None:
    service.says("/v3/carbon-intensity/latest", latest())
    prices = carbon(service, token)
    await prices.feeds[0].ask()
    assert at(prices, NOW_S)[1] == 302.0
    assert at(prices, NOW_S + 7300)[1] == 400.0
    _, standing = prices.standing()
    assert standing.estimated
    assert "estimated" in standing.text
    request = service.asked[0]
    assert request.headers["auth-token"] == TOKEN
    assert dict(request.query) == {"zone": "DE", "disableCallerLookup": "true"}


async def test_the_forecast_follows_the_newest_figure(service: Service, token: Path) -> None:
    hours = [
        {"carbonIntensity": 100 + k, "datetime": (datetime(2026, 11, 21, 10 + k, tzinfo=UTC)).isoformat()}
        for k in range(12)
    ]
    service.says("/v3/carbon-intensity/latest", latest(isEstimated=False))
    service.says("/v3/carbon-intensity/forecast", {"zone": "DE", "forecast": hours})
    prices = carbon(service, token, forecast=True)
    await prices.feeds[0].ask()
    assert at(prices, NOW_S)[1] == 302.0
    assert at(prices, NOW_S + 3600)[1] == 103.0
    assert at(prices, NOW_S + 9.5 * 3600)[1] == 111.0
    assert at(prices, NOW_S + 10.5 * 3600)[1] == 400.0


@pytest.mark.parametrize(
    ("answer", "more", "told"),
    [
        (latest(zone="FR"), {}, "answers for zone 'FR', asked for DE"),
        (latest(carbonIntensity=-4), {}, "carbonIntensity"),
        (latest(carbonIntensity=None), {}, "carbonIntensity"),
        (latest(datetime="2026-11-21T12:00:00"), {}, "datetime"),
        (latest(datetime="2026-11-23T12:00:00Z"), {}, "yet to come"),
        (latest(), {"estimated": False}, "an estimate"),
        ("<html>", {}, "the answer"),
    ],
)
async def test_a_carbon_figure_that_cannot_be_used_is_said(
    service: Service, token: Path, answer: str | dict[str, Any], more: dict[str, object], told: str
) -> None:
    service.says("/v3/carbon-intensity/latest", answer)
    prices = carbon(service, token, **more)
    await prices.feeds[0].ask()
    assert told in prices.troubles()[0]
    assert at(prices, NOW_S)[1] == 400.0


async def test_a_figure_of_yesterday_is_not_the_newest_of_today(service: Service, token: Path) -> None:
    old = datetime.fromtimestamp(NOW_S, UTC) - timedelta(days=1)
    service.says("/v3/carbon-intensity/latest", latest(datetime=old.isoformat()))
    prices = carbon(service, token)
    await prices.feeds[0].ask()
    assert at(prices, NOW_S)[1] == 400.0
