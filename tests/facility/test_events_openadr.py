"""OpenADR 2.0b on loopback: openleadr's own server sends, our VEN hears, answers and reports. No TLS, no signatures."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from ports import free_port

pytest.importorskip("openleadr", reason="the facility extra is not installed")
sys.path.insert(0, str(Path(__file__).parent))  # the VTN stands in a module beside the tests

from openadr_vtn import served, signal

from wattlease.core.api import GridEvents, PowerBudgetSpec
from wattlease.facility.events.event import OPEN_ENDED_S, Terms, limit_w
from wattlease.facility.events.events import Events
from wattlease.facility.events.openadr_words import event_of

LIMIT_W = 1_000_000


def spec(port: int, **more: Any) -> PowerBudgetSpec:
    adr = {"vtnUrl": f"http://127.0.0.1:{port}/OpenADR2/Simple/2.0b", "venName": "hall", "pollSeconds": 1}
    adr |= more.pop("openAdr", {})
    events = {"openAdr": adr, **more}
    return PowerBudgetSpec.model_validate({"limitWatts": LIMIT_W, "guaranteedWatts": 400_000, "gridEvents": events})


@asynccontextmanager
async def hearing(events: Events) -> AsyncIterator[Events]:
    task = asyncio.create_task(events.run())
    try:
        yield events
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(what: Callable[[], bool], patience_s: float = 40.0) -> None:
    async with asyncio.timeout(patience_s):
        while not what():
            await asyncio.sleep(0.05)


def limits(events: Events) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for window in events.windows(0, time.time()):
        found.setdefault(window.name, []).append(window.limit_w)
    return found


async def test_overlapping_events_are_taken_one_is_cancelled_one_changed_and_power_is_reported(tmp_path: Path) -> None:
    port = free_port()
    async with served(port) as vtn, hearing(Events(spec(port), tmp_path, lambda: 812_000.0)) as events:
        vtn.asks("level", [signal("SIMPLE", "level", 1, 2, 0, 1)])
        vtn.asks("setpoint", [signal("LOAD_DISPATCH", "setpoint", 550.0, start_s=900)])
        too_deep = vtn.asks("deep", [signal("LOAD_DISPATCH", "setpoint", 300.0)])
        await until(lambda: len(vtn.opts) == 3)
        assert sorted(vtn.opts) == [("deep", "optOut"), ("level", "optIn"), ("setpoint", "optIn")]
        assert limits(events) == {"level": [9e5, 7.5e5, 9e5], "setpoint": [5.5e5]}
        assert "no less than 400 kW" in next(e.refused for e in events.events if e.id == "deep")

        vtn.server.cancel_event("ven1", "setpoint")
        too_deep.event_descriptor.modification_number = 1
        too_deep.event_signals[0].intervals[0].signal_payload = 500.0
        await until(lambda: "setpoint" not in limits(events))
        await until(lambda: limits(events).get("deep") == [5e5])
        assert limits(events)["level"] == [9e5, 7.5e5, 9e5]

        await until(lambda: len(vtn.reported) >= 2)
        assert {value for _, value in vtn.reported} == {812_000.0}
        standing = events.standing()[0]
        assert standing.trouble == ""
        assert standing.heard_s is not None
        assert time.time() - standing.heard_s < 30.0

    again = Events(spec(port), tmp_path, lambda: None)
    assert limits(again) == {"level": [9e5, 7.5e5, 9e5], "deep": [5e5]}


async def test_an_event_that_the_list_leaves_out_is_over_and_those_of_a_silent_vtn_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    async with hearing(Events(spec(port), tmp_path, lambda: None)) as events:
        async with served(port) as vtn:
            vtn.asks("a", [signal("SIMPLE", "level", 1)])
            vtn.asks("b", [signal("SIMPLE", "level", 2)])
            await until(lambda: set(limits(events)) == {"a", "b"})
            vtn.server.events["ven1"].pop(0)
            vtn.server.events_updated["ven1"] = True
            await until(lambda: set(limits(events)) == {"b"})
            await asyncio.sleep(1.2)
            assert vtn.reported == []
            assert "EiReport" not in caplog.text  # nobody knows the site's power: no report, and so none that fails
        await asyncio.sleep(1.5)
        assert set(limits(events)) == {"b"}
        async with served(port) as vtn:
            vtn.asks("c", [signal("SIMPLE", "level", 3)])
            await until(lambda: set(limits(events)) == {"c"})


async def test_a_delta_is_taken_from_the_draw_before_it_starts_and_not_after(tmp_path: Path) -> None:
    port, draw = free_port(), [800_000.0]
    now = [time.time()]
    events = Events(spec(port), tmp_path, lambda: draw[0], lambda: now[0])
    async with served(port) as vtn, hearing(events):
        vtn.asks("less", [signal("LOAD_DISPATCH", "delta", -100.0, start_s=300)])
        await until(lambda: limits(events) == {"less": [7e5]})
    draw[0] = 900_000.0
    await events.book.keep_up(9e5)
    assert limits(events) == {"less": [8e5]}
    now[0] += 301
    await events.book.keep_up(4.5e5)
    assert limits(events) == {"less": [8e5]}


async def test_a_site_with_too_little_notice_opts_out(tmp_path: Path) -> None:
    port = free_port()
    events = Events(spec(port, leastNoticeSeconds=3600), tmp_path, lambda: None)
    async with served(port) as vtn, hearing(events):
        vtn.asks("soon", [signal("SIMPLE", "level", 1, start_s=60)])
        await until(lambda: vtn.opts == [("soon", "optOut")])
        assert limits(events) == {}
        assert "of notice are needed" in events.events[0].refused


async def test_a_vtn_that_answers_nonsense_or_not_at_all_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wattlease.facility.events.openadr.FIRST_RETRY_S", 0.1)
    port = free_port()

    async def nonsense(_: web.Request) -> web.Response:
        return web.Response(text="<html>be right back")

    app = web.Application()
    app.router.add_post("/{path:.*}", nonsense)
    runner = web.AppRunner(app)
    async with hearing(Events(spec(port), tmp_path, lambda: None)) as events:
        await until(lambda: "ClientConnectorError" in events.standing()[0].trouble)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await until(lambda: "schema validation" in caplog.text)
        await runner.cleanup()
        async with served(port) as vtn:
            vtn.asks("a", [signal("SIMPLE", "level", 1)])
            await until(lambda: set(limits(events)) == {"a"} and events.standing()[0].trouble == "")
    assert caplog.text.count("Could not connect") == 1


BASE = datetime(2026, 11, 21, 12, tzinfo=UTC)
TERMS = Terms(float(LIMIT_W), 4e5)


def told(signals: list[dict[str, Any]], duration_s: float = 3600, **descriptor: Any) -> dict[str, Any]:
    """An event as openleadr reads it off the wire."""
    return {
        "event_descriptor": {"event_id": "e", "modification_number": 3, "event_status": "far", **descriptor},
        "active_period": {"dtstart": BASE, "duration": timedelta(seconds=duration_s)},
        "event_signals": signals,
    }


def one(kind: str, form: str, *payloads: float, long_s: float = 600, **more: Any) -> dict[str, Any]:
    found = [{"duration": timedelta(seconds=long_s), "uid": k, "signal_payload": v} for k, v in enumerate(payloads)]
    return {"signal_name": kind, "signal_type": form, "signal_id": "s", "intervals": found, **more}


def meant(signals: list[dict[str, Any]], events: dict[str, Any] | None = None, **more: Any) -> Any:
    adr = {"vtnUrl": "https://vtn.example.org", "venName": "hall", **(events or {}).pop("openAdr", {})}
    written = GridEvents.model_validate({"openAdr": adr, **(events or {})})
    return event_of(told(signals, **more), written, float(LIMIT_W), BASE.timestamp() - 1000)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), min_size=1, max_size=20))
@settings(max_examples=60)
def test_every_interval_of_a_simple_signal_limits_as_its_level_says(levels: list[float]) -> None:
    event = meant([one("SIMPLE", "level", *levels)], duration_s=600 * len(levels))
    expected = {BASE.timestamp() + 600 * k: {1: 9e5, 2: 7.5e5, 3: 5e5}[int(v)] for k, v in enumerate(levels) if v}
    if not expected:
        assert event.refused == "it asks for normal operation throughout"
    else:
        assert {i.start_s: i.limit_w for i in event.intervals} == expected
        assert all(i.end_s - i.start_s == 600 for i in event.intervals)


@pytest.mark.parametrize(
    ("signals", "adr", "expected_w"),
    [
        ([one("LOAD_DISPATCH", "setpoint", 650)], {}, 6.5e5),
        ([one("LOAD_DISPATCH", "setpoint", 0.65)], {"dispatchUnit": "MW"}, 6.5e5),
        ([one("LOAD_DISPATCH", "setpoint", 650_000, measurement={"unit": "W", "scale": "none"})], {}, 6.5e5),
        ([one("LOAD_DISPATCH", "setpoint", 0.65, measurement={"unit": "W", "scale": "M"})], {}, 6.5e5),
        ([one("LOAD_DISPATCH", "multiplier", 0.65)], {}, 6.5e5),
        ([one("LOAD_DISPATCH", "delta", -350)], {"deltaFrom": "Limit"}, 6.5e5),
        ([one("LOAD_DISPATCH", "delta", 350)], {"deltaFrom": "Limit"}, 6.5e5),
        ([one("LOAD_DISPATCH", "delta", 350)], {"deltaFrom": "Limit", "deltaLess": "Positive"}, 6.5e5),
        ([one("SIMPLE", "level", 3), one("LOAD_DISPATCH", "setpoint", 650)], {}, 6.5e5),
        ([one("SIMPLE", "level", 2)], {"simple": {"high": {"limitWatts": 650_000}}}, 6.5e5),
    ],
)
def test_a_signal_is_watts_as_the_settings_say(
    signals: list[dict[str, Any]], adr: dict[str, Any], expected_w: float
) -> None:
    event = meant(signals, {"openAdr": adr})
    assert event.refused == ""
    assert limit_w(event.intervals[0], event, TERMS) == pytest.approx(expected_w)


@pytest.mark.parametrize(
    ("signals", "more", "reason"),
    [
        ([one("ELECTRICITY_PRICE", "price", 0.4)], {}, "(ELECTRICITY_PRICE) ask for no load"),
        ([one("SIMPLE", "level", 4)], {}, "level 4 is none of"),
        ([one("LOAD_DISPATCH", "level", 1)], {}, "type level is not understood"),
        ([one("LOAD_DISPATCH", "setpoint", 1, measurement={"unit": "VAR"})], {}, "real power in W"),
        ([one("LOAD_DISPATCH", "setpoint", *[600.0] * 501)], {}, "501 intervals"),
        ([one("SIMPLE", "level", 1)], {"test_event": True}, "it is a test"),
        ([one("LOAD_DISPATCH", "delta", 350)], {"less": "Negative"}, "normal operation"),
    ],
)
def test_an_event_that_cannot_be_acted_on_is_opted_out_of_with_the_reason(
    signals: list[dict[str, Any]], more: dict[str, Any], reason: str
) -> None:
    adr = {"openAdr": {"deltaLess": more.pop("less")}} if "less" in more else {}
    assert reason in meant(signals, adr, **more).refused


def test_an_event_without_an_end_lasts_until_it_is_cancelled() -> None:
    event = meant([one("SIMPLE", "level", 2, long_s=0)], duration_s=0)
    assert event.end_s - event.start_s == OPEN_ENDED_S


def test_the_ramp_comes_before_the_start_as_far_as_there_is_time() -> None:
    for ramp_s, expected_s in ((300, 300), (5000, 1000)):
        event = meant([one("SIMPLE", "level", 2)], {"rampSeconds": ramp_s})
        assert event.ramp_s == expected_s
        assert event.start_s == BASE.timestamp() - expected_s
        assert event.intervals[0].end_s == BASE.timestamp() + 600
