"""A board controller that answers over real HTTP and TLS: slow, shut, locked, implausible, or leading elsewhere."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from wattlease.agent.cards import Trouble
from wattlease.agent.node_power import NodePower
from wattlease.agent.node_power.redfish import Redfish
from wattlease.agent.node_power.redfish_settings import RedfishSettings

CHASSIS: dict[str, dict[str, Any]] = {
    "Self": {"Power": {"PowerControl": [{"PowerConsumedWatts": 6120}, {"PowerConsumedWatts": 480.5}]}},
    "HGX_Chassis_0": {"EnvironmentMetrics": {"PowerWatts": {"Reading": 4890.25}}},
    "Fans": {},
}


@dataclass
class Controller:
    """What the controller is set to do, and what was asked of it."""

    chassis: dict[str, dict[str, Any]] = field(default_factory=lambda: {k: dict(v) for k, v in CHASSIS.items()})
    password: str = "calvin"
    delay_s: float = 0.0
    token: str = ""
    logins: int = 0
    gets: list[str] = field(default_factory=list)
    open_sessions: int = 0

    async def log_in(self, request: web.Request) -> web.Response:
        self.logins += 1
        if (await request.json()) != {"UserName": "reader", "Password": self.password}:
            return web.json_response({"error": {}}, status=401)
        self.token, self.open_sessions = f"token-{self.logins}", self.open_sessions + 1
        place = f"/redfish/v1/SessionService/Sessions/{self.logins}"
        return web.json_response({}, status=201, headers={"X-Auth-Token": self.token, "Location": place})

    async def log_out(self, request: web.Request) -> web.Response:
        self.open_sessions -= request.headers.get("X-Auth-Token") == self.token
        return web.Response(status=204)

    async def page(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.delay_s)
        if not self.token or request.headers.get("X-Auth-Token") != self.token:
            return web.json_response({}, status=401)
        self.gets.append(request.path)
        return self._page([part for part in request.path.split("/")[4:] if part])

    def _page(self, parts: list[str]) -> web.Response:
        root = "/redfish/v1/Chassis"
        match parts:
            case []:
                return web.json_response({"Members": [{"@odata.id": f"{root}/{name}"} for name in self.chassis]})
            case [name]:
                links = {kind: {"@odata.id": f"{root}/{name}/{kind}"} for kind in self.chassis[name]}
                return web.json_response({"Id": name, **links})
            case [name, kind] if kind in self.chassis.get(name, {}):
                return web.json_response(self.chassis[name][kind])
        return web.json_response({}, status=404)


@asynccontextmanager
async def served(controller: Controller, trust: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/redfish/v1/SessionService/Sessions", controller.log_in)
    app.router.add_delete("/redfish/v1/SessionService/Sessions/{id}", controller.log_out)
    app.router.add_get("/redfish/v1/{tail:.*}", controller.page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=trust)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"{'https' if trust else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


Settings = Callable[..., RedfishSettings]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    secret = tmp_path / "bmc"
    secret.write_text("reader\ncalvin\n")
    secret.chmod(0o600)
    return lambda url, **other: RedfishSettings(
        **{"url": url, "credentials_file": secret, "timeout_seconds": 1.0, **other}
    )


class Clock:
    """Seconds that a test turns on."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def power_w(found: NodePower | Trouble) -> float:
    assert isinstance(found, NodePower), found
    return found.power_w


def text(found: NodePower | Trouble) -> str:
    assert isinstance(found, Trouble), found
    return found.text


async def test_the_nodes_power_is_the_largest_of_all_chassis_and_then_one_page_is_asked(settings: Settings) -> None:
    controller, clock = Controller(), Clock()
    async with served(controller) as url:
        bmc = Redfish(settings(url), clock)
        assert power_w(await bmc.poll()) == 6120.0
        controller.gets.clear()
        controller.chassis["Self"]["Power"] = {"PowerControl": [{"PowerConsumedWatts": 5000}]}
        clock.now_s += 10.0
        assert power_w(await bmc.poll()) == 5000.0
        assert controller.gets == ["/redfish/v1/Chassis/Self/Power"]
        assert controller.logins == 1
        await bmc.close()
    assert controller.open_sessions == 0


async def test_a_named_chassis_and_the_newer_metrics_are_read(settings: Settings) -> None:
    async with served(Controller()) as url:
        bmc = Redfish(settings(url, chassis="HGX_Chassis_0"))
        assert power_w(await bmc.poll()) == 4890.25
        await bmc.close()
        other = Redfish(settings(url, chassis="Nowhere"))
        assert "there: Self, HGX_Chassis_0, Fans" in text(await other.poll())
        await other.close()


async def test_it_is_asked_no_more_often_than_allowed_and_a_reading_ages_until_it_is_stale(settings: Settings) -> None:
    controller, clock = Controller(), Clock()
    async with served(controller) as url:
        bmc = Redfish(settings(url, stale_seconds=25.0), clock)
        await bmc.poll()
        asked = len(controller.gets)
        clock.now_s += 9.0
        found = await bmc.poll()
        assert isinstance(found, NodePower)
        assert found.age_s == 9.0
        assert len(controller.gets) == asked
        await bmc.close()
    clock.now_s += 10.0
    down = await bmc.poll()
    assert isinstance(down, NodePower)
    assert down.age_s == 19.0
    clock.now_s += 10.0
    assert "Cannot connect" in text(bmc.latest())
    await bmc.close()


async def test_a_controller_that_is_down_is_asked_less_and_less(settings: Settings) -> None:
    clock = Clock()
    async with served(Controller()) as url:
        pass
    bmc, waits_s = Redfish(settings(url), clock), []
    for _ in range(7):
        assert isinstance(await bmc.poll(), Trouble)
        waits_s.append(bmc._next_s - clock.now_s)
        clock.now_s = bmc._next_s
    await bmc.close()
    assert waits_s == [20.0, 40.0, 80.0, 160.0, 320.0, 320.0, 320.0]


async def test_one_that_hangs_is_not_waited_for(settings: Settings) -> None:
    controller = Controller(delay_s=1.0)
    async with served(controller) as url:
        bmc = Redfish(settings(url, timeout_seconds=0.2))
        assert "within 0.2 s" in text(await asyncio.wait_for(bmc.poll(), 2.0))
        await bmc.close()


async def test_a_wrong_password_is_tried_once_and_not_again_for_minutes(settings: Settings) -> None:
    controller, clock = Controller(password="changed"), Clock()
    async with served(controller) as url:
        bmc = Redfish(settings(url), clock)
        for _ in range(10):
            assert "refuses the account" in text(await bmc.poll())
            clock.now_s += 25.0
        assert controller.logins == 1
        controller.password = "calvin"
        clock.now_s += 400.0
        assert power_w(await bmc.poll()) == 6120.0
        await bmc.close()


async def test_a_session_that_has_run_out_is_opened_anew(settings: Settings) -> None:
    controller, clock = Controller(), Clock()
    async with served(controller) as url:
        bmc = Redfish(settings(url), clock)
        await bmc.poll()
        controller.token = "another's"
        clock.now_s += 10.0
        assert power_w(await bmc.poll()) == 6120.0
        assert controller.logins == 2
        await bmc.close()


@pytest.mark.parametrize("told", [0, -5, 9e9, None, "612", True, [], {"Reading": 5}])
async def test_what_cannot_be_a_nodes_power_is_none(settings: Settings, told: object) -> None:
    controller = Controller(chassis={"Self": {"Power": {"PowerControl": [{"PowerConsumedWatts": told}]}}})
    async with served(controller) as url:
        bmc = Redfish(settings(url))
        assert isinstance(await bmc.poll(), Trouble)
        await bmc.close()


async def test_links_that_lead_to_another_host_are_not_followed(settings: Settings) -> None:
    elsewhere = Controller(token="token-1")
    async with served(elsewhere) as other:

        class Leading(Controller):
            async def page(self, request: web.Request) -> web.Response:
                if request.path.endswith("Chassis"):
                    away = [f"{other}/redfish/v1/x", "//127.0.0.1/redfish/v1/x", "/redfish/v1/Chassis/moved"]
                    return web.json_response({"Members": [{"@odata.id": link} for link in away]})
                raise web.HTTPFound(f"{other}/redfish/v1/Chassis/Self/Power")

        async with served(Leading()) as url:
            bmc = Redfish(settings(url))
            assert "answered 302" in text(await bmc.poll())
            await bmc.close()
    assert elsewhere.gets == []


async def test_a_flood_is_cut_off(settings: Settings) -> None:
    controller = Controller(chassis={"Self": {"Power": {"Oem": "x" * (2 << 20), "PowerControl": []}}})
    async with served(controller) as url:
        bmc = Redfish(settings(url))
        assert "more than" in text(await bmc.poll())
        await bmc.close()


async def test_the_task_reads_by_itself_and_logs_out_when_it_is_cancelled(settings: Settings) -> None:
    controller = Controller()
    async with served(controller) as url:
        bmc = Redfish(settings(url, every_seconds=0.1))
        task = asyncio.create_task(bmc.run())
        for _ in range(50):
            await asyncio.sleep(0.05)
            if len(controller.gets) > 8:
                break
        assert power_w(bmc.latest()) == 6120.0
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert (controller.logins, controller.open_sessions) == (1, 0)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
async def test_a_password_that_others_may_read_is_refused(settings: Settings, mode: int) -> None:
    controller = Controller()
    async with served(controller) as url:
        asked = settings(url)
        asked.credentials_file.chmod(mode)
        bmc = Redfish(asked)
        assert "chmod 600" in text(await bmc.poll())
        await bmc.close()
    assert controller.logins == 0


@pytest.mark.parametrize("content", ["", "reader", "reader\n", "a\nb\nc\n", "\ncalvin\n"])
async def test_a_file_without_user_and_password_is_told(settings: Settings, content: str) -> None:
    asked = settings("http://127.0.0.1:9")
    asked.credentials_file.write_text(content)
    bmc = Redfish(asked)
    assert "a line each" in text(await bmc.poll())
    await bmc.close()


@pytest.mark.parametrize("url", ["http://10.0.0.7", "bmc.example", "https://", "ftp://127.0.0.1"])
def test_an_address_to_which_no_password_may_go_is_refused(settings: Settings, url: str) -> None:
    with pytest.raises(ValidationError, match="write https://"):
        settings(url)


def certificate(folder: Path, name: x509.GeneralName) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate, as controllers have it, and a server that shows it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bmc")])
    made = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, secret = folder / "bmc.crt", folder / "bmc.key"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(path, secret)
    return path, shown


Case = tuple[dict[str, Any], bool]


@pytest.mark.parametrize(
    ("name", "trust", "read"),
    [
        ("127.0.0.1", {"ca": True}, True),
        ("127.0.0.1", {"ca": False}, False),
        ("10.0.0.7", {"ca": True}, False),
        ("10.0.0.7", {"ca": True, "check_name": False}, True),
        ("10.0.0.7", {"ca": False, "check_name": False}, False),
        ("10.0.0.7", {"ca": False, "verify": False}, True),
    ],
)
async def test_the_password_goes_only_to_whom_the_settings_trust(
    settings: Settings, tmp_path: Path, name: str, trust: dict[str, bool], read: bool
) -> None:
    ca_file, shown = certificate(tmp_path, x509.IPAddress(ip_address(name)))
    controller, asked = Controller(), dict(trust)
    known: dict[str, Any] = {"ca_file": ca_file} if asked.pop("ca") else {}
    async with served(controller, shown) as url:
        bmc = Redfish(settings(url, **known, **asked))
        found: Awaitable[NodePower | Trouble] = bmc.poll()
        assert isinstance(await found, NodePower) == read
        assert (controller.logins > 0) == read
        await bmc.close()


def test_settings_are_written_in_camel_case_as_all_others() -> None:
    written = {"url": "https://10.0.0.7/", "credentialsFile": "bmc", "checkName": False, "everySeconds": 20}
    read = RedfishSettings.model_validate(written)
    assert (read.url, read.check_name, read.every_seconds) == ("https://10.0.0.7", False, 20.0)
