"""One meter, asked once."""

from __future__ import annotations

from wattlease.core.api_meters import Meter
from wattlease.facility.meters.drivers import driver_of, look
from wattlease.facility.meters.modbus_line import Lines
from wattlease.facility.meters.reading import Measured, Trouble


async def read(meter: Meter) -> Measured | Trouble:
    """What it says, or why it says nothing."""
    driver = driver_of(meter, Lines())
    assert driver is not None
    try:
        return await look(meter, driver)
    finally:
        await driver.close()
