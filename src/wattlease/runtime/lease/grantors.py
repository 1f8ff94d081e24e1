"""The grantors that a holder may ask, over HTTP: it stays with the one that answers."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
import orjson
from pydantic import TypeAdapter, ValidationError

from wattlease.core.lease import Refused
from wattlease.runtime.lease.report import Renewal, Reply
from wattlease.runtime.lease.tls import TlsFiles

PATH = "/v1/lease"
CONNECT_S = 1.0
PATIENCE_S = 2.0
"""How much longer than the wait it asked for a holder waits for an answer: far less than a grant lasts."""

ANEW = frozenset({401, 409, 503})
"""Answers after which no connection is kept: its certificate may have expired, though the file is renewed, and behind
one address there may be several grantors, as behind a Service, of which another leads or knows the caller."""

REPLY_MAX_BYTES = 4 * 1024 * 1024

_renewal = TypeAdapter(Renewal)
_reply = TypeAdapter(Reply)


def token_file(path: Path) -> Callable[[], str]:
    """A bearer token as it stands in a file now, which the kubelet or an operator renews."""
    return lambda: path.read_text().strip()


class Grantors:
    """Addresses such as `https://slurm1:8943`; each call goes to the one that answered last, or the next after it."""

    def __init__(
        self,
        addresses: Sequence[str],
        tls: TlsFiles | None = None,
        token: Callable[[], str] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        if not addresses:
            raise ValueError("a holder needs the address of at least one grantor")
        self.addresses = tuple(address.rstrip("/") for address in addresses)
        self._tls, self._token, self._patience_s = tls, token, patience_s
        self._stamp: object = None
        self._turn = 0
        self._session: aiohttp.ClientSession | None = None

    @property
    def address(self) -> str:
        """Where the next call goes."""
        return self.addresses[self._turn]

    async def call(self, renewal: Renewal) -> Reply | Refused:
        """Ask one grantor once; trouble of any kind is a value, and the next call goes to the next address."""
        try:
            outcome = await self._post(renewal)
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError) as trouble:
            outcome = Refused(f"{self.address}: {trouble or type(trouble).__name__}")
        if isinstance(outcome, Refused):
            self._turn = (self._turn + 1) % len(self.addresses)
        return outcome

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session:
            await self._session.close()
            self._session = None

    async def _post(self, renewal: Renewal) -> Reply | Refused:
        session = await self._open()
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token()}"
        timeout = aiohttp.ClientTimeout(total=renewal.wait_s + self._patience_s, connect=CONNECT_S)
        body = _renewal.dump_json(renewal)
        async with session.post(self.address + PATH, data=body, headers=headers, timeout=timeout) as response:
            text = await _whole(response)
            if response.status == 200:
                return _read(text, self.address)
            if response.status in ANEW:
                await self.close()
            return Refused(f"{self.address} answers {response.status}: {_reason(text)}")

    async def _open(self) -> aiohttp.ClientSession:
        stamp = self._tls.stamp() if self._tls else None
        if self._session and stamp != self._stamp:
            await self.close()
        if self._session is None:
            context: ssl.SSLContext | bool = self._tls.client_context() if self._tls else True
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
            self._stamp = stamp
        return self._session


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > REPLY_MAX_BYTES:
            raise ValueError(f"the answer is larger than {REPLY_MAX_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _read(text: bytes, address: str) -> Reply | Refused:
    try:
        return _reply.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return Refused(f"{address} answers nonsense at {'.'.join(map(str, first['loc']))}: {first['msg']}")


def _reason(text: bytes) -> str:
    try:
        return str(orjson.loads(text)["reason"])[:300]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "no reason given"
