"""What a tick decides, as values that name things by id: they can be printed, compared, stored and replayed."""

from __future__ import annotations

from dataclasses import dataclass

from wattlease.core.model import Floats


@dataclass(frozen=True, slots=True)
class Cap:
    """Limit every GPU of the job to `cap_w`; the card's own maximum lifts the cap."""

    job: str
    cap_w: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Checkpoint if the job can, then suspend it."""

    job: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Let a paused job run on."""

    job: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Take back a release that its scheduler has not used yet."""

    job: str


@dataclass(frozen=True, slots=True)
class Release:
    """Let a waiting job start; its watts are counted from now on."""

    job: str


@dataclass(frozen=True, slots=True)
class Downsize:
    """Run with a smaller batch (`variant` empty), or as the variant: with a smaller model, or on fewer cards."""

    job: str
    batch_frac: float
    variant: str


@dataclass(frozen=True, slots=True)
class Restore:
    """Back to the job's own batch and model."""

    job: str


@dataclass(frozen=True, slots=True)
class Discharge:
    """Give `power_w` from the storage to its scope."""

    storage: str
    power_w: float


@dataclass(frozen=True, slots=True)
class Charge:
    """Take `power_w` from the scope into the storage."""

    storage: str
    power_w: float


Action = Cap | Pause | Resume | Hold | Release | Downsize | Restore | Discharge | Charge


@dataclass(frozen=True, slots=True)
class ScopePlan:
    """How a scope stands after the plan: what it must stay under, what binds, and what the plan expects it to draw."""

    scope: str
    limit_w: float
    source: str
    text: str
    draw_w: float
    planned_w: float
    state: str
    silent_w: float = 0.0
    """What work on cards that are not heard had, beyond what is planned for it meanwhile."""

    @property
    def free_w(self) -> float:
        """What is left for work that starts; 0 where the plan is over the limit."""
        return max(self.limit_w - self.planned_w - self.silent_w, 0.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """A tick's decision.

    `actions` are the changes of state, `why` their sentences in the same order. Caps are many and move often, so they
    are columns: what is meant to be in force from now on, beside the snapshot's own order. `cap_w` is the cap of each
    job's GPUs, `job_w` the draw expected of the whole job, `speed_frac` what it keeps, `cost_per_h` what that costs its
    owner; `grant_w` is the most each node may draw; `spare_frac` the share of its slack that each scope gives to
    cards without a job.
    """

    now_s: float
    actions: tuple[Action, ...]
    why: tuple[str, ...]
    scopes: tuple[ScopePlan, ...]
    cap_w: Floats
    job_w: Floats
    speed_frac: Floats
    cost_per_h: Floats
    grant_w: Floats
    spare_frac: Floats
