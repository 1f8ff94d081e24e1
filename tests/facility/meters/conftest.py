"""Devices on loopback that speak the real protocols, and can be told to misbehave."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from wattlease.core.api import PowerBudget

sys.path.insert(0, str(Path(__file__).parent))  # how one meter is asked stands in a module beside the tests

BASE = 40000


@dataclass
class ModbusDevice:
    """Registers from `BASE` on that a test may change while they are read; `fault` is an exception code to give."""

    words: list[int]
    unit: int = 1
    delay_s: float = 0.0
    fault: ExcCodes | None = None
    reads: int = 0
    connections: int = 0

    async def answer(
        self, function: int, start: int, address: int, count: int, registers: list[int], new: object
    ) -> ExcCodes | None:
        self.reads += 1
        await asyncio.sleep(self.delay_s)
        registers[: len(self.words)] = self.words
        return self.fault


@dataclass
class SunSpecDevice(ModbusDevice):
    """A device with a common model and a meter's model 203 in integers, power in units of 10 W."""

    words: list[int] = field(default_factory=lambda: sunspec_words(203))

    def draw(self, power_w: float) -> None:
        """The power that it shows from now on."""
        self.words[METER_AT + 18] = round(power_w / 10) & 0xFFFF


METER_AT = 2 + 4
"""Registers from the mark to the meter's model: the mark, and a short common model."""


def sunspec_words(model: int, power: int = 820) -> list[int]:
    """A map with model 1 (shortened) and a meter: W times 10, PF 97.5 percent, 12.5 MWh imported."""
    length = {203: 105, 213: 124, 701: 153}[model]
    body = [0x8000] * length
    words = [0x5375, 0x6E53, 1, 2, 0, 0, model, length, *body, 0xFFFF, 0]
    at = METER_AT
    if model == 203:
        words[at + 18], words[at + 22] = power & 0xFFFF, 1
        words[at + 33], words[at + 37] = 975, 0xFFFF
        words[at + 46 : at + 48], words[at + 54] = [0, 12500], 3
    elif model == 213:
        words[at + 28 : at + 30] = struct.unpack(">2H", struct.pack(">f", power * 10.0))
        words[at + 52 : at + 54] = struct.unpack(">2H", struct.pack(">f", 97.5))
        words[at + 60 : at + 70] = [0x7FC0, 0] * 5
    else:
        words[at + 10], words[at + 116] = power & 0xFFFF, 1
        words[at + 117] = words[at + 120] = 0x8000
    return words


@asynccontextmanager
async def served_modbus(*devices: ModbusDevice) -> AsyncIterator[int]:
    """The devices behind one TCP port, as behind a gateway."""
    sims = [
        SimDevice(d.unit, SimData(BASE, values=list(d.words), datatype=DataType.REGISTERS), action=d.answer)
        for d in devices
    ]

    def count(opened: bool) -> None:
        for device in devices:
            device.connections += opened

    server = ModbusTcpServer(sims, address=("127.0.0.1", 0), trace_connect=count)
    await server.serve_forever(background=True)
    try:
        assert server.transport is not None
        port: int = server.transport.sockets[0].getsockname()[1]
        yield port
    finally:
        await server.shutdown()


@pytest.fixture
def modbus() -> Callable[..., AbstractAsyncContextManager[int]]:
    """Serves Modbus devices on one port."""
    return served_modbus


@pytest.fixture
def registers() -> Callable[..., ModbusDevice]:
    """A device with these registers."""
    return ModbusDevice


@pytest.fixture
def sunspec() -> Callable[..., SunSpecDevice]:
    """A SunSpec meter of model 203."""
    return SunSpecDevice


@pytest.fixture
def sunspec_map() -> Callable[..., list[int]]:
    """The registers of a SunSpec device with one meter's model."""
    return sunspec_words


@pytest.fixture
def budget() -> Callable[..., PowerBudget]:
    """A hall of so many watts with these meters, as they are written in YAML."""

    def make(*meters: dict[str, Any], limit_w: int = 20_000, name: str = "hall") -> PowerBudget:
        spec = {"limitWatts": limit_w, "meters": list(meters)}
        return PowerBudget.model_validate({"metadata": {"name": name}, "spec": spec})

    return make


@dataclass
class Daemon:
    """A server of its own process, on a port of loopback."""

    port: int
    folder: Path
    command: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.folder)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def wait_for_tcp(self, wait_s: float = 20.0) -> None:
        end_s = time.monotonic() + wait_s
        while time.monotonic() < end_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail(f"{self.command[0]} did not start: {(self.folder / 'log').read_text()[-2000:]}")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Daemon]:
    """The distribution's mosquitto, open to everybody on loopback."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("mosquitto is not installed (Debian: apt install mosquitto), so there is no broker to speak to")
    daemon = Daemon(free_port(), tmp_path)
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"listener {daemon.port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    daemon.command = (program, "-c", str(conf))
    daemon.start()
    daemon.wait_for_tcp()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session")
def snmp_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """snmpsim: one community for each kind of PDU and UPS, and SNMPv3 for the user `reader`."""
    pytest.importorskip("snmpsim", reason="snmpsim is not installed, so there is no agent to ask")
    folder = tmp_path_factory.mktemp("snmp")
    records = folder / "data"
    records.mkdir()
    for name, lines in AGENTS.items():
        (records / f"{name}.snmprec").write_text("".join(f"{line}\n" for line in sorted(lines, key=_oid)))
    daemon = Daemon(free_port(socket.SOCK_DGRAM), folder)
    program = str(Path(sys.executable).with_name("snmpsim-command-responder"))
    user = ("--v3-user=reader", "--v3-auth-proto=SHA256", "--v3-auth-key=signing-it", "--v3-priv-proto=AES")
    options = ("--quiet", f"--data-dir={records}", f"--cache-dir={folder / 'cache'}", "--logging-method=stderr")
    as_root = ("--process-user=root", "--process-group=root") if os.geteuid() == 0 else ()
    endpoint = f"--agent-udpv4-endpoint=127.0.0.1:{daemon.port}"
    daemon.command = (program, *options, *as_root, *user, "--v3-priv-key=hiding-it", endpoint)
    daemon.start()
    yield daemon
    daemon.stop()


def _oid(line: str) -> tuple[int, ...]:
    return tuple(int(part) for part in line.split("|")[0].split("."))


APC, UPS, RARITAN = "1.3.6.1.4.1.318.1.1.26.4.3.1", "1.3.6.1.2.1.33.1", "1.3.6.1.4.1.13742.6"
INTEGER, TEXT, GAUGE = 2, 4, 66
AGENTS = {
    "apc": [f"{APC}.5.1|{INTEGER}|823", f"{APC}.9.1|{INTEGER}|45678", f"{APC}.5.2|{INTEGER}|-1"],
    "ups": [
        f"{UPS}.4.1.0|{INTEGER}|3",
        f"{UPS}.4.3.0|{INTEGER}|3",
        *(f"{UPS}.4.4.1.4.{line}|{INTEGER}|{2000 + line}" for line in (1, 2, 3)),
        f"{UPS}.3.2.0|{INTEGER}|3",
        *(f"{UPS}.3.3.1.5.{line}|{INTEGER}|{2100 + line}" for line in (1, 2, 3)),
    ],
    "ups-with-a-dead-line": [
        f"{UPS}.4.1.0|{INTEGER}|5",
        f"{UPS}.4.3.0|{INTEGER}|3",
        *(f"{UPS}.4.4.1.4.{line}|{INTEGER}|2000" for line in (1, 2)),
    ],
    "raritan": [
        f"{RARITAN}.5.2.3.1.2.1.1.5|{INTEGER}|1",
        f"{RARITAN}.5.2.3.1.4.1.1.5|{GAUGE}|48213",
        f"{RARITAN}.3.3.4.1.7.1.1.5|{GAUGE}|1",
        f"{RARITAN}.5.2.3.1.4.1.1.8|{GAUGE}|1234567",
        f"{RARITAN}.3.3.4.1.7.1.1.8|{GAUGE}|0",
    ],
    "plain": ["1.3.6.1.4.1.99999.1.0|2|4711", "1.3.6.1.4.1.99999.2.0|4|about 5 kW", "1.3.6.1.4.1.99999.3.0|4|48.25"],
}
