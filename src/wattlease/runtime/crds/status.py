"""What the operator tells of each resource: the models of `status`, and the columns that `kubectl get` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from wattlease.core.api_base import Part

State = Literal["Within", "Preparing", "Shedding", "Releasing", "Over", "Blind"]

Sentence = Annotated[str, Field(max_length=32_768)]
Count = Annotated[int, Field(ge=0)]


class Condition(Part):
    """One thing that is so or not, since when, and why."""

    type: Annotated[str, Field(min_length=1, max_length=316, pattern=r"^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$")]
    """What is told of."""

    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""

    observed_generation: Count | None = None
    """The generation of the resource that this was found of."""

    last_transition_time: AwareDatetime
    """When `status` last changed."""

    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, in one word for programs."""

    message: Sentence = ""
    """Why, in a sentence."""


class Status(Part):
    """What is told of every resource."""

    conditions: tuple[Condition, ...] = ()
    """What is so or not, since when, and why."""

    observed_generation: Count | None = None
    """The generation of the resource that this status tells of."""


class PowerBudgetStatus(Status):
    """How the scope stands. Conditions: Ready, MetersHealthy, WithinLimit, Shedding, FallbackFits, Shadow."""

    limit_watts: Count | None = None
    """The limit that binds now."""

    draw_watts: int | None = None
    """What the scope draws, filtered; negative where it delivers. Absent: no meter has told."""

    headroom_watts: int | None = None
    """What may still be drawn; negative while the draw is above the limit."""

    state: State | None = None
    """How the scope stands, in one word."""

    binding: Annotated[str, Field(max_length=253)] | None = None
    """Which of the limits binds, such as `schedule evening`."""


class PowerProfileStatus(Status):
    """Whom the profile is for, just now. Conditions: Ready."""

    jobs: Count | None = None
    """Jobs that it applies to."""

    draw_watts: Count | None = None
    """What they draw together."""


class PowerShareStatus(Status):
    """What the cluster has of its share. Conditions: Ready, FallbackFits."""

    granted_watts: Count | None = None
    """What it is granted now."""

    draw_watts: int | None = None
    """What it draws."""

    until: AwareDatetime | None = None
    """When the grant ends unless it is renewed."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; those that are not `always` there come with `-o wide`."""

    name: str
    path: str
    type: str = "integer"
    always: bool = True

    def schema(self, description: str) -> dict[str, Any]:
        """The column as an entry of `additionalPrinterColumns`."""
        entry: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        entry |= {"description": description} if description else {}
        return entry if self.always else {**entry, "priority": 1}


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_READY = '.status.conditions[?(@.type=="Ready")].status'

BUDGET_COLUMNS = (
    Column("Limit", ".status.limitWatts"),
    Column("Draw", ".status.drawWatts"),
    Column("Headroom", ".status.headroomWatts"),
    Column("State", ".status.state", "string"),
    Column("Binding", ".status.binding", "string"),
    Column("Mode", ".spec.mode", "string"),
    Column("Guaranteed", ".spec.guaranteedWatts", always=False),
    Column("Parent", ".spec.parent", "string", always=False),
    Column("Ready", _READY, "string", always=False),
    _AGE,
)

PROFILE_COLUMNS = (
    Column("Kind", ".spec.kind", "string"),
    Column("Slowdown", ".spec.maxSlowdownPercent", "number"),
    Column("Pausable", ".spec.pausable", "boolean"),
    Column("Protected", ".spec.protected", "boolean"),
    Column("Jobs", ".status.jobs"),
    Column("Draw", ".status.drawWatts"),
    Column("Value", ".spec.valuePerGpuHour", "number", always=False),
    Column("Ready", _READY, "string", always=False),
    _AGE,
)

SHARE_COLUMNS = (
    Column("Budget", ".spec.budget", "string"),
    Column("Cluster", ".spec.cluster", "string"),
    Column("Watts", ".spec.watts"),
    Column("Granted", ".status.grantedWatts"),
    Column("Draw", ".status.drawWatts"),
    Column("Guaranteed", ".spec.guaranteedWatts", always=False),
    Column("Priority", ".spec.priority", always=False),
    Column("Ready", _READY, "string", always=False),
    _AGE,
)
