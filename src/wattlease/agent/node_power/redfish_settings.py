"""Where a board controller is, whom it is asked as, and whom to believe that it is the controller."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from wattlease.agent.cards import Trouble
from wattlease.core.api_base import Part

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class RedfishSettings(Part):
    """One board controller, and how it may be asked."""

    url: str
    """Such as https://10.0.0.7; without TLS only on loopback, for the password would travel readable."""
    credentials_file: Path
    """Two lines, user and password, in a file of mode 0600; an account that may only read is enough."""
    ca_file: Path | None = None
    """Who signed the controller's certificate, or that certificate; `None` for the system's authorities."""
    check_name: bool = True
    """`False` where the controller is known by an address that its certificate does not name."""
    verify: bool = True
    """`False` gives the password to whoever answers: only on a management network that nobody else is on."""
    chassis: str | None = None
    """The chassis that is the node (its Redfish id); `None` takes the one with the largest power."""
    every_seconds: Positive = 10.0
    """The shortest time between two readings."""
    timeout_seconds: Positive = 8.0
    """For one call; controllers take 1 to 5 s."""
    stale_seconds: Positive = 60.0
    """An older reading is none."""
    refused_seconds: Positive = 300.0
    """How long a controller that refused the password is left alone, so that it does not lock the account."""
    max_watts: Positive = 20_000.0
    """More than this node can draw; a larger reading is dropped."""

    @field_validator("url")
    @classmethod
    def _is_an_address_to_which_a_password_may_go(cls, url: str) -> str:
        parts = urlsplit(url)
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname))):
            raise ValueError(f"{url!r} is no https address; write https:// and the address of the board controller")
        return url.rstrip("/")

    def account(self) -> dict[str, str] | Trouble:
        """The body of a log-in; read anew each time, so that a changed password needs no restart."""
        path = self.credentials_file
        try:
            if path.stat().st_mode & 0o077:
                return Trouble(f"{path}: others may read the password; chmod 600 {path}")
            user, _, rest = path.read_text(encoding="utf-8").partition("\n")
        except (OSError, UnicodeDecodeError) as error:
            return Trouble(f"{path}: {getattr(error, 'strerror', None) or error}; write user and password, a line each")
        password = rest.removesuffix("\n")
        if not user or not password or "\n" in password:
            return Trouble(f"{path}: holds no user and password; write them, a line each and nothing else")
        return {"UserName": user, "Password": password}

    def trust(self) -> ssl.SSLContext:
        """Raises OSError where `ca_file` cannot be read or holds no certificate."""
        trust = ssl.create_default_context(cafile=self.ca_file)
        trust.check_hostname = self.check_name and self.verify
        trust.verify_mode = ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE
        return trust


def _is_here(host: str) -> bool:
    return host in LOOPBACK
