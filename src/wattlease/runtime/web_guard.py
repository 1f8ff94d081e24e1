"""Who may talk to the page: only browsers that asked for it by a name of ours, and only from the page itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

# Plotly writes style elements; nothing writes script. form-action: forms are sent by script, never by navigation.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def refusal(status: int, error: str, field: str, fix: str) -> web.Response:
    """Answer with what is wrong, where, and what would be right."""
    body = orjson.dumps({"error": error, "field": field, "fix": fix})
    return web.Response(status=status, body=body, content_type="application/json")


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def guard(names: Collection[str]) -> Middleware:
    """Make the middleware that refuses foreign hosts and, where something would change, foreign pages."""
    known = frozenset(name.lower() for name in names)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _asked_by_our_name(request, known):
            return refusal(
                403,
                "this page is not served under that host name",
                "Host",
                "open it under the address that it listens on, or add the name to the names it may be served under",
            )
        if request.method not in ("GET", "HEAD"):
            return _foreign(request) or await handler(request)
        return await handler(request)

    return check


async def add_security_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Put the security headers on every answer, streams and refusals included."""
    response.headers.update(SECURITY_HEADERS)


def _asked_by_our_name(request: web.Request, known: frozenset[str]) -> bool:
    # A DNS name can be rebound to this server by a stranger; the address that the connection reached cannot.
    try:
        host = urlsplit("//" + request.headers.get("Host", "")).hostname or ""
    except ValueError:
        return False
    return is_loopback(host) or host in known or host == _reached_address(request)


def _reached_address(request: web.Request) -> str | None:
    reached = request.transport.get_extra_info("sockname") if request.transport else None
    return str(reached[0]) if isinstance(reached, tuple) else None


def _foreign(request: web.Request) -> web.Response | None:
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
        return refusal(403, "another site's page may change nothing here", "Origin", "use the page's own controls")
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        return refusal(403, "another site's page may change nothing here", "Sec-Fetch-Site", "use the page's controls")
    if request.content_type != "application/json":
        return refusal(415, f"{request.content_type} is not understood", "Content-Type", "send application/json")
    return None
