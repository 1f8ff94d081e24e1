"""Prometheus itself, scraping a small exporter; its own word on how old a sample is."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from one_meter import read
from ports import free_port

from wattlease.core.api import Meter
from wattlease.facility.meters.reading import Measured, Trouble


@dataclass
class Exporter:
    """Two PDUs' power now, and a dead device's last value with its time, as exporters of slow devices write it."""

    port: int = 0
    died_s: float = field(default_factory=lambda: time.time() - 5.0)

    async def metrics(self, _: web.Request) -> web.Response:
        live = 'pdu_watts{pdu="a"} 4100.5\npdu_watts{pdu="b"} 4200\n'
        return web.Response(text=f"{live}dead_watts 5000 {int(self.died_s * 1000)}\n")


@pytest.fixture
async def exporter() -> AsyncIterator[Exporter]:
    one = Exporter()
    app = web.Application()
    app.router.add_get("/metrics", one.metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.port = runner.addresses[0][1]
    yield one
    await runner.cleanup()


@pytest.fixture
async def prometheus(exporter: Exporter, tmp_path: Path) -> AsyncIterator[str]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian: apt install prometheus), so there is none to query")
    port = free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: pdu, static_configs: [{{targets: ['127.0.0.1:{exporter.port}']}}]}}]\n"
    )
    options = (
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'db'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (tmp_path / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(program, *options, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


def prometheus_meter(url: str, query: str, **reach: Any) -> Meter:
    wanted = {"url": url, "query": query} | reach
    return Meter.model_validate({"name": "site", "kind": "Prometheus", "timeoutSeconds": 2, "prometheus": wanted})


async def scraped(url: str) -> None:
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        if isinstance(await read(prometheus_meter(url, 'pdu_watts{pdu="a"}')), Measured):
            return
        await asyncio.sleep(0.3)
    pytest.fail("prometheus scraped nothing within 30 s")


async def test_prometheus_is_read_with_the_age_of_the_sample_itself(prometheus: str) -> None:
    await scraped(prometheus)
    plain = await read(prometheus_meter(prometheus, 'pdu_watts{pdu="a"}'))
    summed = await read(prometheus_meter(prometheus, "sum(pdu_watts)", ageQuery="min(timestamp(pdu_watts))"))
    assert isinstance(plain, Measured)
    assert isinstance(summed, Measured)
    assert (plain.power_w, summed.power_w) == (4100.5, 8300.5)
    assert plain.age_s < 3.0

    several = await read(prometheus_meter(prometheus, "pdu_watts"))
    none = await read(prometheus_meter(prometheus, "pdu_wats"))
    wrong = await read(prometheus_meter(prometheus, "sum(("))
    assert isinstance(several, Trouble)
    assert isinstance(none, Trouble)
    assert isinstance(wrong, Trouble)
    assert ("2 series" in several.text, "0 series" in none.text) == (True, True)
    assert "parse error" in wrong.text

    old = await read(prometheus_meter(prometheus, "dead_watts"))
    hidden = await read(prometheus_meter(prometheus, "sum(dead_watts)"))
    told = await read(prometheus_meter(prometheus, "sum(dead_watts)", ageQuery="min(timestamp(dead_watts))"))
    assert isinstance(old, Measured)
    assert isinstance(hidden, Measured)
    assert isinstance(told, Measured)
    assert 5.0 <= old.age_s <= told.age_s < 60.0
    assert hidden.age_s < 1.0  # what ageQuery is for


async def test_what_is_no_prometheus_is_trouble(exporter: Exporter) -> None:
    found = await read(prometheus_meter(f"http://127.0.0.1:{exporter.port}", "pdu_watts"))
    assert isinstance(found, Trouble)
    assert "answers 404" in found.text
    nobody = await read(prometheus_meter("http://127.0.0.1:9", "pdu_watts"))
    assert isinstance(nobody, Trouble)
