"""The controller's loop with a real feed meter and a real battery around it, both SunSpec on loopback."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from ports import free_port

pytest.importorskip("pymodbus", reason="pymodbus is not installed: pip install wattlease[facility]")
sys.path.insert(0, str(Path(__file__).parent))  # the hall stands in a module beside the tests

from facility_plant import REVERSION_S, Hall, open_hall
from leased_nodes import FLOOR_W, PER_IT_FRAC, SECRET_BYTES, client_of, leading, until

from wattlease.core import overhead, storing
from wattlease.facility.keeping import Keeping, Remembered
from wattlease.facility.meters import judging
from wattlease.facility.prices.month import MonthPeak
from wattlease.runtime.controller.controller import Controller
from wattlease.runtime.controller.surroundings import ENTRY_POINTS
from wattlease.runtime.view import SiteView

ALL_W = 2 * 4 * 390.0
"""What the cards draw when nothing is held back."""

LIMIT_W = 4000
"""Below the 4332 W that all of it takes, with overhead and cooling."""

LOW_W = 3600
"""So low that a battery near its reserve does not carry the rest."""


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    async with open_hall(tmp_path) as opened:
        yield opened


@pytest.fixture
def taught_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Overhead is learned within seconds in place of a minute; nobody configured the cooling."""
    monkeypatch.setattr(overhead, "OVERHEAD_TAU_S", 1.0)


def view(control: Controller) -> SiteView:
    assert control.page.view is not None
    return control.page.view


def state(control: Controller) -> str:
    return control.page.view.state if control.page.view else ""


@pytest.mark.usefixtures("taught_soon")
async def test_the_meter_teaches_the_overhead_that_nobody_configured(hall: Hall) -> None:
    control, _ = hall.controlled(hall.settings(hall.spec(5000, with_battery=False)))
    async with leading(control, *hall.nodes):
        configured_w = ALL_W + 2 * 360.0
        await until(lambda: hall.cards_w > 0.99 * ALL_W)
        await until(lambda: abs((view(control).draw_w or 0.0) - hall.feed_w) < 60.0)
        assert hall.feed_w > configured_w + 400.0


def kept_overhead(hall: Hall, it_w: float, off_w: float = 0.0) -> None:
    """A controller before this one has learned the overhead of so much IT: the nodes' own and the cooling."""
    watts = 2 * FLOOR_W + PER_IT_FRAC * it_w + hall.cooling_w + off_w
    row = {"overhead_w": watts, "it_at_w": it_w, "it_mean_w": it_w, "it_var": 100.0, "overhead_mean_w": watts}
    kept = {"history": {}, "debts": {}, "overheads": {"hall": {**row, "overhead_cov": 10.0, "looks": 60.0}}}
    (hall.folder / "learned.json").write_bytes(orjson.dumps(kept))


async def highest_within(hall: Hall, seconds: float) -> float:
    """The most that the feed would have drawn if all cards had gone to their limits."""
    highest_w, end_s = 0.0, time.monotonic() + seconds
    while time.monotonic() < end_s:
        highest_w = max(highest_w, hall.may_w - hall.battery.power_w)
        await asyncio.sleep(0.05)
    return highest_w


async def test_a_controller_that_begins_keeps_free_for_the_cooling_what_the_one_before_had_learned(hall: Hall) -> None:
    """Its nodes are never granted what the limit leaves beside what is configured."""
    kept_overhead(hall, 2900.0)
    control, _ = hall.controlled(hall.settings(hall.spec(LIMIT_W, with_battery=False)))
    async with leading(control, *hall.nodes):
        assert 0.95 * LIMIT_W < await highest_within(hall, 5.0) <= LIMIT_W


async def test_what_a_battery_is_to_give_is_lent_as_it_comes_and_the_margin_is_kept_meanwhile(hall: Hall) -> None:
    """Overhead is learned to less than the margin, and the converter takes seconds to come."""
    kept_overhead(hall, 2750.0, off_w=-0.007 * LOW_W)
    hall.battery.soc_frac, hall.battery.ramp_w_per_s = 0.22, 20.0
    control, _ = hall.controlled(hall.settings(hall.spec(LOW_W)))
    async with leading(control, *hall.nodes):
        assert 0.95 * LOW_W < await highest_within(hall, 14.0) <= LOW_W
        await until(lambda: hall.battery_w > 200.0 and hall.load_w > 0.97 * (LOW_W + hall.battery_w))


@pytest.mark.usefixtures("taught_soon")
async def test_the_battery_gives_before_jobs_do_and_fades_before_its_reserve(hall: Hall) -> None:
    control, _ = hall.controlled(hall.settings(hall.spec(LIMIT_W)))
    async with leading(control, *hall.nodes):
        await until(lambda: hall.battery_w > 300.0 and hall.feed_w <= LIMIT_W and hall.cards_w > 0.99 * ALL_W)
        hall.battery.soc_frac = 0.22
        await until(lambda: hall.battery_w < 300.0 and hall.feed_w <= LIMIT_W)
        assert hall.battery_w > 100.0, "there is charge above the reserve"
        assert hall.cards_w < 0.99 * ALL_W
        hall.battery.soc_frac = 0.2
        await until(lambda: hall.battery_w == 0.0 and hall.feed_w <= LIMIT_W)
        assert hall.cards_w < 0.92 * ALL_W


@pytest.mark.parametrize("paid_w", [0.0, 9000.0])
async def test_a_peak_is_shaved_unless_the_month_has_paid_for_it_already(
    hall: Hall, paid_w: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "REPLAN_S", 1.0)
    month = MonthPeak(f"{datetime.now(UTC):%Y-%m}", paid_w, 3.0)
    Keeping(hall.folder / "facility" / "kept.json").save(Remembered(peaks={"hall": month}))
    charge = {"targetWatts": 9000, "pricePerKilowatt": 15}
    control, _ = hall.controlled(hall.settings(hall.spec(9000, demandCharge=charge)))
    async with leading(control, *hall.nodes):
        await until(lambda: hall.cards_w > 0.99 * ALL_W and bool(hall.battery.writes))
        if not paid_w:
            await until(lambda: hall.battery_w > 100.0)
        for _ in range(40 if paid_w else 0):
            assert hall.battery_w <= 0.0
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("taught_soon")
@pytest.mark.parametrize("how", ["freezes", "dies"])
async def test_when_the_meter_fails_nothing_rises(hall: Hall, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "FROZEN_S", 3.0)
    at_once: dict[str, Any] = {"with_battery": False, "stale_s": 3, "ramp": {"releasePercentPerMinute": 100}}
    control, _ = hall.controlled(hall.settings(hall.spec(LIMIT_W, **at_once)))
    async with leading(control, *hall.nodes):
        await until(lambda: state(control) != "blind" and 0.9 * LIMIT_W < hall.feed_w <= LIMIT_W, 20.0)
        hall.meter.frozen, hall.meter.deaf = how == "freezes", how == "dies"
        hall.nodes[1].wants_w = 150.0  # a meter that lives would show it
        await until(lambda: state(control) == "blind")
        control.change(hall.settings(hall.spec(5000, **at_once)))
        hall.nodes[1].wants_w = 390.0
        for look in range(80):
            waking = look < 40  # work that wakes is cut back within a tick or two
            assert hall.feed_w <= (1.05 if waking else 1.01) * LIMIT_W
            await asyncio.sleep(0.05)
        assert view(control).limit_w == 5000.0
        assert state(control) == "blind"


@pytest.mark.usefixtures("taught_soon")
async def test_an_event_by_a_call_lowers_the_limit_at_its_start(hall: Hall, tmp_path: Path) -> None:
    token, port = tmp_path / "token", free_port()
    token.write_text("a-token-of-some-length")
    token.chmod(0o600)
    calls = {"http": {"port": port, "tokenFile": str(token)}}
    control, around = hall.controlled(hall.settings(hall.spec(5000, with_battery=False, gridEvents=calls)))
    async with leading(control, *hall.nodes), aiohttp.ClientSession() as web:
        await until(lambda: around.standing().events["hall"][0].trouble == "")
        await until(lambda: hall.cards_w > 0.99 * ALL_W)
        start_s = time.time() + 3.0
        start, end = (datetime.fromtimestamp(at_s, UTC).isoformat() for at_s in (start_s, start_s + 3600.0))
        event = {"name": "evening", "start": start, "end": end, "limitWatts": 3600}
        headers = {"Authorization": "Bearer a-token-of-some-length"}
        async with web.post(f"http://127.0.0.1:{port}/v1/events", json=event, headers=headers) as answer:
            assert answer.status == 201
        while time.time() < start_s - 0.2:
            assert view(control).limit_w == 5000.0
            await asyncio.sleep(0.05)
        await until(lambda: view(control).limit_w == 3600.0, 3.0)
        assert "evening" in view(control).binding
        await until(lambda: hall.feed_w <= 3600.0)


async def test_a_controller_that_is_killed_leaves_the_battery_idle_and_grants_run_out(hall: Hall) -> None:
    if not entry_points(group=ENTRY_POINTS):
        pytest.skip("the facility is not registered here: install this checkout again")
    async with killable(hall) as (controller, address):
        clients = [asyncio.create_task(client_of(node, address).run()) for node in hall.nodes]
        try:
            await until(lambda: hall.battery_w > 200.0 and hall.cards_w > 0.95 * ALL_W, 25.0)
            controller.send_signal(signal.SIGKILL)
            await until(lambda: hall.battery_w == 0.0, REVERSION_S + 2.0)  # its own timer ends what was ordered
            assert all(node.caps_w == [100.0] * 4 for node in hall.nodes), "grants have run out before that"
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)


@asynccontextmanager
async def killable(hall: Hall) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A controller in a process of its own, and where it grants."""
    secret, file = hall.folder / "secret", hall.folder / "controller.yaml"
    secret.write_bytes(SECRET_BYTES)
    listen = {"port": 0, "secretFile": str(secret)}
    settings = hall.settings(hall.spec(LIMIT_W), listen=listen, page={"port": 0})
    file.write_bytes(orjson.dumps(settings.model_dump(mode="json", by_alias=True, exclude_unset=True)))
    program = (str(Path(sys.executable).with_name("wattlease")), "controller", "--config", str(file))
    controller = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    try:
        assert controller.stdout is not None
        told = (await controller.stdout.readline()).decode()
        yield controller, told.removeprefix("leases at ").partition(",")[0]
    finally:
        if controller.returncode is None:
            controller.kill()
        await controller.wait()
