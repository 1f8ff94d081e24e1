"""Meters that ask for an account, over TLS with an authority of the site's own."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from aiohttp import web
from one_meter import read

from wattlease.core.api import Meter
from wattlease.facility.meters.reading import Measured, Trouble
from wattlease.runtime import pki

PAGE = "/redfish/v1/Sensors/Power"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority with a certificate for loopback, another authority, and an account in files."""
    folder = tmp_path_factory.mktemp("site")
    pki.found(folder / "ours")
    pki.issue_grantor(folder / "ours", "device", 30.0, ["127.0.0.1"])
    pki.found(folder / "theirs")
    for name, text in (("user", "reader\n"), ("password", "calvin\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return folder


def pair(site: Path) -> tuple[Path, Path]:
    [certificate] = (site / "ours").rglob("device.crt")
    return certificate, certificate.with_suffix(".key")


async def test_a_redfish_device_is_believed_only_if_our_authority_vouches_for_it(site: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"Reading": 5120.5, "ReadingUnits": "W"})

    app = web.Application()
    app.router.add_get(PAGE, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(*pair(site))
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=trust).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"

    def meter(**reach: Any) -> Meter:
        return Meter.model_validate({"name": "p", "kind": "Redfish", "redfish": {"url": url, "path": PAGE} | reach})

    known = await read(meter(caFile=str(site / "ours" / "ca.crt")))
    strange = await read(meter(caFile=str(site / "theirs" / "ca.crt")))
    unread = await read(meter(caFile=str(site / "nowhere.crt")))
    await runner.cleanup()
    assert isinstance(known, Measured)
    assert isinstance(strange, Trouble)
    assert "caFile" in strange.fix
    assert isinstance(unread, Trouble)


async def test_a_broker_with_tls_and_an_account_is_read(site: Path, broker: Any) -> None:
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed (Debian: apt install mosquitto), so no account can be made")
    broker.stop()
    certificate, key = pair(site)
    passwords = broker.folder / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "reader", "calvin"], check=True)
    for source, name in ((certificate, "crt"), (key, "key"), (site / "ours" / "ca.crt", "ca")):
        shutil.copy(source, broker.folder / name)
    who = "user root\n" if passwords.owner() == "root" else ""  # it would become a user that cannot read these files
    (broker.folder / "mosquitto.conf").write_text(
        f"{who}listener {broker.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\npersistence false\n"
        f"certfile {broker.folder}/crt\nkeyfile {broker.folder}/key\ncafile {broker.folder}/ca\n"
    )
    broker.start()
    broker.wait_for_tcp()
    account = {"userFile": str(site / "user"), "passwordFile": str(site / "password")}
    secure = {"tls": True, "caFile": str(site / "ours" / "ca.crt")}
    reach = {"host": "127.0.0.1", "port": broker.port, "topic": "feed", "timeField": "at", "field": "w"} | secure
    trust = ssl.create_default_context(cafile=str(site / "ours" / "ca.crt"))
    async with aiomqtt.Client(
        "127.0.0.1", broker.port, username="reader", password="calvin", tls_context=trust
    ) as source:
        await source.publish("feed", f'{{"w": 8200, "at": {time.time()}}}', qos=1, retain=True)
    known = await read(Meter.model_validate({"name": "f", "kind": "Mqtt", "mqtt": reach | account}))
    stranger = await read(Meter.model_validate({"name": "f", "kind": "Mqtt", "mqtt": reach}))
    assert isinstance(known, Measured), known
    assert known.power_w == 8200.0
    assert isinstance(stranger, Trouble)
    assert "account" in stranger.fix
