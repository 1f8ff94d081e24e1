"""Asks the Kubernetes API server whose a bearer token is."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Protocol

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wattlease.runtime.lease.refusals import Refusal

AUDIENCE = "wattlease"
NODE_CLAIM = "authentication.kubernetes.io/node-name"
IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_S = 2.0


class _User(BaseModel):
    model_config = ConfigDict(frozen=True)
    username: str = ""
    extra: dict[str, tuple[str, ...]] = {}


class _Status(BaseModel):
    model_config = ConfigDict(frozen=True)
    authenticated: bool = False
    audiences: tuple[str, ...] = ()
    user: _User = _User()


class _Reviewed(BaseModel):
    model_config = ConfigDict(frozen=True)
    status: Annotated[_Status, Field()] = _Status()


class Review(BaseModel):
    """What the API server says of a token; `authenticated` is for this audience."""

    model_config = ConfigDict(frozen=True)
    authenticated: bool
    user: str
    nodes: tuple[str, ...]


class Reviews(Protocol):
    """Whoever can say whose a token is."""

    async def review(self, token: str) -> Review | Refusal:
        """What is known of it, or 503 where nobody can be asked."""


class TokenReviews:
    """One API server. Its own token is read anew for each call, as the kubelet renews it on disk."""

    def __init__(self, server: str, token: Path = IN_POD / "token", ca: Path | None = IN_POD / "ca.crt") -> None:
        self._url = f"{server.rstrip('/')}/apis/authentication.k8s.io/v1/tokenreviews"
        self._token, self._ca = token, ca
        self._session: aiohttp.ClientSession | None = None

    async def review(self, token: str) -> Review | Refusal:
        """What it says, or 503 where it cannot be asked: then nobody new is believed."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        try:
            headers = {"Authorization": f"Bearer {self._token.read_text().strip()}"}
            async with self._open().post(self._url, json=body, headers=headers) as response:
                text = await response.read()
                status = response.status
        except (OSError, aiohttp.ClientError, TimeoutError) as trouble:
            return Refusal(503, f"the API server cannot be asked whose the token is ({type(trouble).__name__})")
        if status not in (200, 201):
            return Refusal(503, f"the API server answers {status} to a token review; grant `create` on tokenreviews")
        return _read(text)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            trust = ssl.create_default_context(cafile=self._ca) if self._ca else True
            connector = aiohttp.TCPConnector(limit=32, ssl=trust)
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        return self._session


def _read(text: bytes) -> Review | Refusal:
    try:
        status = _Reviewed.model_validate_json(text).status
    except ValidationError:
        return Refusal(503, "the API server's token review cannot be read")
    return Review(
        authenticated=status.authenticated and AUDIENCE in status.audiences,
        user=status.user.username,
        nodes=status.user.extra.get(NODE_CLAIM, ()),
    )
