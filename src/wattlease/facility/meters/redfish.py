"""A rack PDU or power shelf over Redfish: the power of its page, of its metrics, or of its mains."""

from __future__ import annotations

import math
from base64 import b64encode
from typing import Any

from wattlease.core.api_reach import RedfishMeter
from wattlease.facility.meters.reading import Measured, Refusal, Trouble
from wattlease.facility.meters.secret_files import account
from wattlease.facility.meters.web import Page, Web, number

PDUS = "/redfish/v1/PowerEquipment/RackPDUs"
MAINS_MAX = 16
"""Mains of one PDU; none has more inlets."""

KWH_J = 3.6e6


class RedfishPdu:
    """Asks one page each time, once it is known which."""

    def __init__(self, reach: RedfishMeter, timeout_s: float) -> None:
        self._reach = reach
        self._web = Web(reach.url, timeout_s, reach.ca_file)
        self._paths: tuple[str, ...] = ()

    async def read(self) -> Measured | Trouble:
        """The power where it was found last; after trouble it is looked for again."""
        paths = self._paths or await self._found()
        if isinstance(paths, Trouble):
            return paths
        self._paths = ()
        total = Measured(0.0, " + ".join(paths))
        for path in paths:
            page = await self._page(path)
            if isinstance(page, Trouble):
                return page
            one = measured(page)
            if one is None:
                return Trouble(f"{self._reach.url}{path}: tells no power just now", "look at the device's own page")
            total = _sum(total, one)
        self._paths = paths
        return total

    async def close(self) -> None:
        """Let go of the connection."""
        await self._web.close()

    async def _found(self) -> tuple[str, ...] | Trouble:
        """The pages whose power is the PDU's: its own, its metrics', or those of its mains."""
        path = self._reach.path or await self._only_pdu()
        if isinstance(path, Trouble):
            return path
        page = await self._page(path)
        if isinstance(page, Trouble):
            return page
        if measured(page) is not None:
            return (path,)
        if metrics := _link(page.get("Metrics")):
            linked = await self._page(metrics)
            if not isinstance(linked, Trouble) and measured(linked) is not None:
                return (metrics,)
        if mains := _link(page.get("Mains")):
            listed = await self._page(mains)
            return listed if isinstance(listed, Trouble) else tuple(_members(listed)[:MAINS_MAX]) or self._none(path)
        return self._none(path)

    async def _only_pdu(self) -> str | Trouble:
        listed = await self._page(PDUS)
        if isinstance(listed, Trouble):
            return listed
        pdus = _members(listed)
        if len(pdus) == 1:
            return pdus[0]
        return Trouble(
            f"{self._reach.url}: has {len(pdus)} rack PDUs", f"write path; there are {', '.join(pdus) or 'none'}"
        )

    async def _page(self, path: str) -> Page | Trouble:
        who = account(self._reach.user_file, self._reach.password_file)
        if isinstance(who, Trouble):
            return who
        headers = {"Authorization": f"Basic {b64encode(':'.join(who).encode()).decode()}"} if who else {}
        page = await self._web.page(path, headers=headers)
        if isinstance(page, dict) and "error" in page:
            return Refusal(f"{self._reach.url}{path}: {str(page['error'])[:120]}", "check path")
        return page

    def _none(self, path: str) -> Trouble:
        return Trouble(f"{self._reach.url}{path}: tells no power", "write the path of the page or sensor that does")


def measured(page: Page) -> Measured | None:
    """The power that a page tells: a metrics page or circuit by PowerWatts, a sensor by Reading in watts."""
    power_w = _reading(page.get("PowerWatts"))
    if power_w is None and page.get("ReadingUnits") == "W":
        power_w = number(page.get("Reading"))
    if power_w is None or not math.isfinite(power_w):
        return None
    energy_kwh = _reading(page.get("EnergykWh"))
    return Measured(power_w, "", energy_j=None if energy_kwh is None else energy_kwh * KWH_J)


def _reading(excerpt: Any) -> float | None:
    return number(excerpt.get("Reading")) if isinstance(excerpt, dict) else None


def _sum(one: Measured, other: Measured) -> Measured:
    known = [j for j in (one.energy_j, other.energy_j) if j is not None]
    return Measured(one.power_w + other.power_w, one.source, energy_j=sum(known) if known else None)


def _members(page: Page) -> list[str]:
    listed = page.get("Members")
    return [path for entry in (listed if isinstance(listed, list) else []) if (path := _link(entry))]


def _link(entry: Any) -> str:
    """A link's path on this device; one that leads elsewhere would take the password with it."""
    path = entry.get("@odata.id") if isinstance(entry, dict) else None
    return path.rstrip("/") if isinstance(path, str) and path.startswith("/redfish/") else ""
