"""The live page's server: one document, published each tick, to any number of browsers; read-only and on loopback.

Every tick is encoded at most once. A browser that cannot keep up misses ticks and gets the newest, so the server
holds at most one document for it; the sequence number in the stream tells the browser that it missed some.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from wattlease.runtime.job_book import JobBook
from wattlease.runtime.view import SiteView
from wattlease.runtime.web_assets import index_asset, plotly_asset, static_assets
from wattlease.runtime.web_controls import Controls, add_controls
from wattlease.runtime.web_guard import add_security_headers, guard, is_loopback, refusal
from wattlease.runtime.web_jobs import FIELD, job_answer
from wattlease.runtime.web_metrics import gather

HEARTBEAT_S = 5.0
FRESH_S = 15.0  # an older document means that the loop has stopped: not ready
STREAMS_MAX = 64
BODY_MAX_BYTES = 65_536


class Page:
    """The newest document and who waits for the next; `publish` and the server share one event loop."""

    def __init__(self, book: JobBook | None = None) -> None:
        self.view: SiteView | None = None
        self.book = book
        self.sequence = 0
        self._published_s = 0.0
        self._tick = b""
        self._news = asyncio.Event()

    def publish(self, view: SiteView) -> None:
        """Make this the newest document and wake every stream."""
        self.view, self._tick = view, b""
        self.sequence += 1
        self._published_s = time.monotonic()
        news, self._news = self._news, asyncio.Event()
        news.set()

    def age_s(self) -> float:
        """Return the seconds since the last document, infinite before the first."""
        return time.monotonic() - self._published_s if self.sequence else float("inf")

    def tick_json(self) -> bytes:
        """Return the newest tick as the streams send it, encoded at most once."""
        if self.view is not None and not self._tick:
            self._tick = self.view.tick_json()
        return self._tick

    async def newer_than(self, sequence: int) -> bool:
        """Wait for a newer document, at most one heartbeat; say whether there is one."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                while self.sequence <= sequence:
                    await self._news.wait()
        except TimeoutError:
            return False
        return True


PAGE = web.AppKey("page", Page)
STREAMS = web.AppKey("streams", set[asyncio.Task[None]])
REGISTRY = web.AppKey("registry", CollectorRegistry)


def build_app(
    page: Page,
    *,
    controls: Controls | None = None,
    names: Collection[str] = (),
    registry: CollectorRegistry | None = None,
) -> web.Application:
    """Build the application; `names` are the host names beside loopback under which it may be asked.

    A `registry` given here is scraped too, so that a process can show all its metrics in one place.
    """
    app = web.Application(middlewares=[guard(names)], client_max_size=BODY_MAX_BYTES)
    app[PAGE], app[STREAMS] = page, set()
    app[REGISTRY] = gather(lambda: page.view, registry)
    index = index_asset(controls.ranges() if controls else None)

    async def show_page(request: web.Request) -> web.Response:
        return index.answer(request)

    app.router.add_get("/", show_page)
    app.router.add_get("/api/view", show_view)
    app.router.add_get("/api/stream", stream)
    app.router.add_get("/api/job", show_job)
    app.router.add_get("/healthz", show_health)
    app.router.add_get("/readyz", show_readiness)
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/static/plotly.min.js", show_plotly)
    app.router.add_get("/static/{name}", show_static)
    if controls is not None:
        add_controls(app, controls)
    app.on_response_prepare.append(add_security_headers)
    app.on_shutdown.append(_end_streams)
    return app


async def show_view(request: web.Request) -> web.Response:
    """Answer with the whole document, or with 204 before the first."""
    view = request.app[PAGE].view
    if view is None:
        return web.Response(status=204)
    headers = {"Cache-Control": "no-store"}
    response = web.Response(body=view.whole_json(), content_type="application/json", headers=headers)
    response.enable_compression()
    return response


async def show_job(request: web.Request) -> web.Response:
    """Answer with what is known of one job."""
    page = request.app[PAGE]
    return job_answer(page.book, page.view, request.query.get(FIELD, ""))


async def stream(request: web.Request) -> web.StreamResponse:
    """Send each tick as a server-sent event, and a comment when it is quiet, until either side goes."""
    page, streams = request.app[PAGE], request.app[STREAMS]
    if len(streams) >= STREAMS_MAX:
        return refusal(503, f"{STREAMS_MAX} pages are open already", "stream", "close one")
    task = asyncio.current_task()
    assert task is not None
    streams.add(task)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    try:
        await response.prepare(request)
        await response.write(b"retry: 1000\n\n")
        await _send_ticks(page, response)
    except ConnectionResetError:
        pass  # the browser went away: nothing is lost
    finally:
        streams.discard(task)
    return response


async def _send_ticks(page: Page, response: web.StreamResponse) -> None:
    sent = 0
    while True:
        if await page.newer_than(sent):
            sent = page.sequence
            await response.write(b"id: %d\nevent: tick\ndata: %b\n\n" % (sent, page.tick_json()))
        else:
            await response.write(b": quiet\n\n")


async def show_health(_request: web.Request) -> web.Response:
    """Answer that the process serves."""
    return web.Response(text="ok\n")


async def show_readiness(request: web.Request) -> web.Response:
    """Answer whether a fresh document is there to be shown."""
    age_s = request.app[PAGE].age_s()
    if age_s <= FRESH_S:
        return web.Response(text="ready\n")
    last = "no tick yet" if age_s == float("inf") else f"the last tick is {age_s:.0f} s old"
    return web.Response(status=503, text=f"not ready: {last}\n")


async def show_metrics(request: web.Request) -> web.Response:
    """Answer a scrape."""
    return web.Response(body=generate_latest(request.app[REGISTRY]), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def show_plotly(request: web.Request) -> web.Response:
    """Answer with the chart library; packing it the first time happens beside the loop."""
    return (await asyncio.to_thread(plotly_asset)).answer(request)


async def show_static(request: web.Request) -> web.Response:
    """Answer with a file of the page."""
    asset = static_assets().get(request.match_info["name"])
    return asset.answer(request) if asset else web.Response(status=404, text="no such file\n")


@asynccontextmanager
async def serving(
    page: Page,
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    controls: Controls | None = None,
    names: Collection[str] = (),
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[str]:
    """Serve the page while the block runs; the value is its address. Port 0 takes any free port.

    Raises ValueError for controls that others could reach, OSError where the port is taken.
    """
    if controls is not None and not is_loopback(host):
        raise ValueError(f"controls are for the demo on this machine, not for {host}: serve on 127.0.0.1")
    app = build_app(page, controls=controls, names=names, registry=registry)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await _listen(runner, host, port)
        bound_host, bound_port = runner.addresses[0][:2]
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        yield f"http://{shown}:{bound_port}"
    finally:
        await runner.cleanup()


async def serve(
    page: Page,
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    controls: Controls | None = None,
    names: Collection[str] = (),
    registry: CollectorRegistry | None = None,
) -> None:
    """Serve the page until cancelled; open streams end at once. Raises as `serving`."""
    async with serving(page, host, port, controls=controls, names=names, registry=registry):
        await asyncio.Event().wait()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as trouble:
        if trouble.errno != errno.EADDRINUSE:
            raise
        fix = "stop what listens there or choose another port"
        raise OSError(errno.EADDRINUSE, f"port {port} on {host} is taken: {fix}") from trouble


async def _end_streams(app: web.Application) -> None:
    streams = app[STREAMS]
    for task in tuple(streams):
        task.cancel()
