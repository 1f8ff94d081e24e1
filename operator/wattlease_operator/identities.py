"""How the operator knows which node calls: by certificate, by its agent's token, or in a trial by a secret."""

from __future__ import annotations

from pathlib import Path

from wattlease.runtime.lease.identity import Identity
from wattlease.runtime.lease.identity_certificate import ClientCertificates
from wattlease.runtime.lease.identity_kubernetes import KubernetesTokens
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.kubernetes_reviews import AUDIENCE, NODE_CLAIM, Review
from wattlease.runtime.lease.refusals import Refusal
from wattlease.runtime.lease.tls import ServerTls, TlsFiles
from wattlease_operator.api import Api, Trouble
from wattlease_operator.cache import Resource
from wattlease_operator.settings import Listen

TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", namespaced=False)


class ApiReviews:
    """Asks the API server whose a token is, over the connection that is there."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def review(self, token: str) -> Review | Refusal:
        """What it says, or 503 where it cannot be asked: then nobody new is believed."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        answer = await self._api.create(TOKEN_REVIEWS, "", body)
        if isinstance(answer, Trouble):
            return Refusal(503, f"the API server cannot be asked whose the token is ({answer.why.value})")
        status = answer.get("status") or {}
        user = status.get("user") or {}
        return Review(
            authenticated=bool(status.get("authenticated")) and AUDIENCE in (status.get("audiences") or ()),
            user=str(user.get("username", "")),
            nodes=tuple((user.get("extra") or {}).get(NODE_CLAIM, ())),
        )


def callers(listen: Listen, api: Api) -> tuple[Identity, ServerTls | None]:
    """How agents are known, and the operator's own certificate. Raises OSError where a file cannot be read."""
    if listen.secret_file is not None:
        return SharedSecret(Path(listen.secret_file).read_bytes().strip()), None
    authority, certificate, key = (Path(p) if p else None for p in (listen.authority, listen.certificate, listen.key))
    tls = ServerTls(TlsFiles(authority, certificate, key))
    return (KubernetesTokens(ApiReviews(api), listen.accounts) if listen.accounts else ClientCertificates()), tls
