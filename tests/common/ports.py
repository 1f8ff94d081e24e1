"""Ports for servers of tests."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

BELOW_CLIENTS = range(12_000, 32_768)
"""From there on Linux takes the near ends of connections, hundreds at a time while the tests run: a port that is chosen
among those may be some client's own before its server starts."""

CHANCE = random.SystemRandom()
"""Hypothesis seeds the other one: workers beside each other would draw the same."""


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that nobody listens on now, and that no client is given meanwhile."""
    for port in CHANCE.sample(BELOW_CLIENTS, 100):
        with socket.socket(socket.AF_INET, kind) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("a hundred ports, all taken")
