"""A meter: what it measures, how it is reached, and what its readings are worth."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import Name, Part, SomeSeconds, Watts, mistake
from wattlease.core.api_reach import (
    ModbusMeter,
    MqttMeter,
    PrometheusMeter,
    RedfishMeter,
    SnmpMeter,
    SunSpecMeter,
)

Reach = SunSpecMeter | ModbusMeter | SnmpMeter | RedfishMeter | PrometheusMeter | MqttMeter

WAYS = {
    "SunSpec": ("sunSpec", "{host: 10.0.0.7}"),
    "Modbus": ("modbus", "{host: 10.0.0.7, registers: [{address: 100, type: int32}]}"),
    "Snmp": ("snmp", "{host: 10.0.0.7, mib: ApcRpdu2}"),
    "Redfish": ("redfish", "{url: https://10.0.0.7}"),
    "Prometheus": ("prometheus", "{url: http://prometheus:9090, query: site_feed_watts}"),
    "Mqtt": ("mqtt", "{host: broker, topic: site/feed/watts}"),
}
"""The object that says how a kind of meter is reached, and one as an example."""

SLOW = ("Snmp", "Redfish")
"""Kinds whose small processors are asked every five seconds where nothing else is written."""


class Meter(Part):
    """A meter of the scope, and how it is reached: in one object, that of its kind."""

    name: Name
    """By which readings speak of it."""

    kind: Literal["SunSpec", "Modbus", "Snmp", "Redfish", "Prometheus", "Mqtt", "Virtual"]
    """What it speaks; Virtual is the simulator's."""

    measures: Literal["Feed", "It", "Cooling", "Conversion", "Network", "Other"] = "Feed"
    """What it measures. Feed is what the limit holds for; the others show where the overhead goes."""

    feed: Name | None = None
    """Where a scope hangs on several feeds (A and B): which of them this one measures. Meters of one feed vote, the
    feeds are summed. Absent: the one feed."""

    sun_spec: SunSpecMeter | None = None
    """How a SunSpec meter is reached."""

    modbus: ModbusMeter | None = None
    """How a Modbus meter is reached."""

    snmp: SnmpMeter | None = None
    """How an Snmp meter is reached."""

    redfish: RedfishMeter | None = None
    """How a Redfish meter is reached."""

    prometheus: PrometheusMeter | None = None
    """How a Prometheus meter is reached."""

    mqtt: MqttMeter | None = None
    """How an Mqtt meter is reached."""

    positive: Literal["Drawn", "Delivered"] = "Drawn"
    """What its positive numbers are: drawn from the feed, or delivered into it."""

    poll_seconds: SomeSeconds | None = None
    """How often it is asked; absent: every second, Snmp and Redfish every five."""

    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 2
    """How long an answer is waited for."""

    window_seconds: SomeSeconds = 1
    """Length of the mean that one reading is."""

    delay_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """How old a reading is when it arrives."""

    stale_seconds: SomeSeconds = 10
    """Age from which it no longer is a reading."""

    min_watts: Annotated[int, Field(ge=-100_000_000_000, le=100_000_000_000)] = 0
    """Lowest plausible reading; negative where the site may export."""

    max_watts: Watts | None = None
    """Highest plausible reading; absent: twice the limit."""

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.max_watts is not None and self.max_watts <= self.min_watts:
            text = f"{self.max_watts} is not above minWatts {self.min_watts}; write the highest plausible reading"
            raise mistake(("maxWatts",), text)
        if self.stale_seconds <= self.delay_seconds:
            text = f"{self.stale_seconds} is not above delaySeconds {self.delay_seconds}; no reading would ever count"
            raise mistake(("staleSeconds",), text)
        return self

    @model_validator(mode="after")
    def _reached_in_one_way(self) -> Self:
        for kind, (field, example) in WAYS.items():
            if kind == self.kind and self._of(field) is None:
                raise mistake((field,), f"is missing; a meter of kind {kind} needs {field}: {example}")
            if kind != self.kind and self._of(field) is not None:
                raise mistake((field,), f"does not go with kind {self.kind}; leave it out, or write kind: {kind}")
        return self

    @model_validator(mode="after")
    def _asked_in_time(self) -> Self:
        if self.every_seconds > self.stale_seconds:
            text = f"{self.every_seconds} is above staleSeconds {self.stale_seconds}; a reading would age out each time"
            raise mistake(("pollSeconds",), text)
        return self

    @model_validator(mode="after")
    def _feeds_are_of_feeds(self) -> Self:
        if self.feed is not None and self.measures != "Feed":
            raise mistake(("feed",), f"does not go with measures: {self.measures}; leave it out")
        return self

    @property
    def every_seconds(self) -> int:
        """How often it is asked, written or usual for its kind."""
        return self.poll_seconds or (5 if self.kind in SLOW else 1)

    @property
    def reach(self) -> Reach | None:
        """How it is reached; `None` for the simulator's."""
        return None if self.kind == "Virtual" else self._of(WAYS[self.kind][0])

    def _of(self, field: str) -> Reach | None:
        ways: dict[str, Reach | None] = {
            "sunSpec": self.sun_spec,
            "modbus": self.modbus,
            "snmp": self.snmp,
            "redfish": self.redfish,
            "prometheus": self.prometheus,
            "mqtt": self.mqtt,
        }
        return ways[field]
