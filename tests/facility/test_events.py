"""Events of the grid from a file and by a call: which are taken, what they become, and that they outlive a restart."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from wattlease.core.api import PowerBudgetSpec
from wattlease.facility.events.book import Book
from wattlease.facility.events.draws import Draws
from wattlease.facility.events.event import Event, Interval, Terms, refusal, windows
from wattlease.facility.events.events import Events, log
from wattlease.runtime.lease.said import Said

NOW_S = datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()
TERMS = Terms(1e6, 4e5, 60.0)
TOKEN = "a token of some length"


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


def spec(**events: Any) -> PowerBudgetSpec:
    return PowerBudgetSpec.model_validate({"limitWatts": 1_000_000, "guaranteedWatts": 400_000, "gridEvents": events})


def at(minutes: float) -> str:
    return (datetime.fromtimestamp(NOW_S, UTC) + timedelta(minutes=minutes)).isoformat()


def listed(*events: tuple[str, float, float, int]) -> str:
    return (
        "".join(
            f"- {{name: {name}, start: {at(start)}, end: {at(end)}, limitWatts: {watts}, noticeSeconds: 86400}}\n"
            for name, start, end, watts in events
        )
        or "[]\n"
    )


intervals = st.lists(
    st.tuples(st.floats(60, 3600), st.one_of(st.none(), st.floats(1, 2e6)), st.floats(0, 2e6)), min_size=1, max_size=6
)


def event_of(parts: list[tuple[float, float | None, float]], start_s: float, base_w: float | None = None) -> Event:
    found, at_s = [], start_s
    for long_s, limit_w, less_w in parts:
        found.append(Interval(at_s, at_s + long_s, limit_w, less_w))
        at_s += long_s
    return Event("openadr", "e", 0, NOW_S, tuple(found), base_w=base_w, from_draw=base_w is not None)


@given(intervals, st.floats(-600, 6000), st.one_of(st.none(), st.floats(0, 3e6)))
def test_an_event_that_is_taken_asks_for_what_the_site_offers_and_in_time(
    parts: list[tuple[float, float | None, float]], ahead_s: float, base_w: float | None
) -> None:
    event = event_of(parts, NOW_S + ahead_s, base_w)
    reason = refusal(event, TERMS, NOW_S)
    base = min(TERMS.limit_w, base_w if base_w is not None else TERMS.limit_w)
    lowest_w = min(limit if limit is not None else base - less for _, limit, less in parts)
    assert (not reason) == (lowest_w >= TERMS.least_w and ahead_s >= 60.0)


@given(intervals, st.floats(0, 3e6))
def test_no_window_is_below_what_the_site_offers_whatever_its_base_became(
    parts: list[tuple[float, float | None, float]], base_w: float
) -> None:
    found = tuple(windows(event_of(parts, NOW_S, base_w), TERMS, 3))
    assert len(found) == len(parts)
    assert all(w.limit_w >= TERMS.least_w and w.scope == 3 and w.source == "event" for w in found)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a", "b"]), st.floats(4e5, 1e6)), max_size=12))
@settings(max_examples=40, deadline=None)
def test_the_newest_version_of_an_event_is_the_one_that_holds(puts: list[tuple[int, str, float]]) -> None:
    async def play() -> Book:
        book = Book(TERMS, None, lambda: NOW_S, Said(log))
        for version, name, limit_w in puts:
            interval = Interval(NOW_S + 600, NOW_S + 1200, limit_w)
            await book.put(Event("openadr", name, version, NOW_S, (interval,)))
        return book

    expected: dict[str, tuple[int, float]] = {}
    for version, name, limit_w in puts:
        if name not in expected or version >= expected[name][0]:
            expected[name] = version, limit_w
    found = {w.name: w.limit_w for w in asyncio.run(play()).windows(0, NOW_S)}
    assert found == {name: limit_w for name, (_, limit_w) in expected.items()}


async def looked(events: Events, times: int = 2) -> None:
    assert events.file
    for _ in range(times):
        await events.file.look()


def limits(events: Events, now_s: float = NOW_S) -> dict[str, float]:
    return {w.name: w.limit_w for w in events.windows(0, now_s)}


async def test_overlapping_events_of_a_file_all_become_windows(tmp_path: Path) -> None:
    path = tmp_path / "events.yaml"
    path.write_text(listed(("evening", 30, 90, 700_000), ("deep", 60, 70, 500_000)))
    events = Events(spec(file={"path": str(path)}), None, lambda: None, Clock())
    await looked(events)
    assert limits(events) == {"evening": 7e5, "deep": 5e5}
    path.write_text(listed(("evening", 30, 120, 650_000)))
    await looked(events)
    assert limits(events) == {"evening": 6.5e5}
    path.write_text("[]\n")
    await looked(events)
    assert limits(events) == {}


async def test_a_file_is_taken_once_it_has_come_to_rest(tmp_path: Path) -> None:
    path = tmp_path / "events.yaml"
    path.write_text(listed(("a", 30, 90, 700_000), ("b", 60, 70, 500_000)))
    events = Events(spec(file={"path": str(path)}), None, lambda: None, Clock())
    whole = path.read_text()
    path.write_text(whole.splitlines(keepends=True)[0])
    await looked(events, 1)
    path.write_text(whole)
    await looked(events, 1)
    assert limits(events) == {}
    await looked(events, 1)
    assert set(limits(events)) == {"a", "b"}


BAD = "- {name: a, start: 2026-11-21T13:00:00Z, end: 2026-11-21T12:00:00Z, limitWatts: 500000}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (listed(("a", 30, 60, 600_000)) + BAD, "events.yaml:2: [1].end"),
        (listed(("a", 30, 60, 600_000), ("a", 70, 80, 600_000)), "events.yaml:2: [1].name: 'a' is used twice"),
        ("- {name: a, start: soon, end: later, limitWatts: 600000}\n", "events.yaml:1: [0].start"),
        ("events: []\n", "events.yaml:1"),
        ("", "the file is empty"),
        ("- {name: a, start: [\n", "events.yaml:"),
        (listed(("a", 30, 60, 300_000)), "a: not taken, it asks for 300 kW; no less than 400 kW is offered"),
    ],
)
async def test_a_list_with_a_mistake_is_refused_and_the_one_before_holds(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "events.yaml"
    path.write_text(listed(("a", 30, 60, 700_000)))
    events = Events(spec(file={"path": str(path)}), None, lambda: None, Clock())
    await looked(events)
    path.write_text(text)
    await looked(events)
    assert told in events.standing()[0].trouble
    assert limits(events) == {"a": 7e5}


async def test_a_file_that_is_gone_cancels_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.yaml"
    path.write_text(listed(("a", 30, 60, 700_000)))
    events = Events(spec(file={"path": str(path)}), None, lambda: None, Clock())
    await looked(events)
    path.unlink()
    await looked(events)
    assert limits(events) == {"a": 7e5}
    assert "No such file" in events.standing()[0].trouble


async def test_events_outlive_a_restart_and_are_forgotten_after_their_end(tmp_path: Path) -> None:
    path, clock = tmp_path / "events.yaml", Clock()
    path.write_text(listed(("a", 30, 60, 700_000)))
    before = Events(spec(file={"path": str(path)}, leastNoticeSeconds=600), tmp_path / "s", lambda: None, clock)
    await looked(before)
    clock.now_s += 40 * 60
    path.write_text("garbage: [")
    after = Events(spec(file={"path": str(path)}, leastNoticeSeconds=600), tmp_path / "s", lambda: None, clock)
    await looked(after)
    assert limits(after) == {"a": 7e5}
    path.write_text(listed(("a", 30, 60, 700_000)))
    await looked(after)
    assert after.standing()[0].trouble == ""
    clock.now_s += 3 * 3600
    await after.book.keep_up(None)
    assert after.events == ()
    assert Events(spec(file={"path": str(path)}), tmp_path / "s", lambda: None, clock).events == ()


async def test_a_state_file_that_is_broken_is_said_and_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "grid-events.json").write_text('{"events": [{"source": "x"}]}')
    events = Events(spec(file={"path": str(tmp_path / "none")}), tmp_path, lambda: None, Clock())
    assert events.events == ()
    assert "holds no events" in caplog.text


async def test_an_event_is_told_from_its_notice_on(tmp_path: Path) -> None:
    path = tmp_path / "events.yaml"
    path.write_text(listed(("a", 120, 180, 700_000)).replace("86400", "1800"))
    events = Events(spec(file={"path": str(path)}), None, lambda: None, Clock())
    await looked(events)
    assert limits(events, NOW_S) == {}
    assert limits(events, NOW_S + 91 * 60) == {"a": 7e5}


Caller = Callable[..., Any]


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN.replace(" ", "-"))
    path.chmod(0o600)
    return path


async def test_an_event_by_a_call_is_asked_for_replaced_and_cancelled(token: Path) -> None:
    events = Events(spec(http={"tokenFile": str(token)}), None, lambda: None, Clock())
    assert events.calls
    body = {"name": "now", "start": at(5), "end": at(65), "limitWatts": 600_000}
    headers = {"Authorization": f"Bearer {token.read_text()}"}
    async with TestClient(TestServer(events.calls.app())) as http:
        assert (await http.post("/v1/events", json=body)).status == 401
        assert (await http.post("/v1/events", json=body, headers={"Authorization": "Bearer x"})).status == 401
        assert (await http.post("/v1/events", json=body, headers=headers)).status == 201
        assert limits(events) == {"now": 6e5}
        assert (await http.post("/v1/events", json=body | {"limitWatts": 650_000}, headers=headers)).status == 200
        assert limits(events) == {"now": 6.5e5}
        deep = await http.post("/v1/events", json=body | {"limitWatts": 100}, headers=headers)
        assert deep.status == 409
        assert "no less than 400 kW" in (await deep.json())["error"]
        assert limits(events) == {"now": 6.5e5}
        known = await (await http.get("/v1/events", headers=headers)).json()
        assert [one["id"] for one in known] == ["now"]
        assert (await http.delete("/v1/events/now", headers=headers)).status == 204
        assert (await http.delete("/v1/events/now", headers=headers)).status == 404
        assert limits(events) == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Now!", "start": at(5), "end": at(65), "limitWatts": 600_000}, "name"),
        ({"name": "now", "start": "2026-11-21T13:00:00", "end": at(65), "limitWatts": 600_000}, "start"),
        ({"name": "now", "start": at(5), "end": at(65), "limitWatts": "600 kW"}, "limitWatts"),
        ({"name": "now", "start": at(5), "end": at(65), "limit": 600_000}, "limitWatts"),
        ([], "the body"),
    ],
)
async def test_a_call_that_cannot_be_meant_is_refused_with_its_field(token: Path, body: object, field: str) -> None:
    events = Events(spec(http={"tokenFile": str(token)}), None, lambda: None, Clock())
    assert events.calls
    async with TestClient(TestServer(events.calls.app())) as http:
        answer = await http.post("/v1/events", json=body, headers={"Authorization": f"Bearer {token.read_text()}"})
        assert answer.status == 422
        assert (await answer.json())["field"] == field
    assert events.events == ()


async def test_without_a_right_token_file_nobody_is_let_in(token: Path) -> None:
    events = Events(spec(http={"tokenFile": str(token)}), None, lambda: None, Clock())
    assert events.calls
    async with TestClient(TestServer(events.calls.app())) as http:
        for text, mode in (("short", 0o600), (token.read_text(), 0o644)):
            token.write_text(text)
            token.chmod(mode)
            assert (await http.get("/v1/events", headers={"Authorization": f"Bearer {text}"})).status == 503
        os.unlink(token)
        assert (await http.get("/v1/events", headers={"Authorization": "Bearer "})).status == 503


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ({}, "names no source"),
        ({"http": {"tokenFile": "t", "host": "0.0.0.0"}}, "travel readable"),
        ({"http": {"tokenFile": "t", "keyFile": "k"}}, "certificateFile"),
        ({"openAdr": {"vtnUrl": "http://vtn.example.org", "venName": "x"}}, "answered by anyone"),
        ({"openAdr": {"vtnUrl": "https://vtn.example.org", "venName": "x", "keyFile": "k"}}, "together"),
        ({"openAdr": {"vtnUrl": "https://v.org", "venName": "x", "simple": {"high": {}}}}, "needs one of"),
        ({"file": {"path": "x"}, "optOutBelowWatts": 300_000}, "is above gridEvents.optOutBelowWatts"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(events: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        spec(**events)


def test_a_budget_says_how_deep_its_events_may_go() -> None:
    with pytest.raises(ValidationError, match="every event would be refused"):
        PowerBudgetSpec.model_validate({"limitWatts": 1000, "gridEvents": {"file": {"path": "x"}}})
    deep = {"limitWatts": 1000, "gridEvents": {"file": {"path": "x"}, "optOutBelowWatts": 600}}
    assert PowerBudgetSpec.model_validate(deep).assured_watts == 600


def test_the_draw_of_late_is_the_mean_of_what_was_seen() -> None:
    draws = Draws()
    assert draws.mean_w() is None
    for k in range(400):
        draws.add(NOW_S + 5.0 * k, 100.0 if k < 300 else 200.0)
        draws.add(NOW_S + 5.0 * k + 1, None)
        draws.add(NOW_S + 5.0 * k + 2, float("nan"))
    assert draws.mean_w() == pytest.approx((80 * 100 + 100 * 200) / 180)
