"""Carbon intensity from Electricity Maps: the newest figure, and where the plan has it the day ahead.

A service that does not know a zone may answer for where the caller's address seems to be: that is turned off, and the
zone of every answer is looked at all the same.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from wattlease.core.api_tariff import ElectricityMaps
from wattlease.facility.prices.asking import Trouble, asked, secret
from wattlease.facility.prices.curve import Curve

HOUR_S = 3600.0
FUTURE_S = 2 * HOUR_S
"""A newest figure that is further ahead of our clock than this is not believed."""

Grams = Annotated[float, Field(ge=0, le=5000, allow_inf_nan=False)]


class _Outside(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Latest(_Outside):
    zone: str
    carbonIntensity: Grams  # noqa: N815 the service's own name
    datetime: AwareDatetime
    isEstimated: bool = False  # noqa: N815 the service's own name


class _Hour(_Outside):
    carbonIntensity: Grams  # noqa: N815 the service's own name
    datetime: AwareDatetime


class _Ahead(_Outside):
    zone: str
    forecast: Annotated[tuple[_Hour, ...], Field(min_length=1, max_length=2000)]


Page = TypeVar("Page", _Latest, _Ahead)


async def fetch(settings: ElectricityMaps, now_s: float) -> Curve | Trouble:
    """The newest figure, held for a while, and the forecast after it."""
    latest = await _asked(settings, "latest", _Latest)
    if isinstance(latest, Trouble):
        return latest
    if latest.isEstimated and not settings.estimated:
        return Trouble(f"{settings.url}: tells an estimate for {settings.zone}, and estimated is false")
    if latest.datetime.timestamp() > now_s + FUTURE_S:
        return Trouble(f"{settings.url}: tells a figure of {latest.datetime.isoformat()}, which is yet to come")
    hours = await _forecast(settings) if settings.forecast else ()
    return hours if isinstance(hours, Trouble) else _curve(settings, latest, hours, now_s)


async def _forecast(settings: ElectricityMaps) -> tuple[_Hour, ...] | Trouble:
    ahead = await _asked(settings, "forecast", _Ahead)
    return ahead if isinstance(ahead, Trouble) else ahead.forecast


def _curve(settings: ElectricityMaps, latest: _Latest, hours: tuple[_Hour, ...], now_s: float) -> Curve:
    """Real figures go before foreseen ones, and the last of either holds for its time."""
    first_s = latest.datetime.timestamp()
    foreseen = {hour.datetime.timestamp(): hour.carbonIntensity for hour in hours}
    steps = {first_s: latest.carbonIntensity} | {at_s: g for at_s, g in foreseen.items() if at_s > first_s}
    last_s = max(steps)
    return Curve(
        kind="carbon",
        source=f"Electricity Maps {settings.zone}",
        at_s=tuple(sorted(steps)),
        values=tuple(steps[at_s] for at_s in sorted(steps)),
        valid_until_s=last_s + (HOUR_S if len(steps) > 1 else settings.hold_seconds),
        got_s=now_s,
        estimated=latest.isEstimated,
    )


async def _asked(settings: ElectricityMaps, what: str, page: type[Page]) -> Page | Trouble:
    token = secret(settings.token_file)
    if isinstance(token, Trouble):
        return token
    url = f"{settings.url}/carbon-intensity/{what}"
    query = {"zone": settings.zone, "disableCallerLookup": "true"}
    body = await asked(url, query, settings.timeout_seconds, {"auth-token": token})
    if isinstance(body, Trouble):
        return body
    try:
        read = page.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return Trouble(f"{url}: {'.'.join(map(str, first['loc'])) or 'the answer'}: {first['msg']}")
    if read.zone != settings.zone:
        return Trouble(f"{url}: answers for zone {read.zone[:40]!r}, asked for {settings.zone}")
    return read
