"""Events by a call: a small HTTP interface for sites without OpenADR, and for whoever translates for them.

GET /v1/events lists what is known, POST /v1/events asks for one event as in a budget's `demandResponse` (the same name
again replaces it), DELETE /v1/events/NAME cancels one. Every call shows the bearer token.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import ssl
from collections.abc import Callable
from dataclasses import asdict

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import ValidationError

from wattlease.core.api import DemandResponse
from wattlease.core.api_grid_events import EventCalls
from wattlease.facility.events.book import Book
from wattlease.facility.events.event import asked
from wattlease.facility.prices.asking import Trouble, secret
from wattlease.runtime.lease.said import Said
from wattlease.runtime.web_guard import refusal

MOST_BYTES = 1 << 16
LEAST_TOKEN = 16
RETRY_S = 30.0


class Calls:
    """The listener. `trouble` is why it does not listen."""

    def __init__(self, settings: EventCalls, book: Book, clock: Callable[[], float], said: Said) -> None:
        self._settings, self._book, self._clock, self._said = settings, book, clock, said
        self.trouble = "not listening yet"

    async def run(self) -> None:
        """Listen until cancelled; where that fails, try again and again."""
        while True:
            runner = web.AppRunner(self.app(), access_log=None)
            try:
                await runner.setup()
                where = self._settings.host, self._settings.port
                await web.TCPSite(runner, *where, ssl_context=self._tls(), reuse_address=True).start()
                self.trouble = ""
                self._said.once(logging.INFO, "event calls", f"listening on {where[0]}:{where[1]}")
                await asyncio.Event().wait()
            except (OSError, ssl.SSLError) as error:
                self.trouble = f"{self._settings.host}:{self._settings.port}: {error.strerror or error}"
                self._said.once(logging.WARNING, "event calls", self.trouble)
            finally:
                await runner.cleanup()
            await asyncio.sleep(RETRY_S)

    def app(self) -> web.Application:
        """The interface, for a server of the caller's."""
        app = web.Application(middlewares=[self._guard], client_max_size=MOST_BYTES)
        app.router.add_get("/v1/events", self._listed)
        app.router.add_post("/v1/events", self._asked)
        app.router.add_delete("/v1/events/{name}", self._cancelled)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        token = await asyncio.to_thread(secret, self._settings.token_file)
        if isinstance(token, Trouble) or len(token) < LEAST_TOKEN:
            why = token.text if isinstance(token, Trouble) else f"the token is shorter than {LEAST_TOKEN} characters"
            self._said.once(logging.WARNING, "event token", why)
            return refusal(503, "nobody can be let in", "Authorization", "set the token file of this listener right")
        self._said.forget("event token")
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(shown.encode(), token.encode()):
            return refusal(401, "the token is not right", "Authorization", "send Authorization: Bearer TOKEN")
        return await handler(request)

    async def _listed(self, _: web.Request) -> web.Response:
        return _json([asdict(event) for event in self._book.events])

    async def _asked(self, request: web.Request) -> web.Response:
        try:
            written = DemandResponse.model_validate_json(
                await request.read(), strict=True, by_alias=True, by_name=False
            )
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the body"
            return refusal(422, first["msg"], where, "send name, start, end and limitWatts, as in demandResponse")
        known = self._book.of("http", written.name)
        event = asked(written, "http", 0, self._clock())
        why_not = self._book.why_not(event)
        taken = event if why_not else await self._book.put(event)
        if why_not or taken.refused:
            return refusal(409, why_not or taken.refused, "limitWatts", "ask for what the site offers, or leave it out")
        return _json(asdict(taken), 200 if known else 201)

    async def _cancelled(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if await self._book.drop("http", name):
            return web.Response(status=204)
        return refusal(404, f"no event {name[:63]} came by a call", "name", "GET /v1/events lists what there is")

    def _tls(self) -> ssl.SSLContext | None:
        if self._settings.certificate_file is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._settings.certificate_file, self._settings.key_file)
        return context


def _json(data: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(data), content_type="application/json")
