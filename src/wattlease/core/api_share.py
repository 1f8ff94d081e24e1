"""PowerShare: a cluster's part of a budget, the most that its grants may add up to."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import Name, Part, Resource, Watts, mistake


class PowerShareSpec(Part):
    """Which cluster has how much of which budget."""

    budget: Name
    """The PowerBudget that the share is cut from."""

    cluster: Name
    """The cluster that holds it."""

    watts: Watts
    """The most the cluster may be granted."""

    guaranteed_watts: Watts | None = None
    """What it keeps when it cannot renew; absent: nothing beyond what its nodes' floors need."""

    priority: Annotated[int, Field(ge=0, le=1000)] = 0
    """Of two clusters that offer the same price, the higher keeps its watts."""

    @model_validator(mode="after")
    def _guarantee_fits(self) -> Self:
        if self.guaranteed_watts is not None and self.guaranteed_watts > self.watts:
            text = f"{self.guaranteed_watts} is above watts {self.watts}; write at most {self.watts}"
            raise mistake(("guaranteedWatts",), text)
        return self


class PowerShare(Resource):
    """A cluster's part of a budget. Cluster-scoped."""

    kind: str = Field(default="PowerShare", pattern="^PowerShare$")
    """Always `PowerShare`."""

    spec: PowerShareSpec
    """The share."""
