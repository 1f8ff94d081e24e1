"""A number from Prometheus, with the age of the sample behind it.

An instant query answers with samples up to five minutes old as if they were new, so the sample's own time is asked too.
"""

from __future__ import annotations

import asyncio
import math

from wattlease.core.api_reach import PrometheusMeter
from wattlease.facility.meters.reading import Measured, Refusal, Trouble
from wattlease.facility.meters.secret_files import secret
from wattlease.facility.meters.web import Page, Web, number

PATH = "/api/v1/query"


class Prometheus:
    """One query."""

    def __init__(self, reach: PrometheusMeter, timeout_s: float) -> None:
        self._reach = reach
        self._web = Web(reach.url, timeout_s, reach.ca_file)

    async def read(self) -> Measured | Trouble:
        """The value now, and when it was measured, both by the server's clock."""
        age_query = self._reach.age_query or f"timestamp({self._reach.query})"
        value, measured = await asyncio.gather(self._asked(self._reach.query), self._asked(age_query))
        if isinstance(value, Trouble):
            return value
        if isinstance(measured, Trouble):
            return Trouble(f"{measured.text} (asking for its age)", "write ageQuery, such as min(timestamp(...))")
        now_s, power_w = value
        return Measured(power_w, self._reach.query, age_s=max(0.0, now_s - measured[1]))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._web.close()

    async def _asked(self, query: str) -> tuple[float, float] | Trouble:
        """When by the server's clock, and the number."""
        token = secret(self._reach.token_file) if self._reach.token_file else None
        if isinstance(token, Trouble):
            return token
        page = await self._web.page(PATH, {"query": query}, {"Authorization": f"Bearer {token}"} if token else {})
        return page if isinstance(page, Trouble) else self._one(page)

    def _one(self, page: Page) -> tuple[float, float] | Trouble:
        if page.get("status") != "success":
            return Refusal(f"{self._reach.url}: {str(page.get('error', 'refuses the query'))[:200]}", "check query")
        data = page.get("data")
        kind, result = (data.get("resultType"), data.get("result")) if isinstance(data, dict) else (None, None)
        samples = [result] if kind == "scalar" else self._series(result)
        if len(samples) != 1:
            fix = "write sum(...), or narrow it" if samples else "check that what it names is scraped"
            return Trouble(f"{self._reach.url}: the query gives {len(samples)} series", fix)
        return _sample(samples[0]) or Trouble(f"{self._reach.url}: the query gives no number", "check query")

    @staticmethod
    def _series(result: object) -> list[object]:
        return [one.get("value") for one in result if isinstance(one, dict)] if isinstance(result, list) else []


def _sample(pair: object) -> tuple[float, float] | None:
    """Time and value; Prometheus writes values as text."""
    if not isinstance(pair, list) or len(pair) != 2:
        return None
    at_s, value = number(pair[0]), number(pair[1])
    if at_s is None or value is None or not math.isfinite(value):
        return None
    return at_s, value
