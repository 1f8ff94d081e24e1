"""SCENARIO.yaml: a site, its budgets and its work over a span of time, as frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from wattlease.core.api import PowerBudget, PowerProfile, PowerShare
from wattlease.core.api_base import Name, Part, SomeSeconds, mistake
from wattlease.core.model import Site
from wattlease.runtime.site import site_of
from wattlease.runtime.site_words import Group
from wattlease.sim.scenario_site import Losses, Noise
from wattlease.sim.scenario_work import Arrivals, JobSpec

FaultKind = Literal[
    "stale", "frozen", "zero", "absurd", "negative", "lostNode", "pausedAgent", "lostGrantor", "lostShare"
]
PolicyName = Literal["none", "uniform", "nameplate", "wattlease", "shares"]


class Fault(Part):
    """Something that goes wrong for a while."""

    kind: FaultKind
    """stale, frozen, zero, absurd and negative spoil readings; the others cut off or stop a part of Wattlease."""

    target: Annotated[str, Field(min_length=1, max_length=120)] = "*"
    """A node or a meter by its name, or `*` for every node; of no meaning for `lostGrantor`. A cluster, or `*` for
    each, for `lostShare`."""

    at_seconds: Annotated[float, Field(ge=0)]
    """After the scenario's start."""

    seconds: Annotated[float, Field(gt=0)]
    """How long."""

    watts: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    """The reading of `absurd` (9,000 for a card, ten times a meter's own) and `negative` (-100)."""


class PriceTable(Part):
    """Energy prices and carbon by the hour: a trace where it is at hand, else the written hours, repeated."""

    trace: Literal["california", "texas", ""] = ""
    """Hourly prices and carbon of 2024, from the scenario's month, day and hour on."""

    per_kilowatt_hour: tuple[float, ...] = ()
    """Money, hour by hour from the scenario's start."""

    carbon_grams_per_kilowatt_hour: tuple[float, ...] = ()
    """Hour by hour from the scenario's start."""


class ReportOptions(Part):
    """What the report shows beside the run."""

    overlay: Literal["phoenix", ""] = ""
    """A field trace drawn beside ours where its file is at hand."""

    keep_seconds: SomeSeconds = 60
    """Spacing of the curves."""


class Scenario(Part):
    """A site, its budgets and its work over a span of time."""

    name: Name
    """What the scenario is called."""

    start: AwareDatetime
    """RFC 3339 with a zone."""

    duration_seconds: SomeSeconds
    """How long it runs."""

    tick_seconds: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    """Time between two decisions."""

    step_seconds: Annotated[float, Field(ge=0.05, le=10)] = 1.0
    """Time between two states of the plant; a tick is a whole number of steps."""

    seed: Annotated[int, Field(ge=0)] = 1
    """Chance of the run where none is asked for."""

    groups: Annotated[tuple[Group, ...], Field(min_length=1)]
    """The nodes."""

    losses: Losses = Losses()
    """What the feed carries beyond the nodes."""

    noise: Noise = Noise()
    """How demand wavers."""

    budgets: tuple[PowerBudget, ...] = ()
    """The limits, written here."""

    shares: tuple[PowerShare, ...] = ()
    """The clusters' parts of the budgets, under the policy `shares`; all nodes of a cluster stand under its budget."""

    budget_file: str = ""
    """A file with the budgets, beside the scenario, in place of `budgets`; read by the shell."""

    profiles: Annotated[tuple[PowerProfile, ...], Field(min_length=1)]
    """The terms that jobs name."""

    jobs: tuple[JobSpec, ...] = ()
    """Jobs written out."""

    arrivals: Arrivals | None = None
    """Jobs that come by a trace."""

    prices: PriceTable = PriceTable()
    """Energy prices and carbon."""

    faults: tuple[Fault, ...] = ()
    """What goes wrong, and when."""

    queue_window: Annotated[int, Field(ge=1, le=100_000)] = 256
    """How many waiting jobs a snapshot shows, the first in the queue."""

    drain_seconds: SomeSeconds = 3600
    """A released job that has waited so long for GPUs keeps others from overtaking it."""

    storage_reversion_seconds: SomeSeconds = 60
    """A battery whose order is not refreshed goes idle after this time."""

    initial_charge_percent: Annotated[float, Field(ge=0, le=100)] = 60.0
    """Charge of every battery at the start."""

    policies: Annotated[tuple[PolicyName, ...], Field(min_length=1)] = ("wattlease",)
    """Who steers; each runs on the same arrivals and the same noise."""

    report: ReportOptions = ReportOptions()
    """What the report shows."""

    data_folder: str = ""
    """Where public traces lie; empty: `shared/data` beside the checkout."""

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        steps = self.tick_seconds / self.step_seconds
        if steps < 1 or abs(steps - round(steps)) > 1e-6:
            text = f"{self.step_seconds:g} s does not divide the tick of {self.tick_seconds:g} s; write such a step"
            raise mistake(("stepSeconds",), text)
        return self

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        if bool(self.budgets) == bool(self.budget_file):
            raise mistake(("budgets",), "write budgets here or name a budgetFile, one of the two")
        clusters = {g.cluster for g in self.groups}
        profiles = {p.name for p in self.profiles}
        for i, job in enumerate(self.jobs):
            _known(("jobs", i, "profile"), job.profile, profiles)
            _known(("jobs", i, "cluster"), job.cluster, clusters)
            self._fits(i, job)
        if self.arrivals:
            _known(("arrivals", "cluster"), self.arrivals.cluster, clusters)
            for i, share in enumerate(self.arrivals.mix):
                _known(("arrivals", "mix", i, "profile"), share.profile, profiles)
        if self.budgets:
            for i, group in enumerate(self.groups):
                _known(("groups", i, "budget"), group.budget, {b.name for b in self.budgets})
        return self

    @model_validator(mode="after")
    def _shares_cover_clusters(self) -> Self:
        if "shares" not in self.policies:
            return self
        shares = {s.spec.cluster: s.spec for s in self.shares}
        for i, group in enumerate(self.groups):
            spec = shares.get(group.cluster)
            if spec is None or spec.budget != group.budget or spec.guaranteed_watts is None:
                told = f"write a share with guaranteedWatts for cluster '{group.cluster}' under '{group.budget}'"
                raise mistake(("groups", i, "cluster"), f"the policy shares needs one for each cluster; {told}")
        return self

    @model_validator(mode="after")
    def _no_twins(self) -> Self:
        for field, names in (
            ("groups", [g.name for g in self.groups]),
            ("profiles", [p.name for p in self.profiles]),
            ("jobs", [j.name for j in self.jobs]),
            ("shares", [s.spec.cluster for s in self.shares]),
        ):
            for i, name in enumerate(names):
                if name in names[:i]:
                    raise mistake((field, i), f"'{name}' is used twice in {field}; give each a name of its own")
        return self

    def _fits(self, i: int, job: JobSpec) -> None:
        there = sum(g.nodes * g.gpus_per_node for g in self.groups if g.cluster == job.cluster)
        if job.gpus > there:
            raise mistake(("jobs", i, "gpus"), f"{job.gpus} GPUs are more than cluster '{job.cluster}' has, {there}")

    def site(self, budgets: Sequence[PowerBudget]) -> Site:
        """The site as shells describe it to the core, under these budgets. BudgetError if they do not fit it."""
        return site_of(self.name, self.groups, budgets, self.profiles)

    @property
    def start_s(self) -> float:
        """The start in unix seconds."""
        return self.start.timestamp()

    @property
    def steps_per_tick(self) -> int:
        """States of the plant between two decisions."""
        return round(self.tick_seconds / self.step_seconds)


def _known(at: tuple[str | int, ...], name: str, names: Iterable[str]) -> None:
    known = sorted(names)
    if name not in known:
        raise mistake(at, f"'{name}' is not defined; there is {', '.join(known)}")
