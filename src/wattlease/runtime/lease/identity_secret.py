"""A caller known by a secret that all processes of one demo share: for this machine only."""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache

from aiohttp import web

from wattlease.runtime.lease.identity import NAME, bearer
from wattlease.runtime.lease.refusals import Refusal
from wattlease.runtime.web_guard import is_loopback

KNOWN_MAX = 8192
_is_here = lru_cache(maxsize=16)(is_loopback)


class SharedSecret:
    """Each name's token is derived from the secret, so that even here a node speaks only for itself."""

    loopback_only = True
    wants_tls = False

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise ValueError(f"the shared secret has {len(secret)} bytes; make one of at least 16 at random")
        self._secret = secret
        self._expected = lru_cache(maxsize=KNOWN_MAX)(self.token)

    def token(self, name: str) -> str:
        """What the holder of this name sends."""
        return f"{name}:{hmac.new(self._secret, name.encode(), hashlib.sha256).hexdigest()}"

    async def who(self, request: web.Request) -> str | Refusal:
        """The name in the token."""
        if not _is_here(request.remote or ""):
            return Refusal(401, "the shared secret is for this machine only")
        token = bearer(request)
        if isinstance(token, Refusal):
            return token
        name = token.partition(":")[0]
        if not NAME.fullmatch(name) or not hmac.compare_digest(token.encode(), self._expected(name).encode()):
            return Refusal(401, "the bearer token is not derived from this service's secret")
        return name
