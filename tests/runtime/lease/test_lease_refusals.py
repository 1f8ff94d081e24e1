"""What is refused, with which status: logged once, and the ledger stays as it was."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wattlease.core.lease import plain
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.service import BODY_MAX_BYTES, LeaseService


@dataclass
class Served:
    """A service that runs in a thread of its own, so that a test may call it without an event loop."""

    hall: Any
    service: LeaseService
    address: str

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=20)
        try:
            connection.request("POST", "/v1/lease", body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def state(self) -> dict[str, Any]:
        return plain(self.hall.grantor.ledger)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, hall_of: Any, node_of: Any) -> Iterator[Served]:
    """A hall whose n1 holds a grant, frozen: what is refused must leave it as it is."""
    hall = hall_of(tmp_path_factory.mktemp("hall"))
    loop, up, down = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    made: list[Served] = []

    async def run() -> None:
        await hall.lead()
        hall.plan(n1=3000.0)
        await node_of("n1").settle(hall.grantor)
        async with hall.serving() as (service, address):
            made.append(Served(hall, service, address))
            up.set()
            await down.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert up.wait(20)
    made[0].service._floodgate._spacing_s = 0.0  # a fuzzer is a flood
    yield made[0]
    loop.call_soon_threadsafe(down.set)
    thread.join()


def good(node_of: Any, **changes: Any) -> dict[str, Any]:
    """A renewal that would be heard, unless something of its request is changed."""
    data: dict[str, Any] = node_of("n1", life="second").renewal().model_dump(mode="json")
    data["request"].update({"epoch": 1, **changes})
    return data


NAN = float("nan")

CASES = {
    "truncated": (400, lambda good: json.dumps(good).encode()[:-20]),
    "empty": (400, lambda good: b""),
    "not utf-8": (400, lambda good: b'{"request": "\xff\xfe"}'),
    "a list": (400, lambda good: b"[]"),
    "nested deeply": (400, lambda good: b"[" * 100_000),
    "a huge number": (400, lambda good: json.dumps(good).replace('"epoch": 1', '"epoch": ' + "9" * 5000).encode()),
    "watts as text": (400, lambda good: json.dumps(_with(good, in_force_w="1600")).encode()),
    "negative watts": (400, lambda good: json.dumps(_with(good, in_force_w=-1.0)).encode()),
    "NaN watts": (400, lambda good: json.dumps(_with(good, in_force_w=NAN)).encode()),
    "infinite watts": (400, lambda good: json.dumps(_with(good, may_draw_w=float("inf"))).encode()),
    "watts as a truth": (400, lambda good: json.dumps(_with(good, fallback_w=True)).encode()),
    "NaN in the report": (400, lambda good: json.dumps(good | {"report": {"cards": [], "power_w": NAN}}).encode()),
    "too many cards": (400, lambda good: json.dumps(good | {"report": _with_cards(good, 40)}).encode()),
    "an endless wait": (400, lambda good: json.dumps(good | {"wait_s": 1e9}).encode()),
    "too large": (413, lambda good: json.dumps(good).encode() + b" " * BODY_MAX_BYTES),
    "another node's name": (403, lambda good: json.dumps(_with(good, holder="n2")).encode()),
    "replayed": (409, lambda good: json.dumps(_with(good, life="first", count=2)).encode()),
    "a later epoch": (409, lambda good: json.dumps(_with(good, epoch=9)).encode()),
    "a grant never given": (409, lambda good: json.dumps(_with(good, acknowledged=[1, 10**6])).encode()),
}  # fmt: skip


def _with_cards(good: dict[str, Any], times: int) -> dict[str, Any]:
    return {"cards": good["report"]["cards"] * times}


def _with(good: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return good | {"request": good["request"] | changes}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_renewal_is_refused_with_its_status_logged_once_and_changes_nothing(
    served: Served, node_of: Any, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, spoil = CASES[case]
    body, before = spoil(good(node_of)), served.state()
    served.service.refusals._said.forget(f"refused n1 status={status}")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            answered, reason = served.post(body, served.hall.headers("n1"))
            assert (answered, list(json.loads(reason))) == (status, ["reason"])
    assert served.state() == before
    assert len([record for record in caplog.records if "refused n1" in record.getMessage()]) == 1


CALLERS = {
    "no token": {},
    "an empty token": {"Authorization": "Bearer "},
    "a password": {"Authorization": "Basic bjE6eA=="},
    "a bare name": {"Authorization": "Bearer n1"},
    "a guess": {"Authorization": "Bearer n1:" + "0" * 64},
    "letters of elsewhere": {"Authorization": "Bearer n1:\xe9"},
    "a token of another secret": {"Authorization": "Bearer " + SharedSecret(b"another secret, as long").token("n1")},
}


@pytest.mark.parametrize("caller", CALLERS)
def test_an_unknown_caller_is_refused_and_changes_nothing(served: Served, node_of: Any, caller: str) -> None:
    before = served.state()
    headers = {"Content-Type": "application/json"} | CALLERS[caller]
    assert served.post(json.dumps(good(node_of)).encode(), headers)[0] == 401
    assert served.state() == before


@pytest.mark.parametrize("headers", [{"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}])
def test_what_is_not_plain_json_is_refused(served: Served, node_of: Any, headers: Mapping[str, str]) -> None:
    body, before = json.dumps(good(node_of)).encode(), served.state()
    packed = gzip.compress(body) if "Content-Encoding" in headers else body
    assert served.post(packed, served.hall.headers("n1") | headers)[0] == 415
    assert served.state() == before


def test_one_who_is_no_member_is_told_so(served: Served, node_of: Any) -> None:
    before = served.state()
    body = node_of("laptop").renewal().model_dump_json().encode()
    assert served.post(body, served.hall.headers("laptop"))[0] == 404
    assert served.state() == before


FIELDS = ("holder", "life", "count", "epoch", "acknowledged", "may_draw_w", "in_force_w", "fallback_w")

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    field=st.sampled_from(["holder", "life", "count", "epoch", "may_draw_w", "in_force_w", "fallback_w"]), value=junk
)
def test_junk_in_any_field_is_refused_and_changes_nothing(served: Served, node_of: Any, field: str, value: Any) -> None:
    # An epoch that no leader ever had, so that even a lucky draw is refused.
    data = good(node_of, epoch=7)
    data["request"][field] = {"junk": value} if field == "epoch" else value
    before = served.state()
    status, _ = served.post(json.dumps(data).encode(), served.hall.headers("n1"))
    assert status in (400, 403, 409)
    assert served.state() == before


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 600), noise=st.binary(max_size=20))
def test_a_body_cut_anywhere_with_noise_behind_is_refused(served: Served, node_of: Any, cut: int, noise: bytes) -> None:
    body = json.dumps(good(node_of)).encode()
    before = served.state()
    status, _ = served.post(body[: len(body) - cut] + b"\x00" + noise, served.hall.headers("n1"))
    assert status == 400
    assert served.state() == before
