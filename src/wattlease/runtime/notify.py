"""A word to systemd: ready, alive, stopping. Without systemd nothing is sent and nothing is amiss."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

READY = "READY=1"
ALIVE = "WATCHDOG=1"
STOPPING = "STOPPING=1"


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell the service manager; True where it was told. Several states are lines of one message."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    abstract = address.startswith("@")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as there:
            there.setblocking(False)  # a manager that is stuck must not hold up the loop
            there.sendto(state.encode(), f"\0{address[1:]}" if abstract else address)
    except OSError:
        return False
    return True


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often to say that one is alive: half of what the unit's WatchdogSec allows; `None` without a watchdog."""
    allowed_us = environ.get("WATCHDOG_USEC", "")
    ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(allowed_us) / 2e6 if allowed_us.isdecimal() and int(allowed_us) and ours else None
