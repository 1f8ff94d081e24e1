"""A caller known by its pod's bound service-account token, which the API server reviews.

The node is the one that the API server itself says the token's pod runs on (the token's node claim). A review is
believed for a minute, then asked anew; if the API server is away meanwhile it is believed for four minutes more, but
never past the token's own end. Nobody is believed whom the API server has not named.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import time
from collections.abc import Collection
from dataclasses import dataclass

import orjson
from aiohttp import web

from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.floodgate import Floodgate
from wattlease.runtime.lease.identity import NAME, bearer
from wattlease.runtime.lease.kubernetes_reviews import Review, Reviews
from wattlease.runtime.lease.refusals import Refusal

FRESH_S = 60.0
BELIEVED_S = 300.0
KNOWN_MAX = 8192


@dataclass(frozen=True, slots=True)
class Known:
    """A token that was reviewed, when on this process's clock, and its own end in unix seconds."""

    node: str
    reviewed_s: float
    ends_unix_s: float


class KubernetesTokens:
    """Nodes by the tokens of pods that run under one of these accounts (`namespace:name`)."""

    loopback_only = False
    wants_tls = True

    def __init__(self, reviews: Reviews, accounts: Collection[str], now: Now = steady_s) -> None:
        self._reviews, self._now = reviews, now
        self._users = frozenset(f"system:serviceaccount:{account}" for account in accounts)
        self._known: dict[bytes, Known] = {}
        self._asking: dict[bytes, asyncio.Task[str | Refusal]] = {}
        self._strangers = Floodgate(rate_hz=2.0, burst=20)

    async def who(self, request: web.Request) -> str | Refusal:
        """The node that the token's pod runs on."""
        token = bearer(request)
        if isinstance(token, Refusal):
            return token
        digest = hashlib.sha256(token.encode()).digest()
        known = self._believed(digest)
        if known and self._now() < known.reviewed_s + FRESH_S:
            return known.node
        if known is None and not self._strangers.admits(request.remote or "", self._now()):
            return Refusal(429, "too many unknown tokens from this address")
        return await self._reviewed(token, digest, known)

    def _believed(self, digest: bytes) -> Known | None:
        known = self._known.get(digest)
        if known is None or (self._now() < known.reviewed_s + BELIEVED_S and time.time() < known.ends_unix_s):
            return known
        del self._known[digest]
        return None

    async def _reviewed(self, token: str, digest: bytes, known: Known | None) -> str | Refusal:
        """Ask once for all who wait; one who is known does not wait for an API server that is slow."""
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.create_task(self._ask(token, digest))
            asking.add_done_callback(lambda _task: self._asking.pop(digest, None))
        return known.node if known else await asyncio.shield(asking)

    async def _ask(self, token: str, digest: bytes) -> str | Refusal:
        review = await self._reviews.review(token)
        if isinstance(review, Refusal):
            return review
        node = self._node(review)
        self._known.pop(digest, None)
        if isinstance(node, str):
            self._known[digest] = Known(node, self._now(), _ends_unix_s(token))
            if len(self._known) > KNOWN_MAX:
                del self._known[next(iter(self._known))]
        return node

    def _node(self, review: Review) -> str | Refusal:
        if not review.authenticated:
            return Refusal(401, "the API server does not know the bearer token, or not for this audience")
        if review.user not in self._users:
            return Refusal(401, "the bearer token's service account is not among those that may ask")
        if len(review.nodes) != 1 or not NAME.fullmatch(review.nodes[0]):
            return Refusal(401, "the bearer token names no node; it must be bound to a pod (Kubernetes 1.30 or newer)")
        return review.nodes[0]


def _ends_unix_s(token: str) -> float:
    """When the token ends by its own claim, which the API server has verified; at once if it does not say."""
    try:
        payload = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return 0.0
