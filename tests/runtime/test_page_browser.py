"""The page in a real browser, served by the real server, from a document such as a site of 256 GPUs would give."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from ports import free_port

from wattlease.runtime.view import SiteView
from wattlease.runtime.web import Page as LivePage
from wattlease.runtime.web import serving
from wattlease.runtime.web_controls import Controls, Refusal

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_MS = 30_000.0
"""A page comes in a second; on a machine that does other things it may take its time."""

START_S = 1_772_442_000.0
HOSTILE = "<img src=x onerror=document.title='owned'>"
DocumentOf: TypeAlias = Callable[..., SiteView]

expect.set_options(timeout=PATIENCE_MS)


class LiveServer:
    """The real server on a thread of its own; it can be stopped and started again on the same port."""

    def __init__(self, controls: Controls | None = None) -> None:
        self.page = LivePage()
        self._controls = controls
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        up = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(up),), daemon=True)
        self._thread.start()
        assert up.wait(10), "the server did not start"

    async def _run(self, up: threading.Event) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with serving(self.page, port=self._port, controls=self._controls):
            up.set()
            await self._end.wait()

    def publish(self, view: SiteView) -> None:
        self._loop.call_soon_threadsafe(self.page.publish, view)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server did not stop"


@contextmanager
def live(view: SiteView, controls: Controls | None = None) -> Iterator[LiveServer]:
    server = LiveServer(controls)
    server.start()
    try:
        server.publish(view)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium on the PATH: install the distribution's package `chromium`")
        pytest.skip("no Chromium on the PATH: install the distribution's package `chromium`")
    with sync_playwright() as playwright:
        flags = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def server(document: DocumentOf) -> Iterator[LiveServer]:
    with live(document()) as running:
        yield running


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One profile for all tests: the chart library is fetched once, as a visitor's browser would."""
    with profile(browser) as shared:
        yield shared


@pytest.fixture
def charted(context: BrowserContext, server: LiveServer, document: DocumentOf) -> Iterator[Page]:
    """The page with its chart drawn, which takes seconds on a slow machine."""
    server.publish(document())
    with opened(context, server) as fresh:
        expect(fresh.locator("#chart .scatterlayer .trace").first).to_be_attached()
        yield fresh


@pytest.fixture
def page(plain: BrowserContext, server: LiveServer, document: DocumentOf) -> Iterator[Page]:
    """The page to which the chart library never comes: all the rest must work."""
    server.publish(document())
    with opened(plain, server) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def plain(browser: Browser) -> Iterator[BrowserContext]:
    with profile(browser) as shared:
        shared.route("**/plotly.min.js*", lambda route: route.abort())
        yield shared


@contextmanager
def profile(browser: Browser) -> Iterator[BrowserContext]:
    fresh = browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    fresh.set_default_timeout(PATIENCE_MS)
    yield fresh
    fresh.close()


@contextmanager
def opened(context: BrowserContext, server: LiveServer) -> Iterator[Page]:
    page = context.new_page()
    page.goto(server.url, wait_until="domcontentloaded")
    expect(page.locator("#state")).to_have_text("Within the limit")
    yield page
    page.close()


def until(holds: Callable[[], object], within_s: float = 40.0) -> None:
    """Look until it holds: the page's own policy forbids the evaluation in the page that Playwright would use."""
    stop_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < stop_s, "it did not come to hold"
        time.sleep(0.05)


def test_the_page_shows_its_numbers_without_an_error_or_a_word_to_another_host(
    browser: Browser, server: LiveServer
) -> None:
    complaints: list[str] = []
    asked: list[str] = []
    with profile(browser) as context:
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.url)

        expect(page.locator("#limit")).to_have_text("142.0 kW")
        expect(page.locator("#draw")).to_contain_text("kW")
        expect(page.locator("#charge")).to_have_text("75 %")
        expect(page.locator("#binding")).to_contain_text("Demand-response event")
        expect(page.locator("#limits li")).to_have_count(4)
        expect(page.locator("#limits li.binds")).to_contain_text("Demand response")
        expect(page.locator("#jobs-body tr")).to_have_count(20)
        expect(page.locator("#events li")).to_have_count(4)
        expect(page.locator("#chart .scatterlayer .trace").first).to_be_attached()
    assert complaints == []
    assert asked
    assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []


def test_a_tick_moves_the_numbers_and_appends_to_the_chart(
    charted: Page, server: LiveServer, document: DocumentOf
) -> None:
    view = document(1)
    server.publish(dataclasses.replace(view, draw_w=101_500.0, headroom_w=40_500.0))
    expect(charted.locator("#draw")).to_have_text("101.5 kW")
    expect(charted.locator("#headroom")).to_have_text("40.50 kW")
    drawn_to = "document.getElementById('chart').data.find((trace) => trace.name === 'Draw').x.at(-1) / 1000"
    local_s = charted.evaluate(f"60 * new Date({START_S * 1000}).getTimezoneOffset()")
    until(lambda: charted.evaluate(drawn_to) == START_S + 1 - local_s)
    points = charted.evaluate("Math.max(...document.getElementById('chart').data.map((trace) => trace.x.length))")
    assert points <= 600 + 1 + 30  # the limit's line goes on through the forecast


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_scrolls_sideways(charted: Page, width: int) -> None:
    charted.set_viewport_size({"width": width, "height": 844})
    until(lambda: charted.evaluate("document.documentElement.scrollWidth") <= width)
    wide = charted.evaluate(
        "[...document.querySelectorAll('main *')].filter((node) => !node.closest('.visually-hidden, #chart'))"
        ".filter((node) => node.getBoundingClientRect().right > innerWidth + 1)"
        ".map((node) => node.outerHTML.slice(0, 80))"
    )
    assert wide == []


def test_the_dark_scheme_is_dark_and_recolours_the_chart(charted: Page) -> None:
    charted.emulate_media(color_scheme="dark")
    shade = charted.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert max(shade) < 60
    ours = "getComputedStyle(document.documentElement).getPropertyValue('--card').trim()"
    until(lambda: charted.evaluate(f"document.getElementById('chart').layout.hoverlabel.bgcolor === {ours}"))


def test_only_a_change_of_state_is_announced(page: Page, server: LiveServer, document: DocumentOf) -> None:
    server.publish(dataclasses.replace(document(1), draw_w=99_900.0))
    expect(page.locator("#draw")).to_have_text("99.90 kW")
    expect(page.locator("#announcer")).to_have_text("")
    server.publish(dataclasses.replace(document(2, "shedding"), state_text="Sheds 12 kW."))
    expect(page.locator("#announcer")).to_have_text("Shedding. Sheds 12 kW.")
    assert page.locator("#announcer").get_attribute("aria-live") == "polite"


def test_a_hostile_name_is_text(page: Page) -> None:
    page.get_by_label("Filter jobs").fill("onerror")
    expect(page.locator("#jobs-body tr")).to_have_count(1)
    expect(page.locator("#jobs-body [data-part=job]")).to_have_text(HOSTILE)
    assert page.locator("#jobs-body img").count() == 0
    assert page.title() != "owned"


def test_a_hostile_series_name_is_text_in_legend_and_chart(
    charted: Page, server: LiveServer, document: DocumentOf
) -> None:
    view = document(1)
    first, *rest = view.history.series
    named = dataclasses.replace(first, name=HOSTILE, cluster=HOSTILE)
    view = dataclasses.replace(view, history=dataclasses.replace(view.history, series=(named, *rest)))
    server.publish(view)
    charted.reload(wait_until="domcontentloaded")
    expect(charted.locator("#legend li").first).to_have_text(HOSTILE)
    charted.locator("#chart .nsewdrag").first.hover()
    expect(charted.locator("#chart .hoverlayer")).to_contain_text("onerror")
    assert charted.locator("#chart img, #legend img").count() == 0
    assert charted.title() != "owned"


def test_the_filter_and_the_sort_work_from_the_keyboard(page: Page) -> None:
    page.get_by_label("Filter jobs").fill("eval")
    header = page.get_by_role("columnheader", name="Power")
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(header).to_have_attribute("aria-sort", "ascending")
    expect(page.locator("#jobs-body [data-part=job]").first).to_have_text("eval-39")
    page.keyboard.press("Enter")
    expect(header).to_have_attribute("aria-sort", "descending")
    expect(page.locator("#jobs-body [data-part=job]").first).to_have_text("eval-7")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_the_chart_is_told_in_words(page: Page) -> None:
    expect(page.locator("#chart-text")).to_contain_text("of 142.0 kW. In the next half hour")
    rows = page.get_by_role("table", name="Power in the last minutes").get_by_role("row")
    assert rows.count() >= 10


def test_without_storage_there_is_no_battery_on_the_page(
    charted: Page, server: LiveServer, document: DocumentOf
) -> None:
    server.publish(document(1, storage=False))
    charted.reload(wait_until="domcontentloaded")
    expect(charted.locator("#storage-card")).to_be_hidden()
    expect(charted.locator("#chart .scatterlayer .trace").first).to_be_attached()
    assert charted.evaluate("document.getElementById('chart').layout.yaxis2 === undefined")


def test_a_read_only_page_has_no_controls(page: Page, server: LiveServer) -> None:
    expect(page.locator("#controls")).to_be_hidden()
    assert page.locator("form").count() == 0
    answer = page.evaluate(
        "fetch('api/controls/reset', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'})"
        ".then((answer) => answer.status)"
    )
    assert answer == 404


def test_the_controls_reach_the_demo_and_show_its_refusals(plain: BrowserContext, document: DocumentOf) -> None:
    asked: list[object] = []

    async def set_limit(limit_w: float) -> None:
        asked.append(limit_w)

    async def start_event(depth_frac: float, duration_s: float, ramp_s: float) -> None:
        asked.append((depth_frac, duration_s, ramp_s))

    async def submit_job(gpus: int, kind: str) -> Refusal | None:
        asked.append((gpus, kind))
        return Refusal("the queue is full", "gpus", "wait for a job to end")

    async def reset() -> None:
        asked.append("reset")

    controls = Controls(set_limit, start_event, submit_job, reset, (60_000.0, 185_000.0), 256)
    with live(document(), controls) as server, opened(plain, server) as page:
        answer = page.locator("#controls-answer")
        expect(page.get_by_label("Limit, kW")).to_have_value("142")
        page.get_by_label("Limit, kW").fill("110")
        page.get_by_role("button", name="Set limit").click()
        expect(answer).to_have_text("The limit is 110.0 kW now.")
        page.get_by_label("Depth, %").fill("30")
        page.get_by_role("button", name="Start event").click()
        expect(answer).to_contain_text("30 % less for 10 min")
        page.get_by_role("button", name="Submit a huge job").click()
        expect(answer).to_have_text("Refused: the queue is full; wait for a job to end.")
        expect(page.get_by_label("GPUs", exact=True)).to_have_attribute("aria-invalid", "true")
        page.get_by_role("button", name="Reset").click()
        expect(answer).to_have_text("Back to the start.")
    assert asked == [110_000.0, (0.3, 600.0, 60.0), (128, "Training"), "reset"]


def test_the_page_says_when_the_news_stops_and_recovers_when_the_server_returns(
    browser: Browser, document: DocumentOf
) -> None:
    with live(document()) as server, profile(browser) as context:
        context.clock.install()
        with opened(context, server) as page:
            server.stop()
            page.clock.fast_forward(13_000)
            expect(page.locator("#silence")).to_contain_text("No news for 1")
            server.start()
            server.publish(dataclasses.replace(document(30), draw_w=88_800.0))
            until(lambda: advanced(page, 500).locator("#silence").is_hidden(), 20)
            until(lambda: advanced(page, 500).locator("#draw").text_content() == "88.80 kW")


def advanced(page: Page, by_ms: int) -> Page:
    page.clock.run_for(by_ms)
    return page


def test_the_document_of_the_page_is_the_document_of_the_api(page: Page, document: DocumentOf) -> None:
    served = page.evaluate("fetch('api/view').then((answer) => answer.json())")
    assert served == json.loads(document().whole_json())
