"""FACILITY.yaml: the budgets of a site and the clusters that have shares of them, as frozen values."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Self

from pydantic import Field, model_validator

from wattlease.core.api import PowerShare, check_tree
from wattlease.core.api_base import mistake
from wattlease.runtime.controller.settings import GrantorSettings


class FacilitySettings(GrantorSettings):
    """One facility: its budgets with their meters, batteries, prices and events, and who shares them."""

    shares: Annotated[tuple[PowerShare, ...], Field(min_length=1)]
    """The clusters' parts of the budgets."""

    @model_validator(mode="after")
    def _one_share_each(self) -> Self:
        clusters, names = [s.spec.cluster for s in self.shares], [s.name for s in self.shares]
        for what, known in (("cluster", clusters), ("name", names)):
            for i, name in enumerate(known):
                if name in known[:i]:
                    raise mistake(("shares", i), f"{what} '{name}' has a share already; give each cluster one")
        return self

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        budgets = {b.name for b in self.budgets}
        for i, share in enumerate(self.shares):
            if share.spec.budget not in budgets:
                told = f"'{share.spec.budget}' is not defined; there is {', '.join(sorted(budgets))}"
                raise mistake(("shares", i, "spec", "budget"), told)
            if share.spec.guaranteed_watts is None:
                told = "is missing; write what the cluster's nodes fall back to, all together"
                raise mistake(("shares", i, "spec", "guaranteedWatts"), told)
        return self

    @model_validator(mode="after")
    def _promises_can_be_kept(self) -> Self:
        check_tree(self.budgets)
        specs, promised = {b.name: b.spec for b in self.budgets}, Counter[str]()
        for i, share in enumerate(self.shares):
            name: str | None = share.spec.budget
            while name is not None:
                promised[name] += share.spec.guaranteed_watts or 0
                if promised[name] > specs[name].assured_watts:
                    told = f"{promised[name]} W are guaranteed in all under '{name}', which is sure of"
                    hint = f"{specs[name].assured_watts} W; lower one, or raise guaranteedWatts of the budget"
                    raise mistake(("shares", i, "spec", "guaranteedWatts"), f"{told} {hint}")
                name = specs[name].parent
        return self
