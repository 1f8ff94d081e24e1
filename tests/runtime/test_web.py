"""The page's server, asked over real sockets: what it serves, whom it refuses, how it ends."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import aiohttp
import numpy as np
import pytest
from aiohttp import ClientSession
from ports import free_port
from prometheus_client import CollectorRegistry, Gauge

from wattlease.runtime.view import SiteView
from wattlease.runtime.web import Page, serve, serving
from wattlease.runtime.web_controls import Controls, Refusal

DocumentOf: TypeAlias = Callable[..., SiteView]


@asynccontextmanager
async def asked(page: Page, **how: Any) -> AsyncIterator[ClientSession]:
    async with serving(page, port=0, **how) as address, ClientSession(address) as session:
        yield session


def published(view: SiteView) -> Page:
    page = Page()
    page.publish(view)
    return page


async def ticks(answer: aiohttp.ClientResponse, many: int) -> list[tuple[int, dict[str, Any]]]:
    heard: list[tuple[int, dict[str, Any]]] = []
    sequence = 0
    while len(heard) < many:
        line = (await asyncio.wait_for(answer.content.readline(), 5)).decode().strip()
        if line.startswith("id: "):
            sequence = int(line[4:])
        elif line.startswith("data: "):
            heard.append((sequence, json.loads(line[6:])))
    return heard


async def test_the_view_is_the_whole_document(document: DocumentOf) -> None:
    async with asked(published(document())) as session, session.get("/api/view") as answer:
        view = await answer.json()
    assert view["limit_w"] == 142_000.0
    assert len(view["history"]["t_s"]) == 1801
    assert {job["name"] for job in view["jobs"]} >= {"llama-pretrain-70b", "chat-frontend"}


async def test_before_the_first_tick_there_is_no_document_and_the_server_is_not_ready() -> None:
    async with asked(Page()) as session:
        assert (await session.get("/api/view")).status == 204
        assert (await session.get("/healthz")).status == 200
        unready = await session.get("/readyz")
        assert (unready.status, await unready.text()) == (503, "not ready: no tick yet\n")


async def test_a_fresh_document_makes_the_server_ready(document: DocumentOf) -> None:
    async with asked(published(document())) as session:
        assert (await session.get("/readyz")).status == 200


def test_an_unknown_number_travels_as_null_and_columns_may_be_arrays(document: DocumentOf) -> None:
    view = document()
    past = dataclasses.replace(view.history, draw_w=np.asarray(view.history.draw_w), limit_w=np.full(1801, np.nan))
    told = json.loads(dataclasses.replace(view, history=past, draw_w=float("nan"), headroom_w=None).whole_json())
    assert told["draw_w"] is None
    assert told["headroom_w"] is None
    assert told["history"]["limit_w"][0] is None
    assert told["history"]["draw_w"] == list(view.history.draw_w)


async def test_the_stream_sends_the_newest_tick_at_once_and_each_later_one_without_history(
    document: DocumentOf,
) -> None:
    page = published(document())
    async with asked(page) as session, session.get("/api/stream") as answer:
        assert answer.content_type == "text/event-stream"
        [(first, tick)] = await ticks(answer, 1)
        page.publish(document(1, "shedding"))
        [(second, later)] = await ticks(answer, 1)
    assert second == first + 1
    assert "history" not in later
    assert (tick["state"], later["state"]) == ("within", "shedding")
    newest = document(1).history.newest()
    assert newest is not None
    assert later["sample"] == dataclasses.asdict(newest) | {"series": [dataclasses.asdict(s) for s in newest.series]}


async def test_a_slow_browser_misses_ticks_but_gets_the_newest(document: DocumentOf) -> None:
    page = published(document())
    heavy = dataclasses.replace(document(), state_text="x" * 1_000_000)
    async with asked(page) as session, session.get("/api/stream") as answer:
        await ticks(answer, 1)
        for second in range(60):
            page.publish(dataclasses.replace(heavy, now_s=float(second)))
            await asyncio.sleep(0.005)  # lets the server write into a socket that nobody reads
        page.publish(dataclasses.replace(document(), now_s=4711.0))
        heard = [0.0]
        while heard[-1] != 4711.0:
            heard += [tick["now_s"] for _, tick in await ticks_of_any_length(answer)]
    assert len(heard) < 50, "every tick was kept for a browser that did not read"


async def ticks_of_any_length(answer: aiohttp.ClientResponse) -> list[tuple[int, dict[str, Any]]]:
    block = b""
    while not block.endswith(b"\n\n"):
        block += await asyncio.wait_for(answer.content.readany(), 5)
    return [(0, json.loads(line[6:])) for line in block.splitlines() if line.startswith(b"data: ")]


async def test_open_streams_end_at_once_when_the_server_stops(document: DocumentOf) -> None:
    page = published(document())
    port = free_port()
    server = asyncio.create_task(serve(page, port=port))
    await asyncio.sleep(0.1)
    async with ClientSession(f"http://127.0.0.1:{port}") as session:
        answers = [await session.get("/api/stream") for _ in range(5)]
        for answer in answers:
            await ticks(answer, 1)
        asked_s = time.monotonic()
        server.cancel()
        await asyncio.wait([server])
        took_s = time.monotonic() - asked_s
    assert took_s < 20.0


async def test_a_taken_port_is_said_with_what_to_do(document: DocumentOf) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="is taken: stop what listens there or choose another port"):
            await serve(published(document()), port=taken.getsockname()[1])


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[::1", "10.0.0.9"]
)
async def test_a_foreign_host_name_is_refused(document: DocumentOf, host: str) -> None:
    async with asked(published(document())) as session:
        for path in ("/", "/api/view", "/api/stream", "/metrics", "/healthz"):
            answer = await session.get(path, headers={"Host": host})
            assert answer.status in (400, 403), path


@pytest.mark.parametrize("host", ["localhost", "localhost:9", "127.0.0.1:80", "[::1]:80", "Power.Example"])
async def test_loopback_and_configured_names_are_served(document: DocumentOf, host: str) -> None:
    async with asked(published(document()), names=["power.example"]) as session:
        assert (await session.get("/api/view", headers={"Host": host})).status == 200


async def test_every_answer_forbids_other_hosts_and_frames(document: DocumentOf) -> None:
    async with asked(published(document())) as session:
        for path in ("/", "/api/view", "/api/stream", "/static/page.js", "/nowhere", "/metrics"):
            answer = await session.get(path)
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy, path
            assert "script-src" not in policy, path  # nothing wider for scripts
            assert "frame-ancestors 'none'" in policy, path
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Access-Control-Allow-Origin" not in answer.headers
            answer.close()


async def test_the_chart_library_is_compressed_and_kept_for_long(document: DocumentOf) -> None:
    async with asked(published(document())) as session:
        answer = await session.get("/static/plotly.min.js")
        assert answer.headers["Content-Encoding"] == "gzip"
        assert "max-age=31536000" in answer.headers["Cache-Control"]
        assert len(await answer.read()) > 1_000_000
        again = await session.get("/static/plotly.min.js", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304


async def test_own_files_are_revalidated_and_nothing_else_is_served(document: DocumentOf) -> None:
    async with asked(published(document())) as session:
        answer = await session.get("/static/page.css")
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")
        for path in ("/static/web.py", "/static/%2e%2e/web.py", "/static/index.html", "/static/"):
            assert (await session.get(path)).status == 404, path


async def test_the_page_names_no_other_host(document: DocumentOf) -> None:
    async with asked(published(document())) as session:
        text = await (await session.get("/")).text()
    assert "//" not in text
    assert "{{" not in text


async def test_the_metrics_are_few_and_true(document: DocumentOf) -> None:
    beside = CollectorRegistry()
    Gauge("wattlease_other", "Another.", registry=beside).set(7)
    page = published(document())
    async with asked(page, registry=beside) as session:
        lines = (await (await session.get("/metrics")).text()).splitlines()
    assert "wattlease_limit_watts 142000.0" in lines
    assert "wattlease_storage_charge_ratio 0.753" in lines
    assert 'wattlease_jobs{state="paused"} 1.0' in lines
    assert 'wattlease_jobs{state="waiting"} 0.0' in lines
    assert "wattlease_other 7.0" in lines
    assert len([line for line in lines if not line.startswith("#")]) == 11


class Plant:
    """A plant that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def set_limit(self, limit_w: float) -> None:
        self.asked.append(limit_w)

    async def start_event(self, depth_frac: float, duration_s: float, ramp_s: float) -> None:
        self.asked.append((depth_frac, duration_s, ramp_s))

    async def submit_job(self, gpus: int, kind: str) -> Refusal | None:
        self.asked.append((gpus, kind))
        return None

    async def reset(self) -> None:
        self.asked.append("reset")

    def controls(self) -> Controls:
        return Controls(self.set_limit, self.start_event, self.submit_job, self.reset, (60_000.0, 185_000.0), 256)


async def test_without_controls_nothing_can_be_changed(document: DocumentOf) -> None:
    async with asked(published(document())) as session:
        for name in ("limit", "event", "job", "reset"):
            assert (await session.post(f"/api/controls/{name}", json={})).status == 404


async def test_the_controls_reach_the_plant(document: DocumentOf) -> None:
    plant = Plant()
    orders = {
        "limit": {"limit_w": 90_000},
        "event": {"depth_frac": 0.25, "duration_s": 600},
        "job": {"gpus": 128, "kind": "Batch"},
        "reset": {},
    }
    async with asked(published(document()), controls=plant.controls()) as session:
        for name, order in orders.items():
            assert await (await session.post(f"/api/controls/{name}", json=order)).json() == {"done": True}
    assert plant.asked == [90_000.0, (0.25, 600.0, 0.0), (128, "Batch"), "reset"]


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("limit", '{"limit_w": -5}', "limit_w"),
        ("limit", '{"limit_w": 1000}', "limit_w"),
        ("limit", '{"limit_w": "90000"}', "limit_w"),
        ("limit", '{"limit_w": 1e999}', "body"),
        ("limit", '{"limit_w": 90000, "force": true}', "force"),
        ("limit", '{"limit_w": ', "body"),
        ("limit", "[]", "body"),
        ("event", '{"depth_frac": 1.5, "duration_s": 60}', "depth_frac"),
        ("event", '{"depth_frac": 0.2}', "duration_s"),
        ("job", '{"gpus": 257, "kind": "Batch"}', "gpus"),
        ("job", '{"gpus": 2.5, "kind": "Batch"}', "gpus"),
        ("job", '{"gpus": 8, "kind": "Mining"}', "kind"),
        ("reset", '{"all": 1}', "all"),
    ],
)
async def test_a_wrong_order_is_refused_with_what_where_and_the_fix(
    document: DocumentOf, name: str, body: str, field: str
) -> None:
    plant = Plant()
    async with asked(published(document()), controls=plant.controls()) as session:
        headers = {"Content-Type": "application/json"}
        answer = await session.post(f"/api/controls/{name}", data=body, headers=headers)
        refusal = await answer.json()
    assert (answer.status, refusal["field"]) == (400, field)
    assert refusal["error"]
    assert refusal["fix"].startswith("send ")
    assert plant.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
async def test_another_sites_page_can_change_nothing(document: DocumentOf, headers: dict[str, str]) -> None:
    plant = Plant()
    sent = {"Content-Type": "application/json"} | headers
    async with asked(published(document()), controls=plant.controls()) as session:
        answer = await session.post("/api/controls/reset", data="{}", headers=sent)
        assert answer.status in (403, 415)
        assert set(await answer.json()) == {"error", "field", "fix"}
    assert plant.asked == []


async def test_an_order_of_a_megabyte_is_not_read(document: DocumentOf) -> None:
    plant = Plant()
    async with asked(published(document()), controls=plant.controls()) as session:
        answer = await session.post("/api/controls/limit", json={"limit_w": "9" * 1_000_000})
    assert answer.status == 413


async def test_controls_are_never_offered_to_other_machines(document: DocumentOf) -> None:
    with pytest.raises(ValueError, match="controls are for the demo on this machine"):
        await serve(published(document()), host="0.0.0.0", port=0, controls=Plant().controls())
