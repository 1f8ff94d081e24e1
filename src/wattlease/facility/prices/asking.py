"""Asking a price service over HTTP: bounded in time and size, no redirects, and trouble as a value without secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

MOST_BYTES = 8 << 20
"""A week of quarters of an hour is a few hundred kilobytes."""

BANNED_S = 600.0
"""How long a service that answers 429 without saying more is left alone; ENTSO-E bans for ten minutes."""

FAREST_WAIT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a feed told nothing usable; `wait_s` is how long it asked to be left alone."""

    text: str
    wait_s: float = 0.0


def secret(path: str) -> str | Trouble:
    """The one line of a file; read anew each time, so that a new token needs no restart."""
    try:
        if Path(path).stat().st_mode & 0o077:
            return Trouble(f"{path}: others may read the token; chmod 600 {path}")
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        return Trouble(f"{path}: {getattr(error, 'strerror', None) or 'is no text'}; write the token there")
    if not token or len(token.split()) > 1:
        return Trouble(f"{path}: holds no token; write it there, on one line and nothing else")
    return token


async def asked(url: str, query: Mapping[str, str], timeout_s: float, headers: Mapping[str, str]) -> bytes | Trouble:
    """The body of the answer, or why there is none. Neither query nor headers are ever told: they hold tokens."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True) as http,
            http.get(url, params=query, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status == 200:
                return await _body(url, answer)
            return Trouble(f"{url}: answered {answer.status}{_hint(answer.status)}", _wait_s(answer))
    except TimeoutError:
        return Trouble(f"{url}: no answer within {timeout_s:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # the text of some of these holds the whole address, and so the token
        return Trouble(f"{url}: {_why(error)}")


async def _body(url: str, answer: aiohttp.ClientResponse) -> bytes | Trouble:
    data = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > MOST_BYTES:
            return Trouble(f"{url}: sends more than {MOST_BYTES} bytes")
        await asyncio.sleep(0)
    return bytes(data)


def _hint(status: int) -> str:
    return {401: ", the token is not accepted", 403: ", the token may not ask for this", 429: ", asked too often"}.get(
        status, ""
    )


def _wait_s(answer: aiohttp.ClientResponse) -> float:
    if answer.status not in (429, 503):
        return 0.0
    told = answer.headers.get("Retry-After", "")
    if told.isdigit():
        return min(float(told), FAREST_WAIT_S)
    return BANNED_S if answer.status == 429 else 0.0


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot be reached: {error.os_error.strerror or type(error.os_error).__name__}"
    return f"broke off: {type(error).__name__}"
