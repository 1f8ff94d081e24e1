"""OpenADR 2.0b's other side on loopback: openleadr's own server, for one VEN. No TLS, no signatures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from openleadr import OpenADRServer, objects


class Vtn:
    """A real VTN for one VEN, that remembers answers and reports."""

    def __init__(self, port: int) -> None:
        self.opts: list[tuple[str, str]] = []
        self.reported: list[tuple[datetime, float]] = []
        self.port = port
        self.server = OpenADRServer("VTN1", http_port=port, requested_poll_freq=timedelta(seconds=1))
        self.server.add_handler("on_create_party_registration", self._registered)
        self.server.add_handler("on_register_report", self._offered)

    async def _registered(self, info: dict[str, Any]) -> tuple[str, str] | bool:
        return ("ven1", "reg1") if info["ven_name"] == "hall" else False

    async def _offered(
        self, ven_id: str, resource_id: str, measurement: str, unit: str, scale: str,
        min_sampling_interval: timedelta, max_sampling_interval: timedelta,
    ) -> tuple[Any, timedelta]:  # fmt: skip
        assert (resource_id, measurement, unit, scale) == ("site", "powerReal", "W", "none")
        return self.reported.extend, timedelta(seconds=1)

    async def _answered(self, ven_id: str, event_id: str, opt_type: str) -> None:
        self.opts.append((event_id, opt_type))

    def asks(self, name: str, signals: list[objects.EventSignal], **more: Any) -> objects.Event:
        descriptor = objects.EventDescriptor(name, 0, "oadr://test", "far", **more)
        first = signals[0].intervals[0]
        long_s = sum((i.duration for i in signals[0].intervals), timedelta())
        event = objects.Event(
            event_descriptor=descriptor, event_signals=signals, targets=[{"ven_id": "ven1"}],
            active_period=objects.ActivePeriod(dtstart=first.dtstart, duration=long_s),
        )  # fmt: skip
        self.server.add_raw_event("ven1", event, callback=self._answered)
        return event


def signal(kind: str, form: str, *values: float, start_s: float = 600, long_s: float = 600) -> objects.EventSignal:
    now = datetime.now(UTC)
    found = [
        objects.Interval(now + timedelta(seconds=start_s + k * long_s), timedelta(seconds=long_s), value)
        for k, value in enumerate(values)
    ]
    return objects.EventSignal(found, kind, form, f"{kind}-{form}")


@asynccontextmanager
async def served(port: int) -> AsyncIterator[Vtn]:
    vtn = Vtn(port)
    await vtn.server.run()
    try:
        yield vtn
    finally:
        await vtn.server.stop()
