"""Limits that come and go: weekly schedules, grid events and the windows of a demand charge."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from wattlease.core.api_base import Name, Part, Price, Seconds, Watts, mistake

Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
EVERY_DAY: tuple[Day, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

Clock = Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]


class ScheduleEntry(Part):
    """A limit that comes back on some days of the week, by the clock on the wall."""

    name: Name
    """Shown where this entry binds."""

    days: Annotated[tuple[Day, ...], Field(min_length=1)] = EVERY_DAY
    """The days on which it starts."""

    start: Clock
    """Local time, `HH:MM`."""

    end: Clock
    """Local time, `HH:MM`; before `start` means the next day, `24:00` the end of the day."""

    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """IANA name such as `Europe/Berlin`."""

    limit_watts: Watts
    """The most the scope may draw in this window."""

    ramp_seconds: Seconds = 0
    """How long the limit takes to fall to it, in a straight line from what held before."""

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        if self.start == "24:00":
            raise mistake(("start",), "24:00 is no start; write 00:00 and the next day")
        if self.start == self.end:
            text = f"{self.end} is also the start, so the window is empty; for a whole day write 00:00 to 24:00"
            raise mistake(("end",), text)
        return self


class DemandResponse(Part):
    """A limit that the grid asks for once."""

    name: Name
    """Shown where this event binds."""

    start: AwareDatetime
    """RFC 3339 with a zone, such as `2026-07-01T16:00:00+02:00`."""

    end: AwareDatetime
    """RFC 3339 with a zone, after `start`."""

    limit_watts: Watts
    """The most the scope may draw in the event."""

    ramp_seconds: Seconds = 0
    """How long after `start` the limit takes to fall to it, in a straight line from what held before."""

    notice_seconds: Seconds = 3600
    """How long before `start` the plan knows of it and prepares."""

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        if self.end <= self.start:
            text = f"{self.end.isoformat()} is not after the start {self.start.isoformat()}; write a later time"
            raise mistake(("end",), text)
        if self.ramp_seconds > (self.end - self.start).total_seconds():
            raise mistake(("rampSeconds",), f"{self.ramp_seconds} is longer than the event; write a shorter ramp")
        return self


class DemandCharge(Part):
    """The mean draw over each metering window that is not to be passed, since the month's highest is billed."""

    window_seconds: Annotated[int, Field(ge=60, le=86_400)] = 900
    """Length of a metering window; windows begin at multiples of it in unix time, by `offsetSeconds` later."""

    offset_seconds: Annotated[int, Field(ge=0, le=86_399)] = 0
    """How much later the meter's own clock begins its windows; less than a window."""

    target_watts: Watts
    """The mean that a window is to keep."""

    price_per_kilowatt: Price = 0.0
    """Price of each kilowatt of the month's highest window."""

    @model_validator(mode="after")
    def _offset_is_within(self) -> Self:
        if self.offset_seconds >= self.window_seconds:
            text = f"{self.offset_seconds} is a window or more; write at most {self.window_seconds - 1}"
            raise mistake(("offsetSeconds",), text)
        return self
