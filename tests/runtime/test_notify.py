"""systemd's side is a real datagram socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from wattlease.runtime.notify import ALIVE, READY, notify, watchdog_s


@pytest.mark.parametrize("abstract", [True, False])
def test_systemd_hears_that_the_agent_lives(tmp_path: Path, abstract: bool) -> None:
    path = f"wattlease-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{path}" if abstract else path)
        environ = {"NOTIFY_SOCKET": f"@{path}" if abstract else path}
        assert notify(f"{READY}\n{ALIVE}", environ)
        assert manager.recv(100) == b"READY=1\nWATCHDOG=1"


def test_without_systemd_nothing_is_sent_and_nothing_is_amiss(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": str(tmp_path / "no")}):
        assert not notify(ALIVE, environ)


def test_a_manager_that_does_not_listen_is_not_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        told = [notify(ALIVE * 100, {"NOTIFY_SOCKET": path}) for _ in range(5000)]
    assert told[0]
    assert not told[-1]


@pytest.mark.parametrize(
    ("environ", "every_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdogs_half_time_is_read(environ: dict[str, str], every_s: float | None) -> None:
    assert watchdog_s(environ) == every_s
