"""What the feed carries beyond the nodes of a scenario, and how demand wavers."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from wattlease.core.api_base import Part, Percent, SomeSeconds, mistake
from wattlease.runtime.site_words import Power


class Losses(Part):
    """What the feed carries beyond the nodes."""

    conversion_percent: Percent = 0.0
    """Lost in transformers, UPS and busbars, of the nodes' draw."""

    cooling_percent: Percent = 0.0
    """Drawn by cooling that follows the nodes' draw."""

    cooling_floor_watts: Power = 0.0
    """Drawn by cooling at any load, at the root scope."""


class Noise(Part):
    """How demand wavers; each figure is a standard deviation or a depth in percent of a job's uncapped draw.

    The defaults give the 256-GPU Phoenix site the one-minute means of its trace before the event (1.6 %, with dips),
    and a card 6 % at 0.1 s as in 0.1 s traces of Llama on H100 (4.6-8.9 %, correlation 0.5 after 0.1 s).
    """

    slow_percent: Percent = 1.6
    """Common to all GPUs of a job, over minutes."""

    swing_percent: Percent = 3.0
    """Amplitude of a training job's steps, common to all its ranks; other kinds follow at a part of it."""

    fast_percent: Percent = 6.0
    """Of each card for itself, at 0.1 s."""

    dip_percent: Percent = 70.0
    """How far a training or batch job falls while it writes a checkpoint or stalls."""

    dip_seconds: tuple[SomeSeconds, SomeSeconds] = (8, 25)
    """Shortest and longest checkpoint."""

    stall_every_seconds: SomeSeconds = 5400
    """In each span of this length one of the largest training jobs stalls once, as on shared storage."""

    stall_seconds: tuple[SomeSeconds, SomeSeconds] = (90, 120)
    """Shortest and longest stall."""

    word_percent: Percent = 1.0
    """Error of a job's own word on its speed."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for field, (low, high) in (("dipSeconds", self.dip_seconds), ("stallSeconds", self.stall_seconds)):
            if high < low:
                raise mistake((field, 1), f"{high} is below {low}; write the longest second")
        if self.stall_seconds[1] >= self.stall_every_seconds:
            raise mistake(("stallEverySeconds",), f"write more than a stall's {self.stall_seconds[1]} s")
        return self
