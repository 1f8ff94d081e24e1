"""A price service on loopback, and the documents of a European market in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

DE = "10Y1001A1001A82H"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """A price service on loopback that answers as it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.answer: dict[str, Answer] = {}
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        self.server = TestServer(app)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return await self.answer[request.path](request)

    def says(self, path: str, body: str | dict[str, Any], status: int = 200, **headers: str) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            if isinstance(body, dict):
                return web.json_response(body, status=status, headers=headers)
            return web.Response(text=body, status=status, headers=headers)

        self.answer[path] = answer


def period(start: str, end: str, resolution: str, points: dict[int, float]) -> str:
    told = "".join(
        f"<Point><position>{p}</position><price.amount>{v}</price.amount></Point>" for p, v in points.items()
    )
    span = f"<timeInterval><start>{start}</start><end>{end}</end></timeInterval>"
    return f"<Period>{span}<resolution>{resolution}</resolution>{told}</Period>"


def series(*periods: str, sequence: int = 1, zone: str = DE, currency: str = "EUR", contract: str = "A01") -> str:
    return (
        f"<TimeSeries><mRID>1</mRID><auction.type>A01</auction.type><businessType>A62</businessType>"
        f'<in_Domain.mRID codingScheme="A01">{zone}</in_Domain.mRID>'
        f"<contract_MarketAgreement.type>{contract}</contract_MarketAgreement.type>"
        f"<currency_Unit.name>{currency}</currency_Unit.name><price_Measure_Unit.name>MWH</price_Measure_Unit.name>"
        f"<classificationSequence_AttributeInstanceComponent.position>{sequence}"
        f"</classificationSequence_AttributeInstanceComponent.position>"
        f"<curveType>A03</curveType>{''.join(periods)}</TimeSeries>"
    )


def document(*found: str) -> str:
    kind, namespace = "Publication_MarketDocument", "urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"
    return f'<?xml version="1.0"?><{kind} xmlns="{namespace}">{"".join(found)}</{kind}>'
