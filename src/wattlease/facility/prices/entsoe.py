"""Day-ahead prices of ENTSO-E: document A44, in XML, some hundred lines a day.

A document may hold several auctions of a zone (sequences), several resolutions, and, as curves of type A03 do, only
the points at which the price changes. Day-ahead contracts count, of the lowest sequence, the finest resolution.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from wattlease.core.api_tariff import EntsoE
from wattlease.facility.prices.asking import Trouble, asked, secret
from wattlease.facility.prices.curve import Curve

BACK = timedelta(days=1)
AHEAD = timedelta(days=2)
KWH_PER_MWH = 1000.0
MOST_PER_MWH = 1e6
"""No market's prices are near this: the harmonised ceiling is some thousands."""
MOST_STEPS = 3000
"""Of a period: a month in quarters of an hour."""

_RESOLUTION = re.compile(r"PT(\d+)(M|H)|P(\d+)D")


class _NoDoctype(ElementTree.TreeBuilder):
    """Entities can only be declared in a document type, so a document that has none cannot blow up."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("declares a document type, which no answer of the platform does")


@dataclass(frozen=True, slots=True)
class _Series:
    """One TimeSeries: which auction, how fine, and its steps."""

    sequence: int
    step_s: float
    steps: tuple[tuple[float, float, float], ...]
    """From when, until when (unix seconds), money per kWh."""


async def fetch(settings: EntsoE, now_s: float) -> Curve | Trouble:
    """Prices from yesterday to as far as they are known."""
    token = secret(settings.token_file)
    if isinstance(token, Trouble):
        return token
    today = datetime.fromtimestamp(now_s, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    query = {
        "securityToken": token,
        "documentType": "A44",
        "contract_MarketAgreement.type": "A01",
        "in_Domain": settings.zone,
        "out_Domain": settings.zone,
        "periodStart": f"{today - BACK:%Y%m%d%H%M}",
        "periodEnd": f"{today + AHEAD:%Y%m%d%H%M}",
    }
    body = await asked(settings.url, query, settings.timeout_seconds, {})
    return body if isinstance(body, Trouble) else read(body, settings, now_s)


def read(body: bytes, settings: EntsoE, now_s: float) -> Curve | Trouble:
    """The curve in a document, or what is wrong with it."""
    try:
        root = ElementTree.fromstring(body, ElementTree.XMLParser(target=_NoDoctype()))
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        if root.tag == "Acknowledgement_MarketDocument":
            reason = root.findtext("Reason/text") or root.findtext("Reason/code") or "no reason"
            return Trouble(f"{settings.url}: has nothing for {settings.zone}: {reason[:200]}")
        if root.tag != "Publication_MarketDocument":
            raise ValueError(f"is a {root.tag[:60]}, not a Publication_MarketDocument")
        steps = _chosen([_series(s, settings) for s in root.iter("TimeSeries") if _is_day_ahead(s)], settings)
        return _curve(steps, settings, now_s)
    except (ElementTree.ParseError, ValueError) as error:
        return Trouble(f"{settings.url}: {settings.zone}: {error}")


def _is_day_ahead(series: ElementTree.Element) -> bool:
    return series.findtext("contract_MarketAgreement.type", "A01") == "A01"


def _series(series: ElementTree.Element, settings: EntsoE) -> _Series:
    zone = series.findtext("in_Domain.mRID", "")
    currency = series.findtext("currency_Unit.name", "")
    unit = series.findtext("price_Measure_Unit.name", "")
    if zone != settings.zone:
        raise ValueError(f"answers for zone {zone[:40] or 'none'}")
    if currency != settings.currency or unit != "MWH":
        raise ValueError(f"tells {currency[:10]} per {unit[:10]}, expected {settings.currency} per MWH")
    sequence = int(series.findtext("classificationSequence_AttributeInstanceComponent.position", "1"))
    periods = [_period(period) for period in series.iter("Period")]
    finest_s = min((step_s for step_s, _ in periods), default=0.0)
    return _Series(sequence, finest_s, tuple(step for _, steps in periods for step in steps))


def _period(period: ElementTree.Element) -> tuple[float, tuple[tuple[float, float, float], ...]]:
    """The resolution in seconds, and the steps; a position that is left out repeats the last price."""
    start_s, end_s = (_time_s(period.findtext(f"timeInterval/{side}", "")) for side in ("start", "end"))
    step_s = _resolution_s(period.findtext("resolution", ""))
    count = round((end_s - start_s) / step_s)
    if not 0 < count <= MOST_STEPS:
        raise ValueError("has a period of no length, or an endless one")
    points = sorted(_points(period))
    positions = [position for position, _ in points]
    if not points or positions[0] != 1 or positions[-1] > count or len(set(positions)) < len(positions):
        raise ValueError("has positions outside their period")
    price_from, price, steps = dict(points), points[0][1], []
    for k in range(count):
        price = price_from.get(k + 1, price)
        steps.append((start_s + k * step_s, start_s + (k + 1) * step_s, price))
    return step_s, tuple(steps)


def _points(period: ElementTree.Element) -> Iterator[tuple[int, float]]:
    for point in period.iter("Point"):
        position, amount = point.findtext("position", ""), float(point.findtext("price.amount", ""))
        if not abs(amount) <= MOST_PER_MWH:  # also for NaN, which float() reads
            raise ValueError(f"tells a price of {amount:g} a MWh")
        yield int(position), amount / KWH_PER_MWH


def _chosen(series: list[_Series], settings: EntsoE) -> list[tuple[float, float, float]]:
    """Steps in order: of the asked or lowest sequence, and where resolutions overlap of the finest."""
    if settings.sequence is not None:
        series = [s for s in series if s.sequence == settings.sequence]
    if not series:
        raise ValueError("holds no day-ahead prices")
    lowest = min(s.sequence for s in series)
    found: list[tuple[float, float, float]] = []
    for s in sorted((s for s in series if s.sequence == lowest), key=lambda s: s.step_s):
        taken = [(a, b) for a, b, _ in found]
        found += [step for step in s.steps if all(step[1] <= a or step[0] >= b for a, b in taken)]
    return sorted(found)


def _curve(steps: list[tuple[float, float, float]], settings: EntsoE, now_s: float) -> Curve:
    """Steps side by side; a hole between two days is a step that is not known."""
    at_s: list[float] = []
    values: list[float] = []
    end_s = steps[0][0]
    for start_s, until_s, price in steps:
        if start_s > end_s:
            at_s.append(end_s)
            values.append(float("nan"))
        at_s.append(start_s)
        values.append(price)
        end_s = until_s
    return Curve(
        kind="energy", source=f"ENTSO-E {settings.zone}", at_s=tuple(at_s), values=tuple(values),
        valid_until_s=end_s, got_s=now_s,
    )  # fmt: skip


def _time_s(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC).timestamp()


def _resolution_s(text: str) -> float:
    found = _RESOLUTION.fullmatch(text)
    if not found or not int(found[1] or found[3]):
        raise ValueError(f"has a resolution of {text[:20]!r}")
    return float(found[1]) * (60 if found[2] == "M" else 3600) if found[1] else float(found[3]) * 86_400
