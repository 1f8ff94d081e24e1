"""`wattlease status`: what it says of a real page's document, and what its exit code means."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import orjson
import pytest
from click.testing import CliRunner, Result

from wattlease.runtime.status import status
from wattlease.runtime.view import LimitRow, SiteState, SiteView
from wattlease.runtime.web import FRESH_S, Page, serving

DocumentOf: TypeAlias = Callable[..., SiteView]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are those of this machine's zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


async def asked(shown: Page, *words: str) -> Result:
    async with serving(shown, port=0) as address:
        return await asyncio.to_thread(CliRunner().invoke, status, ["--url", address, *words])


def published(view: SiteView) -> Page:
    shown = Page()
    shown.publish(view)
    return shown


async def test_a_few_lines_say_how_the_site_stands(document: DocumentOf) -> None:
    view = document()
    night = LimitRow("site", "schedule", 80_000.0, False, "schedule 'night' is to come", view.now_s + 7200.0)
    result = await asked(published(replace(view, draw_w=130_000.0, headroom_w=12_000.0, limits=(*view.limits, night))))
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "Hall 3, Phoenix: within. The event of 10:50 is met: 25 % less than before it, 5 jobs slowed, 1 paused.",
        "limit     142 kW, Demand-response event until 11:20 asks for 142.0 kW; feed A's breaker would allow 185.0 kW;"
        " until 09:20 (in 20 min)",
        "draw      130 kW, 12.0 kW left",
        "battery   75% full, gives 6.0 kW. Discharging through the event.",
        "jobs      35 running, 1 capped, 1 downsized, 1 paused, 1 held",
        "next      80.0 kW from 11:00 (in 2.0 h): schedule 'night' is to come",
        "expected  a peak of 131 kW in the next 29 min; 1 chance in 10 that it passes 134 kW",
    ]


@pytest.mark.parametrize(
    ("state", "code"), [("within", 0), ("preparing", 0), ("shedding", 0), ("releasing", 0), ("over", 1), ("blind", 1)]
)
async def test_the_exit_code_says_whether_the_limit_is_kept(document: DocumentOf, state: SiteState, code: int) -> None:
    for words in ((), ("--json",)):
        assert (await asked(published(document(0.0, state)), *words)).exit_code == code


async def test_a_draw_over_the_limit_is_so_much_too_much(document: DocumentOf) -> None:
    result = await asked(published(replace(document(0.0, "over"), draw_w=145_000.0, headroom_w=-3_000.0)))
    assert "draw      145 kW, 3.0 kW too much\n" in result.output


async def test_a_controller_that_stands_still_is_said_and_is_not_within(document: DocumentOf) -> None:
    shown = published(document())
    shown._published_s -= FRESH_S + 20.0
    result = await asked(shown)
    assert result.exit_code == 1
    assert "not of now: the last tick is 35 s old; the controller stands still or another leads\n" in result.output


async def test_json_is_for_programs(document: DocumentOf) -> None:
    view = document()
    coming = LimitRow("site", "schedule", 80_000.0, False, "night", view.now_s + 60.0, None)
    result = await asked(published(replace(view, limits=(*view.limits, coming), draw_w=None)), "--json")
    told = orjson.loads(result.output)
    assert (told["state"], told["held"], told["stale"], told["limit_w"], told["draw_w"]) == (
        "within", True, "", 142_000.0, None,
    )  # fmt: skip
    assert told["jobs"] == {"capped": 1, "running": 35, "paused": 1, "downsized": 1, "held": 1}
    assert told["next"] == [{"from_s": view.now_s + 60.0, "limit_w": 80_000.0, "source": "schedule", "text": "night"}]
    assert told["until_s"] == view.now_s + 1200.0


def test_a_page_that_cannot_be_reached_is_told_with_exit_code_2() -> None:
    result = CliRunner().invoke(status, ["--url", "http://127.0.0.1:9"])
    assert result.exit_code == 2
    assert "http://127.0.0.1:9 cannot be reached: Connection refused; is the controller running" in result.output


async def test_a_controller_that_has_decided_nothing_is_told_with_exit_code_2() -> None:
    result = await asked(Page())
    assert result.exit_code == 2
    assert "has nothing decided yet" in result.output


async def test_words_from_outside_do_not_steer_the_terminal(document: DocumentOf) -> None:
    result = await asked(published(replace(document(), site="\x1b[2Jhall", state_text="a\nb")))
    assert "\x1b" not in result.output
    assert len(result.output.splitlines()) == 6
