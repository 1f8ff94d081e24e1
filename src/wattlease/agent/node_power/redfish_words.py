"""What Redfish pages say: links and powers, believed only where they are what the standard says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

Page = dict[str, Any]


def members(page: Page) -> list[str]:
    """The paths that a collection lists."""
    listed = page.get("Members")
    return [path for entry in (listed if isinstance(listed, list) else []) for path in _path(entry)]


def links(page: Page, names: tuple[str, ...]) -> list[str]:
    """The paths to which a page leads under these names."""
    return [path for name in names for path in _path(page.get(name))]


def power_w(page: Page) -> float | None:
    """The largest power of a page, for it may tell parts beside the whole; `None` where it tells none.

    `Power` has it in PowerControl (of all servers; some list processors and memory after the whole),
    `EnvironmentMetrics` in PowerWatts (newer ones, and NVIDIA's HGX boards).
    """
    return max(_powers_w(page), default=None)


def _powers_w(page: Page) -> Iterator[float]:
    listed, metered = page.get("PowerControl"), page.get("PowerWatts")
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict):
            yield from _number(entry.get("PowerConsumedWatts"))
    if isinstance(metered, dict):
        yield from _number(metered.get("Reading"))


def _number(value: object) -> Iterator[float]:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        yield float(value)


def _path(link: object) -> Iterator[str]:
    """A link's path on this controller; one that leads elsewhere would take the session's token with it."""
    path = link.get("@odata.id") if isinstance(link, dict) else None
    if isinstance(path, str) and path.startswith("/redfish/"):
        yield path.rstrip("/")
