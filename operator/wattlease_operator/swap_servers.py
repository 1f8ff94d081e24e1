"""What model servers say of themselves over HTTP, and vLLM's sleep: OpenAI's API, and metrics as vLLM and SGLang have.

The addresses are those of EndpointSlices, which the API server refuses to make of loopback and link-local ones. No
redirect is followed, no name resolved, and no answer read beyond a bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

CALL_S = 4.0
"""A token that takes longer is no answer."""

SLEEP_S = 60.0
"""Weights move to the host's memory and back at some 20 GB/s."""

MOST_BYTES = 4_000_000
BUSY = (
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "sglang:num_running_reqs",
    "sglang:num_queue_reqs",
)
REQUESTS = "http_requests_total"
"""Counter of prometheus-fastapi-instrumentator, which vLLM brings: its label `status` is 2xx, 4xx or 5xx."""


@dataclass(frozen=True, slots=True)
class Told:
    """Of one server: None is what it did not say. `requests` and `failures` count since it began."""

    asleep: bool | None = None
    good: bool | None = None
    busy: int | None = None
    requests: float = 0.0
    failures: float = 0.0


class Servers:
    """Asks servers by their addresses, `http://host:port`, from one event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()

    async def look(self, address: str, *, sleeps: bool) -> Told:
        """How it does; one that sleeps is not asked for a token."""
        asleep = await self._asleep(address) if sleeps else None
        good, told = await asyncio.gather(self._answers(address) if not asleep else _none(), self._metrics(address))
        busy = [sample.value for sample in told if sample.name in BUSY]
        counted = [sample for sample in told if sample.name == REQUESTS]
        failed = sum(sample.value for sample in counted if sample.labels.get("status", "").startswith("5"))
        return Told(asleep, good, round(sum(busy)) if busy else None, sum(s.value for s in counted), failed)

    async def sleep(self, address: str) -> str:
        """Have vLLM put its weights into the host's memory; why it does not, if so."""
        return await self._told(address, "/sleep?level=1&mode=wait")

    async def wake(self, address: str) -> str:
        """Have vLLM take them back; why it does not, if so."""
        return await self._told(address, "/wake_up")

    async def _told(self, address: str, path: str) -> str:
        status, _ = await self._ask("POST", address + path, None, SLEEP_S)
        return "" if 200 <= status < 300 else f"POST {path} answered {status or 'nothing'}"

    async def _asleep(self, address: str) -> bool | None:
        status, body = await self._ask("GET", f"{address}/is_sleeping")
        found = _json(body).get("is_sleeping") if status == 200 else None
        return found if isinstance(found, bool) else None

    async def _answers(self, address: str) -> bool:
        """Whether it makes a token of the model that it names; what it refuses for want of a key, it answers."""
        status, body = await self._ask("GET", f"{address}/v1/models")
        if status in (401, 403):
            return True
        models = _json(body).get("data")
        name = models[0].get("id") if isinstance(models, list) and models and isinstance(models[0], dict) else None
        if status != 200 or not isinstance(name, str):
            return False
        asked = {"model": name, "prompt": "1", "max_tokens": 1}
        status, _ = await self._ask("POST", f"{address}/v1/completions", asked)
        return 0 < status < 500 and status != 404

    async def _metrics(self, address: str) -> list[Sample]:
        status, body = await self._ask("GET", f"{address}/metrics")
        return _samples(body.decode(errors="replace")) if status == 200 else []

    async def _ask(
        self, verb: str, url: str, body: Mapping[str, Any] | None = None, span_s: float = CALL_S
    ) -> tuple[int, bytes]:
        """Status and answer, 0 where there is none."""
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"User-Agent": "wattlease"})
        try:
            async with (
                asyncio.timeout(span_s),
                self._session.request(verb, url, json=body, allow_redirects=False) as answer,
            ):
                return answer.status, await _all(answer)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return 0, b""


async def _all(answer: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for part in answer.content.iter_chunked(65536):
        found += part
        if len(found) > MOST_BYTES:
            break
    return bytes(found)


async def _none() -> None:
    return None


def _samples(text: str) -> list[Sample]:
    """All samples; none of a text that is not Prometheus's."""
    try:
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError:
        return []


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
