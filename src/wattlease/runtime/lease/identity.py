"""Who calls. Each way of knowing it is a file; a caller that is known speaks only for itself."""

from __future__ import annotations

import re
from typing import Protocol

from aiohttp import web

from wattlease.runtime.lease.refusals import Refusal

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
"""What a node may be called: what Kubernetes and Slurm call theirs, and what is safe in a path and a URI."""


class Identity(Protocol):
    """A way of knowing who calls."""

    @property
    def loopback_only(self) -> bool:
        """Whether it is fit for one machine only."""

    @property
    def wants_tls(self) -> bool:
        """Whether it means nothing, or gives a secret away, without TLS."""

    async def who(self, request: web.Request) -> str | Refusal:
        """The caller's name, or why it is not known."""


def bearer(request: web.Request) -> str | Refusal:
    """The token that the call carries."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token or not token.isascii():
        return Refusal(401, "the call carries no bearer token")
    return token
