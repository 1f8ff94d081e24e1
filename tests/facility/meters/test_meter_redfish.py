"""Rack PDUs over Redfish: a service with the standard's documents, over HTTP on loopback."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from wattlease.core.api import Meter
from wattlease.facility.meters.drivers import driver_of, look
from wattlease.facility.meters.modbus_line import Lines
from wattlease.facility.meters.reading import Measured, Trouble

ROOT = "/redfish/v1/PowerEquipment/RackPDUs"


def link(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def rack_pdu() -> dict[str, Any]:
    """A PDU with metrics and two mains, as DSP2046 shows them."""
    mains = {f"{ROOT}/1/Mains/AC{n}": {"PowerWatts": {"Reading": 2000.5 + n}} for n in (1, 2)}
    return {
        ROOT: {"Members": [link(f"{ROOT}/1")]},
        f"{ROOT}/1": {
            "EquipmentType": "RackPDU",
            "Metrics": link(f"{ROOT}/1/Metrics"),
            "Mains": link(f"{ROOT}/1/Mains"),
        },
        f"{ROOT}/1/Metrics": {"PowerWatts": {"Reading": 6438.0}, "EnergykWh": {"Reading": 325675.0}},
        f"{ROOT}/1/Mains": {"Members": [link(path) for path in mains]},
        **mains,
    }


@dataclass
class Service:
    """What the service has, and how it behaves."""

    pages: dict[str, Any] = field(default_factory=rack_pdu)
    account: str = ""
    delay_s: float = 0.0
    garbage: bytes = b""
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.delay_s)
        self.asked.append(request.path)
        wanted = f"Basic {b64encode(self.account.encode()).decode()}"
        if self.account and request.headers.get("Authorization") != wanted:
            return web.json_response({"error": {"code": "Base.1.0.InsufficientPrivilege"}}, status=401)
        if self.garbage:
            return web.Response(body=self.garbage)
        page = self.pages.get(request.path)
        return web.json_response(page or {"error": {"code": "not found"}}, status=200 if page else 404)


@asynccontextmanager
async def served(service: Service) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", service.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def redfish_meter(url: str, **reach: Any) -> Meter:
    redfish = {"url": url} | reach
    return Meter.model_validate({"name": "pdu", "kind": "Redfish", "timeoutSeconds": 1, "redfish": redfish})


async def read(meter: Meter, times: int = 1) -> list[Measured | Trouble]:
    driver = driver_of(meter, Lines())
    assert driver is not None
    try:
        return [await look(meter, driver) for _ in range(times)]
    finally:
        await driver.close()


async def test_the_only_rack_pdu_is_found_by_itself_and_then_asked_with_one_request() -> None:
    service = Service()
    async with served(service) as url:
        found = await read(redfish_meter(url), times=3)
    last = found[-1]
    assert isinstance(last, Measured)
    assert (last.power_w, last.energy_j) == (6438.0, 325675.0 * 3.6e6)
    assert service.asked[-2:] == [f"{ROOT}/1/Metrics"] * 2


async def test_a_pdu_that_tells_only_its_mains_is_their_sum() -> None:
    service = Service()
    del service.pages[f"{ROOT}/1"]["Metrics"]
    async with served(service) as url:
        [found] = await read(redfish_meter(url))
    assert isinstance(found, Measured)
    assert found.power_w == 4004.0


async def test_a_sensor_may_be_named_itself() -> None:
    path = "/redfish/v1/Chassis/Rack/Sensors/Power"
    service = Service({path: {"Reading": 5120.5, "ReadingUnits": "W"}})
    async with served(service) as url:
        [found] = await read(redfish_meter(url, path=path))
    assert isinstance(found, Measured)
    assert found.power_w == 5120.5


async def test_several_pdus_are_listed_for_a_choice() -> None:
    service = Service({ROOT: {"Members": [link(f"{ROOT}/A"), link(f"{ROOT}/B")]}})
    async with served(service) as url:
        [found] = await read(redfish_meter(url))
    assert isinstance(found, Trouble)
    assert f"{ROOT}/A, {ROOT}/B" in found.fix


async def test_a_link_that_leads_elsewhere_is_not_followed() -> None:
    service = Service()
    service.pages[f"{ROOT}/1"] = {"Metrics": link("http://127.0.0.1:9/redfish/v1/stolen")}
    async with served(service) as url:
        [found] = await read(redfish_meter(url))
    assert isinstance(found, Trouble)
    assert "tells no power" in found.text


async def test_a_refused_account_is_left_alone_for_minutes(tmp_path: Path) -> None:
    for name, text in (("user", "reader"), ("password", "wrong")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    files = {"userFile": str(tmp_path / "user"), "passwordFile": str(tmp_path / "password")}
    async with served(Service(account="reader:calvin")) as url:
        [refused] = await read(redfish_meter(url, **files))
        (tmp_path / "password").write_text("calvin\n")
        [believed] = await read(redfish_meter(url, **files))
    assert isinstance(refused, Trouble)
    assert (refused.wait_s, "refuses the account" in refused.text) == (300.0, True)
    assert isinstance(believed, Measured)


async def test_garbage_a_slow_answer_and_a_null_are_trouble_and_never_a_number() -> None:
    silent = Service()
    silent.pages[f"{ROOT}/1/Metrics"]["PowerWatts"]["Reading"] = None
    del silent.pages[f"{ROOT}/1"]["Mains"]
    for service, told in (
        (Service(garbage=b"<html>Login</html>"), "no JSON"),
        (Service(garbage=b'{"Members": "many"}'), "0 rack PDUs"),
        (Service(delay_s=1.5), "no answer within 1 s"),
        (silent, "tells no power"),
    ):
        async with served(service) as url:
            [found] = await read(redfish_meter(url))
        assert isinstance(found, Trouble)
        assert told in found.text
