"""Asking a device or server for JSON over HTTP: bounded in time and size, never led elsewhere."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp

from wattlease.facility.meters.reading import Refusal, Trouble

Page = dict[str, Any]

MAX_BYTES = 1 << 20
"""No page that we read is near this long."""

LOCK_OUT_S = 300.0
"""How long who refused an account is left alone, so that it does not lock it."""


class Web:
    """One server, one connection."""

    def __init__(self, url: str, timeout_s: float, ca_file: str | None) -> None:
        self.url, self._timeout_s, self._ca_file = url, timeout_s, ca_file
        self._http: aiohttp.ClientSession | None = None

    async def page(
        self, path: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Page | Trouble:
        """A page that is a JSON object."""
        url = f"{self.url}{path}"
        try:
            http = self._http = self._http or self._opened()
            async with http.get(url, params=query, headers=headers, allow_redirects=False) as answer:
                return _page(url, answer.status, await _body(answer))
        except TimeoutError:
            return Trouble(
                f"{self.url}: no answer within {self._timeout_s:g} s", "check that it is up, and the way to it"
            )
        except (ssl.SSLError, aiohttp.ClientSSLError) as error:
            return Trouble(f"{self.url}: {error}", "check caFile: who signed its certificate")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Trouble(f"{self.url}: {error or type(error).__name__}", "check url, and the way to it")

    async def close(self) -> None:
        """Let go of the connection."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    def _opened(self) -> aiohttp.ClientSession:
        secure = self.url.startswith("https:")
        trust = ssl.create_default_context(cafile=self._ca_file) if secure else True  # the former takes 0.1 s
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust, limit=2),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
        )


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    data = b""
    async for chunk in answer.content.iter_chunked(MAX_BYTES):
        data += chunk
        if len(data) > MAX_BYTES:
            raise OSError(f"sends more than {MAX_BYTES} bytes")
    return data


def _page(url: str, status: int, data: bytes) -> Page | Trouble:
    if status in (401, 403):
        fix = f"check the account; it is asked again after {LOCK_OUT_S:g} s, so that it is not locked"
        return Refusal(f"{url}: refuses the account ({status})", fix, wait_s=LOCK_OUT_S)
    try:
        page = json.loads(data or b"null")
    except (ValueError, RecursionError):
        page = None
    if isinstance(page, dict) and (status == 200 or "error" in page):
        return page
    what = f"answers {status}" if status != 200 else "sends no JSON object"
    return Refusal(f"{url}: {what}", "check url; something else may answer there")


def number(value: object) -> float | None:
    """A JSON number, or text that is one; `None` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
