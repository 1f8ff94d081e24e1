"""How a site's hardware is written down: groups of alike nodes, their cards, and what they draw beyond them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import Name, Part, Percent, Watts, mistake

Power = Annotated[float, Field(ge=0, le=100_000_000)]
SomePower = Annotated[float, Field(gt=0, le=100_000)]
NodeName = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$")]
"""What its scheduler calls a node, and its certificate too; in Kubernetes names have dots."""


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
    """Alike nodes; they are called `<name>-0001` and on, unless `nodeNames` says how."""

    name: Name
    """Prefix of the nodes' names."""

    cluster: Name
    """The cluster whose scheduler places jobs on them."""

    budget: Name
    """The PowerBudget under which they stand."""

    nodes: Annotated[int, Field(ge=1, le=20_000)]
    """How many."""

    node_names: tuple[NodeName, ...] = ()
    """What they are called, as in their certificates; as many as `nodes`."""

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

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.node_names and len(set(self.node_names)) != self.nodes:
            told = f"{len(set(self.node_names))} different names for {self.nodes} nodes; write one for each"
            raise mistake(("nodeNames",), told)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each node."""
        return self.node_names or tuple(f"{self.name}-{i + 1:04d}" for i in range(self.nodes))
