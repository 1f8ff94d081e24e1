"""The lease over HTTP: one endpoint, one verb, and refusals that change nothing.

POST /v1/lease      a `Renewal` as JSON; answered by a `Reply`, at once or when there is news
400 malformed   401 unknown caller   403 another's name   404 no member   409 not by this leader, or not this request
413 too large   415 not JSON         429 too often        503 the caller's name cannot be found out now
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from wattlease.core.lease import Refused
from wattlease.runtime.lease.floodgate import Floodgate
from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.identity import Identity
from wattlease.runtime.lease.refusals import Refusal, Refusals
from wattlease.runtime.lease.report import Renewal, Reply
from wattlease.runtime.lease.tls import ServerTls
from wattlease.runtime.web_guard import is_loopback

PATH = "/v1/lease"
BODY_MAX_BYTES = 262_144
RATE_HZ = 10.0
BURST = 40
BACKLOG = 4096

_renewal = TypeAdapter(Renewal)
_reply = TypeAdapter(Reply)


class LeaseService:
    """One grantor's endpoint: who calls is found out first, then what is asked is read, then the ledger hears it."""

    def __init__(self, grantor: Grantor, identity: Identity) -> None:
        self.grantor, self.refusals = grantor, Refusals()
        self._identity = identity
        self._floodgate = Floodgate(RATE_HZ, BURST)

    def app(self) -> web.Application:
        """The application that answers."""
        app = web.Application(client_max_size=BODY_MAX_BYTES)
        app.router.add_post(PATH, self.renew)
        return app

    async def renew(self, request: web.Request) -> web.Response:
        """Answer one call."""
        who = await self._who(request)
        if isinstance(who, Refusal):
            return self._refuse(who, request.remote or "unknown")
        renewal = await _read(request)
        if isinstance(renewal, Refusal):
            return self._refuse(renewal, who)
        if renewal.request.holder != who:
            return self._refuse(Refusal(403, "the request is in another holder's name than the caller's"), who)
        reply = await self.grantor.answer(renewal)
        if isinstance(reply, Refused):
            return self._refuse(Refusal(409 if self.grantor.may_ask(who) else 404, reply.reason), who)
        return web.Response(body=_reply.dump_json(reply), content_type="application/json")

    async def _who(self, request: web.Request) -> str | Refusal:
        who = await self._identity.who(request)
        if isinstance(who, str) and not self._floodgate.admits(who, self.grantor.now()):
            return Refusal(429, f"asks more than {RATE_HZ:g} times a second")
        return who

    def _refuse(self, refusal: Refusal, who: str) -> web.Response:
        self.refusals.note(refusal, who)
        return web.Response(
            status=refusal.status, body=orjson.dumps({"reason": refusal.reason}), content_type="application/json"
        )


async def _read(request: web.Request) -> Renewal | Refusal:
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        return Refusal(415, "send application/json, not compressed")
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return Refusal(413, f"the body is larger than {BODY_MAX_BYTES} bytes")
    try:
        return _renewal.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(["Renewal", *(str(part) for part in first["loc"])])
        return Refusal(400, f"{where}: {first['msg']}")


@asynccontextmanager
async def serving(
    service: LeaseService, identity: Identity, host: str, port: int, tls: ServerTls | None = None
) -> AsyncIterator[str]:
    """Serve while the block runs; the value is its address. Port 0 takes any free port.

    Raises ValueError for a way of knowing callers that is not fit for that host or lacks TLS, OSError where the port
    is taken.
    """
    _check(identity, host, tls)
    async with listening(service.app(), host, port, tls) as address:
        follower = asyncio.create_task(tls.follow()) if tls else None
        try:
            yield address
        finally:
            if follower:
                follower.cancel()


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int, tls: ServerTls | None = None) -> AsyncIterator[str]:
    """Listen with this application while the block runs; the value is its address."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls.context if tls else None, backlog=BACKLOG).start()
        bound_host, bound_port = runner.addresses[0][:2]
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        yield f"{'https' if tls else 'http'}://{shown}:{bound_port}"
    finally:
        await runner.cleanup()


def _check(identity: Identity, host: str, tls: ServerTls | None) -> None:
    if identity.loopback_only and not is_loopback(host):
        raise ValueError(f"a shared secret is for this machine only, not for {host}: use certificates or tokens")
    if identity.wants_tls and tls is None:
        raise ValueError("certificates and tokens want TLS: give the grantor's certificate and key")
