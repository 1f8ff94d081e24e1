"""Nodes known by their pods' tokens, against a small API server on a real socket."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from wattlease.runtime import pki
from wattlease.runtime.lease.identity_kubernetes import BELIEVED_S, FRESH_S, KubernetesTokens
from wattlease.runtime.lease.kubernetes_reviews import TokenReviews
from wattlease.runtime.lease.tls import ServerTls, TlsFiles

AGENT = "system:serviceaccount:wattlease:agent"
NODE_CLAIM = "authentication.kubernetes.io/node-name"


def token_of(name: str, lasts_s: float = 3600.0) -> str:
    """As the API server signs them; only its end is read here."""
    parts = ({"alg": "RS256"}, {"sub": name, "exp": int(time.time() + lasts_s)})
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return f"{head}.{body}.c2lnbmF0dXJl"


class ApiServer:
    """Reviews tokens as the real one does, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.callers: list[str] = []
        self.users: dict[str, dict[str, Any]] = {}
        self.audiences = ["wattlease"]
        self.away = False

    def knows(self, token: str, user: str = AGENT, **extra: list[str]) -> None:
        self.users[token] = {"username": user, "extra": {key.replace("__", NODE_CLAIM): v for key, v in extra.items()}}

    async def review(self, request: web.Request) -> web.Response:
        if self.away:
            return web.Response(status=500)
        self.callers.append(request.headers["Authorization"])
        body = await request.json()
        self.asked.append(body)
        user = self.users.get(body["spec"]["token"])
        status: dict[str, Any] = {"authenticated": user is not None}
        if user:
            status |= {"user": user, "audiences": [a for a in body["spec"]["audiences"] if a in self.audiences]}
        return web.json_response({"kind": "TokenReview", "status": status}, status=201)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", self.review)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield "http://{}:{}".format(*runner.addresses[0])
        finally:
            await runner.cleanup()


class Cluster:
    """A grantor that knows its nodes by tokens, its API server, and a clock that is moved by hand."""

    def __init__(self, hall: Any, api: ApiServer, session: aiohttp.ClientSession) -> None:
        self.hall, self.api, self.session = hall, api, session
        self.now_s = 1000.0
        self.address = ""

    async def call(self, node: Any, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = node.renewal().model_dump_json()
        async with self.session.post(f"{self.address}/v1/lease", data=body, headers=headers) as response:
            return response.status


@pytest.fixture
async def cluster(hall: Any, tmp_path: Path) -> Any:
    pki.found(tmp_path / "pki")
    issued = pki.issue_grantor(tmp_path / "pki", "g1", 30, ["127.0.0.1"])
    (tmp_path / "own-token").write_text("first\n")
    await hall.lead()
    hall.plan()
    api, tls = ApiServer(), ServerTls(TlsFiles(None, issued.certificate, issued.key))
    trust = TlsFiles(tmp_path / "pki" / "ca.crt").client_context()
    async with api.serving() as server, aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
        made = Cluster(hall, api, session)
        reviews = TokenReviews(server, tmp_path / "own-token", ca=None)
        identity = KubernetesTokens(reviews, ["wattlease:agent"], lambda: made.now_s)
        async with hall.serving(identity, tls) as (_, made.address):
            yield made
        await reviews.close()


async def test_a_pods_token_speaks_for_the_node_that_it_runs_on_and_for_no_other(cluster: Any, node_of: Any) -> None:
    token = token_of("pod")
    cluster.api.knows(token, __=["n1"])
    assert await cluster.call(node_of("n1"), token) == 200
    assert await cluster.call(node_of("n2"), token) == 403
    assert len(cluster.api.asked) == 1, "a review is believed for a minute"
    assert cluster.api.asked[0]["spec"] == {"token": token, "audiences": ["wattlease"]}


@pytest.mark.parametrize(
    ("user", "extra"),
    [
        ("system:serviceaccount:default:agent", {"__": ["n1"]}),
        (AGENT, {}),
        (AGENT, {"__": []}),
        (AGENT, {"__": ["n1", "n2"]}),
        ("n1", {"__": ["n1"]}),
    ],
)
async def test_a_token_of_another_account_or_without_a_node_is_refused(
    cluster: Any, node_of: Any, user: str, extra: dict[str, list[str]]
) -> None:
    token = token_of("pod")
    cluster.api.knows(token, user, **extra)
    assert await cluster.call(node_of("n1"), token) == 401


async def test_a_token_for_another_audience_is_refused(cluster: Any, node_of: Any) -> None:
    token = token_of("pod")
    cluster.api.knows(token, __=["n1"])
    cluster.api.audiences = ["kubernetes"]
    assert await cluster.call(node_of("n1"), token) == 401


async def test_nobody_new_is_believed_while_the_api_server_is_away(cluster: Any, node_of: Any) -> None:
    token = token_of("pod")
    cluster.api.knows(token, __=["n1"])
    cluster.api.away = True
    assert await cluster.call(node_of("n1"), token) == 503
    cluster.api.away = False
    assert await cluster.call(node_of("n1"), token) == 200


async def test_who_was_believed_is_so_for_minutes_while_the_api_server_is_away(cluster: Any, node_of: Any) -> None:
    token, node = token_of("pod"), node_of("n1")
    cluster.api.knows(token, __=["n1"])
    assert await cluster.call(node, token) == 200
    cluster.api.away = True
    cluster.now_s += BELIEVED_S - 1.0
    assert await cluster.call(node, token) == 200
    cluster.now_s += 2.0
    assert await cluster.call(node, token) == 503


async def test_an_expired_token_is_not_believed_however_lately_it_was_reviewed(cluster: Any, node_of: Any) -> None:
    token, node = token_of("pod", lasts_s=2.0), node_of("n1")
    cluster.api.knows(token, __=["n1"])
    assert await cluster.call(node, token) == 200
    del cluster.api.users[token]
    await asyncio.sleep(2.0)
    assert await cluster.call(node, token) == 401


async def test_a_token_that_was_revoked_is_refused_after_its_next_review(cluster: Any, node_of: Any) -> None:
    token, node = token_of("pod"), node_of("n1")
    cluster.api.knows(token, __=["n1"])
    assert await cluster.call(node, token) == 200
    del cluster.api.users[token]
    cluster.now_s += FRESH_S + 1.0
    assert await cluster.call(node, token) == 200, "it does not wait for the review that this call begins"
    while len(cluster.api.asked) < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert await cluster.call(node, token) == 401


async def test_a_flood_of_unknown_tokens_is_kept_from_the_api_server(cluster: Any, node_of: Any) -> None:
    known = token_of("pod")
    cluster.api.knows(known, __=["n1"])
    assert await cluster.call(node_of("n1"), known) == 200
    statuses = [await cluster.call(node_of("n1"), token_of(f"guess {number}")) for number in range(60)]
    assert statuses[-1] == 429
    assert len(cluster.api.asked) < 30
    assert await cluster.call(node_of("n1", life="second"), known) == 200, "who is known is not kept out by it"


async def test_the_services_own_token_is_read_anew_for_each_review(cluster: Any, node_of: Any, tmp_path: Path) -> None:
    await cluster.call(node_of("n1"), token_of("one"))
    (tmp_path / "own-token").write_text("second")
    await cluster.call(node_of("n1"), token_of("two"))
    assert cluster.api.callers == ["Bearer first", "Bearer second"]
