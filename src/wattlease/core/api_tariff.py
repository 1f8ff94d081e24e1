"""What energy and carbon cost: by the clock, by a file, by a market; and what holds when none of them answers."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from wattlease.core.api_base import Name, Part, Price, SomeSeconds, mistake, refuse_twins
from wattlease.core.api_events import EVERY_DAY, Clock, Day
from wattlease.core.api_reach import LOOPBACK, File, Url

Month = Annotated[int, Field(ge=1, le=12)]
EVERY_MONTH: tuple[Month, ...] = tuple(range(1, 13))


def _shaped(pattern: str, what: str, example: str) -> AfterValidator:
    """Text of a shape, refused in words where it has another."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is no {what}; write such as {example}")
        return text

    return AfterValidator(check)


class TariffPeriod(Part):
    """Hours, days and months in which energy has a price of its own."""

    name: Name
    """Such as `peak` or `night`."""

    days: Annotated[tuple[Day, ...], Field(min_length=1)] = EVERY_DAY
    """The days on which it starts."""

    months: Annotated[tuple[Month, ...], Field(min_length=1)] = EVERY_MONTH
    """The months in which it starts, 1 to 12."""

    start: Clock = "00:00"
    """Local time, `HH:MM`."""

    end: Clock = "24:00"
    """Local time, `HH:MM`; before `start` means the next day, `24:00` the end of the day."""

    price_per_kilowatt_hour: float
    """Energy price; may be negative."""

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        if self.start == "24:00":
            raise mistake(("start",), "24:00 is no start; write 00:00 and the next day")
        if self.start == self.end:
            text = f"{self.end} is also the start, so the period is empty; for a whole day write 00:00 to 24:00"
            raise mistake(("end",), text)
        return self


class PriceFile(Part):
    """A file of prices and carbon ahead, that someone else brings up to date."""

    path: File
    """CSV with a head of `start`, `pricePerKilowattHour`, `carbonGramsPerKilowattHour`; or `.json` or `.yaml`."""

    poll_seconds: SomeSeconds = 60
    """How often it is looked at."""


class EntsoE(Part):
    """Day-ahead prices of the European market, from the ENTSO-E transparency platform."""

    zone: Annotated[str, _shaped("[0-9A-Z-]{16}", "EIC of a bidding zone", "10Y1001A1001A82H")]
    """EIC of the bidding zone, such as `10Y1001A1001A82H` for Germany and Luxembourg."""

    token_file: File
    """A file with the platform's security token."""

    currency: Annotated[str, _shaped("[A-Z]{3}", "currency", "EUR")] = "EUR"
    """What the zone's prices must be in; others are refused, since nothing here converts money."""

    sequence: Annotated[int, Field(ge=1, le=9)] | None = None
    """Which of the zone's auctions, where it has several; absent: the first that there is."""

    poll_seconds: Annotated[int, Field(ge=60, le=86_400)] = 1800
    """How often the platform is asked; prices of tomorrow come around 13:00 in Brussels."""

    timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 60
    """How long an answer is waited for."""

    url: Url = "https://web-api.tp.entsoe.eu/api"
    """Where the platform answers."""

    @model_validator(mode="after")
    def _token_stays_secret(self) -> Self:
        _refuse_readable(self.url)
        return self


class ElectricityMaps(Part):
    """Carbon intensity of the supply, from Electricity Maps."""

    zone: Annotated[str, _shaped("[A-Z]{2}[A-Z0-9-]{0,30}", "zone of Electricity Maps", "DE")]
    """Such as `DE` or `US-CAL-CISO`; an answer for another zone is refused."""

    token_file: File
    """A file with the API's token."""

    forecast: bool = False
    """Whether the day ahead is asked for as well; needs a plan that has it."""

    estimated: bool = True
    """Whether figures that are themselves estimates count; they are marked where they are shown."""

    hold_seconds: Annotated[int, Field(ge=300, le=86_400)] = 7200
    """How long the newest figure is taken to hold after its own time."""

    poll_seconds: Annotated[int, Field(ge=60, le=86_400)] = 900
    """How often it is asked."""

    timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 30
    """How long an answer is waited for."""

    url: Url = "https://api.electricitymaps.com/v3"
    """Where it answers."""

    @model_validator(mode="after")
    def _token_stays_secret(self) -> Self:
        _refuse_readable(self.url)
        return self


class PriceFeed(Part):
    """Who tells prices ahead. Where several know an hour, a file goes before a market."""

    file: PriceFile | None = None
    """Prices, carbon or both from a file."""

    entso_e: EntsoE | None = None
    """Energy prices of the European day-ahead market."""

    electricity_maps: ElectricityMaps | None = None
    """Carbon intensity."""

    factor: Annotated[float, Field(ge=0, le=100)] = 1.0
    """What a market's price is multiplied by, for losses, taxes in percent or a currency."""

    surcharge_per_kilowatt_hour: float = 0.0
    """What is then added to a market's price: grid fees, levies."""

    @model_validator(mode="after")
    def _tells_something(self) -> Self:
        if not (self.file or self.entso_e or self.electricity_maps):
            raise mistake((), "names no feed; write file, entsoE or electricityMaps, or leave it out")
        return self


class CarbonCap(Part):
    """The most CO2 that the supply may cause in a span of the calendar."""

    tonnes: Annotated[float, Field(ge=0.001, le=1e9)]
    """Tonnes of CO2 in each span."""

    per: Literal["Day", "Month", "Year"] = "Month"
    """The span, by the clock of `timeZone`."""


class Tariff(Part):
    """What energy costs; money of one currency. What is written here holds wherever no feed knows better."""

    price_per_kilowatt_hour: float = 0.10
    """Energy price outside all periods; may be negative."""

    periods: tuple[TariffPeriod, ...] = ()
    """Prices by hour, day and month; where several hold, the first of the list counts."""

    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """IANA name, such as `Europe/Berlin`, of the clock that periods, billing months and caps go by."""

    demand_price_per_kilowatt: Price = 0.0
    """Price of the month's highest metering window; `demandCharge` may say it instead."""

    billing_day: Annotated[int, Field(ge=1, le=28)] = 1
    """The day on which a billing month begins."""

    carbon_price_per_tonne: Price = 0.0
    """What a tonne of CO2 counts in the plan's costs."""

    carbon_grams_per_kilowatt_hour: Price = 0.0
    """Carbon intensity of the supply."""

    carbon_cap: CarbonCap | None = None
    """A cap on tonnes, kept by a limit; absent: carbon is a cost and nothing more."""

    feed: PriceFeed | None = None
    """Who tells prices and carbon ahead."""

    cap_for_price: bool = False
    """Whether jobs may be slowed only because energy is dear, when that saves more than it costs them. Without it
    price and carbon choose among cuts that a limit asks for, and cause none."""

    @model_validator(mode="after")
    def _twins(self) -> Self:
        refuse_twins("periods", (p.name for p in self.periods))
        return self


def _refuse_readable(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise mistake(("url",), f"{url!r} would carry the token readable; write https://")
