"""A caller known by its client certificate, which TLS has verified against the site's own authority.

The name is the one URI `wattlease://node/<name>` among the certificate's alternative names; its common name and DNS
names say nothing here, so that a web server's certificate of the same authority speaks for no node.
"""

from __future__ import annotations

import ssl
import time
from functools import lru_cache
from typing import Any, Literal

from aiohttp import web

from wattlease.runtime.lease.identity import NAME
from wattlease.runtime.lease.refusals import Refusal

HolderKind = Literal["node", "cluster"]


class ClientCertificates:
    """Holders of one kind by their certificates. A connection outlives no certificate: its end is checked each time."""

    loopback_only = False
    wants_tls = True

    def __init__(self, kind: HolderKind = "node") -> None:
        self._prefix = uri_of(kind, "")

    async def who(self, request: web.Request) -> str | Refusal:
        """The name in the certificate."""
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        if not certificate:
            return Refusal(401, "the call carries no client certificate")
        if time.time() >= _ends_s(certificate["notAfter"]):
            return Refusal(401, "the client certificate has expired; renew it and connect anew")
        return self._named(certificate)

    def _named(self, certificate: dict[str, Any]) -> str | Refusal:
        uris = [text for kind, text in certificate.get("subjectAltName", ()) if kind == "URI"]
        names = [uri.removeprefix(self._prefix) for uri in uris if uri.startswith(self._prefix)]
        if len(names) != 1 or not NAME.fullmatch(names[0]):
            return Refusal(401, f"the client certificate must have one alternative name URI:{self._prefix}<name>")
        return names[0]


def uri_of(kind: HolderKind, name: str) -> str:
    """What a holder's certificate calls it."""
    return f"wattlease://{kind}/{name}"


@lru_cache(maxsize=4096)
def _ends_s(not_after: str) -> float:
    return float(ssl.cert_time_to_seconds(not_after))
