"""The site of a scenario: groups of alike nodes, what feeds them, and how their draw wavers."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import Name, Part, Percent, SomeSeconds, Watts, mistake

Power = Annotated[float, Field(ge=0, le=100_000_000)]
SomePower = Annotated[float, Field(gt=0, le=100_000)]


class Overhead(Part):
    """A node's draw beyond its GPUs: a floor, and a part that follows them.

    An 8xH200 node at the wall drew 2,360-2,410 W at near idle and 4.95-6.30 kW under caps of 350-500 W (MLPerf
    Inference v4.1, NVIDIA MaxQ power logs). A line through both is 1,700 W and 14 % of the GPUs' draw.
    """

    floor_watts: Power = 0.0
    """Drawn whatever the GPUs do: fans, CPUs, memory, supplies."""

    per_it_percent: Percent = 0.0
    """Added for every watt that the GPUs draw."""


class Card(Part):
    """A GPU's own range, where the library's figures for its model are not meant."""

    rated_watts: SomePower
    """The highest cap, and the cap of an unlimited card."""

    min_cap_watts: SomePower
    """The lowest cap that the card takes."""

    idle_watts: Power
    """Draw of a card without work."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if not self.idle_watts < self.rated_watts:
            raise mistake(("idleWatts",), f"{self.idle_watts:g} is not below ratedWatts {self.rated_watts:g}")
        if self.min_cap_watts > self.rated_watts:
            raise mistake(("minCapWatts",), f"{self.min_cap_watts:g} is above ratedWatts {self.rated_watts:g}")
        return self


class Group(Part):
    """Alike nodes; they are called `<name>-0001` and on."""

    name: Name
    """Prefix of the nodes' names."""

    cluster: Name
    """The cluster whose scheduler places jobs on them."""

    budget: Name
    """The PowerBudget under which they stand."""

    nodes: Annotated[int, Field(ge=1, le=20_000)]
    """How many."""

    gpus_per_node: Annotated[int, Field(ge=1, le=16)] = 8
    """GPUs in each."""

    gpu_model: Annotated[str, Field(min_length=1, max_length=40)]
    """A model of the library, such as `H100`, or any name beside `card`."""

    card: Card | None = None
    """The card's own range; absent: the library's."""

    node_nameplate_watts: Watts
    """What the maker says that a node may draw."""

    node_fallback_watts: Watts | None = None
    """What a node may draw without a grant; absent: its overhead with every card at its lowest cap."""

    overhead: Overhead = Overhead()
    """The node's draw beyond its GPUs."""


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
