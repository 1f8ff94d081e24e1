"""A battery behind the meter of a scope, and how its power converter is reached."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import Name, Part, Percent, Price, SomePercent, Watts, mistake
from wattlease.core.api_reach import Host, Port, UnitId

CONTROL_MODELS = (704, 124)
"""SunSpec models that take a set point, the better one first."""


class SunSpecAddress(Part):
    """Where a device answers Modbus TCP."""

    host: Host
    """Name or address of the converter, or of the gateway before it."""

    port: Port = 502
    """Its TCP port."""

    unit_id: UnitId = 1
    """Which device behind that port; many take 1, some 126 or 255."""


class Pcs(Part):
    """The converter through which a battery is read and ordered."""

    sun_spec: SunSpecAddress
    """Where it answers."""

    models: tuple[Literal[124, 701, 704, 713, 714, 715, 802], ...] = ()
    """SunSpec models to use; empty: all that the device has, and 704 before 124 for orders. Name them where a device
    offers one that does not work."""

    reversion_seconds: Annotated[int, Field(ge=2, le=3600)] = 30
    """After this long without a new order the battery goes idle by its own timer."""

    heartbeat_seconds: Annotated[int, Field(ge=1, le=60)] = 1
    """How often it is read, and told that its controller lives."""

    sign_check: bool = True
    """Whether a battery that is seen to do the opposite of what it is ordered is used no more."""

    discharge_sign: Literal["Positive", "Negative"] = "Positive"
    """What a discharge reads as in models 802 and 714, which leave it open. Model 701 does not, and is preferred."""

    ramp_watts_per_second: Watts | None = None
    """The fastest that an order may change; absent: at once, as fast as the converter itself goes."""

    @model_validator(mode="after")
    def _can_be_ordered(self) -> Self:
        if self.models and not set(self.models) & set(CONTROL_MODELS):
            raise mistake(("models",), "neither 704 nor 124 is among them, so nothing could be ordered; add one")
        if 2 * self.heartbeat_seconds > self.reversion_seconds:
            text = f"{self.heartbeat_seconds} is more than half of reversionSeconds {self.reversion_seconds}"
            raise mistake(("heartbeatSeconds",), f"{text}, so orders would lapse; lower it")
        return self


class StorageSpec(Part):
    """A battery behind the scope's meter; power on the AC side, energy usable at the cells."""

    name: Name
    """By which the plan speaks of it."""

    capacity_watt_hours: Annotated[int, Field(ge=1, le=1_000_000_000_000)]
    """Usable energy when full."""

    max_charge_watts: Watts
    """The most it takes."""

    max_discharge_watts: Watts
    """The most it gives."""

    round_trip_percent: SomePercent = 88.0
    """What comes back of what is put in."""

    reserve_percent: Percent = 20.0
    """Kept for an outage; never given to the plan."""

    fade_percent: Percent = 5.0
    """Above the reserve, the band of charge across which its help fades to nothing."""

    wear_cost_per_kilowatt_hour: Price = 0.05
    """What a discharged kilowatt-hour wears off."""

    pcs: Pcs | None = None
    """The converter that Wattlease steers; absent: the simulator's, or nobody's."""

    @model_validator(mode="after")
    def _something_is_usable(self) -> Self:
        if self.reserve_percent + self.fade_percent >= 100:
            text = f"{self.reserve_percent:g} and fadePercent {self.fade_percent:g} leave nothing to use; lower one"
            raise mistake(("reservePercent",), text)
        return self
