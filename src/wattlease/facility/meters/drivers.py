"""From a meter's settings to its driver; drivers behind one address share its line."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

from wattlease.core.api_meters import Meter
from wattlease.core.api_reach import (
    ModbusMeter,
    MqttMeter,
    PrometheusMeter,
    RedfishMeter,
    SnmpMeter,
    SunSpecMeter,
)
from wattlease.facility.meters.modbus import Modbus
from wattlease.facility.meters.modbus_line import Lines
from wattlease.facility.meters.prometheus import Prometheus
from wattlease.facility.meters.reading import Driver, Measured, Trouble
from wattlease.facility.meters.redfish import RedfishPdu
from wattlease.facility.meters.sunspec import SunSpec

LOG = logging.getLogger("wattlease.facility")

BROKEN_S = 30.0
"""How long a driver that failed by a mistake of ours is left alone, so that the log stays readable."""


def driver_of(meter: Meter, lines: Lines) -> Driver | None:
    """The driver that reaches this meter; `None` for the simulator's."""
    wait_s = float(meter.timeout_seconds)
    match meter.reach:
        case SunSpecMeter() as reach:
            return SunSpec(reach, wait_s, lines.line(reach.host, reach.port))
        case ModbusMeter() as reach:
            return Modbus(reach, wait_s, lines.line(reach.host, reach.port))
        case SnmpMeter() as reach:
            from wattlease.facility.meters.snmp import Snmp  # half a second, for those who have such a meter

            return Snmp(reach, wait_s)
        case RedfishMeter() as reach:
            return RedfishPdu(reach, wait_s)
        case PrometheusMeter() as reach:
            return Prometheus(reach, wait_s)
        case MqttMeter() as reach:
            from wattlease.facility.meters.mqtt import Mqtt

            return Mqtt(reach, wait_s)
        case None:
            return None


async def look(meter: Meter, driver: Driver) -> Measured | Trouble:
    """One reading, positive where watts are drawn."""
    try:
        found = await driver.read()
    except Exception as error:  # a device that finds a mistake of ours must not take the other meters with it
        LOG.exception("meter=%s: the driver itself failed", meter.name)
        return Trouble(f"the driver itself failed: {error!r}", "tell us, with the log", wait_s=BROKEN_S)
    if isinstance(found, Trouble):
        return found
    if not math.isfinite(found.power_w):
        return Trouble(f"{found.source} is no number", "look at the device")
    if meter.positive == "Drawn":
        return found
    return replace(found, power_w=-found.power_w, energy_j=None)  # what it counts was delivered
