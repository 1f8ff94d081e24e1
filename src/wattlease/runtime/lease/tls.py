"""TLS 1.3 between grantor and holders; certificates renewed on disk count from the next handshake on.

Sessions are never resumed: each connection proves its certificate anew against the authority as it is then.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from wattlease.runtime.lease.said import Said

LOOK_S = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. `authority` vouches for the other side; a holder that shows a token has no certificate of its own."""

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """What changes when a file does, links as Kubernetes swaps them included. Raises OSError."""
        stats = [path.stat() for path in (self.authority, self.certificate, self.key) if path]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)

    def server_context(self) -> ssl.SSLContext:
        """For a grantor; with an authority, every client must show its certificate. Raises OSError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0
        return self._filled(context, ssl.CERT_REQUIRED if self.authority else ssl.CERT_NONE)

    def client_context(self) -> ssl.SSLContext:
        """For a holder; without an authority, the system's are trusted. Raises OSError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.authority is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return self._filled(context, ssl.CERT_REQUIRED)

    def _filled(self, context: ssl.SSLContext, verify: ssl.VerifyMode) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = verify
        if self.authority:
            context.load_verify_locations(self.authority)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context


class ServerTls:
    """A grantor's TLS that follows its files. Raises OSError where they cannot be used to begin with."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp = files.stamp()
        self._newest = files.server_context()
        self._said = Said(log)
        self.requires_certificates = files.authority is not None
        self.context = files.server_context()
        self.context.sni_callback = self._take_newest

    def _take_newest(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        handshake.context = self._newest

    def refresh(self) -> bool:
        """Read the files anew if they changed; half-written ones are tried again, and the old ones hold until then."""
        try:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return False
            self._newest = self._files.server_context()
        except OSError as trouble:
            self._said.once(logging.ERROR, "certificates not renewed", str(trouble))
            return False
        self._stamp = stamp
        self._said.forget("certificates not renewed")
        log.info("certificates renewed: %s", self._files.certificate)
        return True

    async def follow(self, look_s: float = LOOK_S) -> None:
        """Refresh every few seconds until cancelled."""
        while True:
            await asyncio.sleep(look_s)
            self.refresh()
