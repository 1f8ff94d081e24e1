"""The whole node's power, asked of its board controller (BMC) by Redfish.

A controller is slow and easily overrun: one that answers well is asked for one page every `every_seconds`, one that
does not is left alone for twice as long each time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from wattlease.agent.cards import Trouble
from wattlease.agent.node_power import NodePower
from wattlease.agent.node_power.redfish_session import Session
from wattlease.agent.node_power.redfish_settings import RedfishSettings
from wattlease.agent.node_power.redfish_words import links, members, power_w

CHASSIS = "/redfish/v1/Chassis"
POWERS = ("Power", "EnvironmentMetrics")

PATIENCE = 5
"""The wait after failures doubles this often at most: 32 times `every_seconds`, five minutes by default."""


class Redfish:
    """One board controller. `run` polls it, in a task of its own; `latest` answers at once."""

    def __init__(self, settings: RedfishSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._session = Session(settings, clock)
        self._path = ""
        self._last: tuple[float, float] | None = None
        self._trouble = Trouble(f"{settings.url}: not asked yet")
        self._failures = 0
        self._next_s = clock()

    def latest(self) -> NodePower | Trouble:
        """The last reading and its age until it is stale; then what has gone wrong since."""
        if self._last is not None:
            power_now_w, at_s = self._last
            age_s = max(0.0, self._clock() - at_s)
            if age_s <= self._settings.stale_seconds:
                return NodePower(power_now_w, age_s, "redfish", whole=True)
        return self._trouble

    async def poll(self) -> NodePower | Trouble:
        """Ask the controller, unless that would be too soon; then the latest. For one task only."""
        if self._clock() >= self._next_s:
            asked_s = self._clock()
            trouble = await self._ask()
            self._trouble = trouble or self._trouble
            self._failures = min(self._failures + 1, PATIENCE) if trouble else 0
            self._next_s = asked_s + self._settings.every_seconds * 2**self._failures
        return self.latest()

    async def run(self) -> None:
        """Poll until cancelled, then log out."""
        try:
            while True:
                await self.poll()
                await asyncio.sleep(max(0.05, self._next_s - self._clock()))
        finally:
            await self.close()

    async def close(self) -> None:
        """Log out."""
        await self._session.close()

    async def _ask(self) -> Trouble | None:
        found = await (self._power_at(self._path) if self._path else self._largest())
        self._path = ""  # where the power stands may change with the firmware: after a failure it is looked for again
        if isinstance(found, Trouble):
            return found
        path, found_w = found
        if not 0.0 < found_w <= self._settings.max_watts:
            return Trouble(f"{self._settings.url}{path}: tells {found_w:g} W, which cannot be; dropped")
        self._path, self._last = path, (found_w, self._clock())
        return None

    async def _largest(self) -> tuple[str, float] | Trouble:
        """The largest power of all chassis and where it stands: no part draws more than the whole."""
        listed = await self._session.page(CHASSIS)
        if isinstance(listed, Trouble):
            return listed
        paths = members(listed)
        found = [one for path in paths if self._is_wanted(path) for one in await self._powers_of(path)]
        readings = [one for one in found if not isinstance(one, Trouble)]
        if readings:
            return max(readings, key=lambda reading: reading[1])
        troubles = [one for one in found if isinstance(one, Trouble)]
        there = ", ".join(path.rsplit("/", 1)[-1] for path in paths) or "none"
        return troubles[0] if troubles else Trouble(f"{self._settings.url}: no chassis tells its power; there: {there}")

    def _is_wanted(self, path: str) -> bool:
        return self._settings.chassis is None or path.rsplit("/", 1)[-1] == self._settings.chassis

    async def _powers_of(self, chassis: str) -> list[tuple[str, float] | Trouble]:
        page = await self._session.page(chassis)
        return [page] if isinstance(page, Trouble) else [await self._power_at(path) for path in links(page, POWERS)]

    async def _power_at(self, path: str) -> tuple[str, float] | Trouble:
        page = await self._session.page(path)
        if isinstance(page, Trouble):
            return page
        found_w = power_w(page)
        return Trouble(f"{self._settings.url}{path}: tells no power") if found_w is None else (path, found_w)
