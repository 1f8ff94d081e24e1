"""PowerProfile: what the owner of a job agrees to when watts are short, and what that costs."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import (
    Name,
    Part,
    Pattern,
    Percent,
    Price,
    Resource,
    Seconds,
    SomePercent,
    SomeSeconds,
    mistake,
    refuse_twins,
)
from wattlease.core.api_swap import Serving, SwapSpec, refuse_mixed

WorkKind = Literal["Training", "Inference", "Generation", "Batch", "Interactive"]


class JobSelector(Part):
    """Which jobs a profile is for: those that match every line that is written; empty matches none by itself."""

    match_labels: dict[str, str] = Field(default_factory=dict)
    """Labels that a workload in Kubernetes must carry, all of them."""

    names: tuple[Pattern, ...] = ()
    """Job names or patterns, such as `train-*`."""

    owners: tuple[Pattern, ...] = ()
    """Namespaces in Kubernetes, users or accounts in Slurm."""

    partitions: tuple[Pattern, ...] = ()
    """Slurm partitions."""


class Checkpoint(Part):
    """What a pause costs in work."""

    every_seconds: SomeSeconds = 1800
    """How often the job saves itself; a pause loses what came after the last save."""

    restart_seconds: Seconds = 120
    """From resume to full speed."""


class BatchStep(Part):
    """A smaller batch that the job can run with."""

    batch_percent: SomePercent
    """Percent of the job's own batch."""

    draw_percent: SomePercent
    """Percent of its draw at the own batch."""

    speed_percent: Percent
    """Percent of its speed at the own batch."""


class VariantSpec(Part):
    """A smaller model that can stand in for the job's own."""

    name: Name
    """By which the plan speaks of it."""

    draw_percent: SomePercent
    """Percent of the large model's draw."""

    speed_percent: Annotated[float, Field(ge=1, le=1000)]
    """Percent of the large model's speed; a smaller model may be faster."""

    quality_percent: Percent
    """What its answers are worth against the large model's."""

    swap_seconds: Seconds = 60
    """From the order to the last request that the old model serves."""

    serving: Serving | None = None
    """Where it is served beside the job's own model, in Kubernetes; with `swap`, and for every variant or none."""


class CurvePoint(Part):
    """A point of the owner's own sweep: the job ran with its cards capped."""

    draw_percent: SomePercent
    """Percent of the uncapped draw."""

    speed_percent: Percent
    """Percent of the uncapped speed."""


class PowerProfileSpec(Part):
    """The terms of a kind of job."""

    selector: JobSelector = JobSelector()
    """Which jobs; a job may also name a profile itself."""

    kind: WorkKind = "Training"
    """Kind of work: chooses the library's curve of speed against watts."""

    value_per_gpu_hour: Price = 2.0
    """What an hour of one GPU's work is worth, in money."""

    weight: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Multiplies the value where watts are short."""

    max_slowdown_percent: Percent = 100.0
    """The loss of speed times quality that is agreed to; more breaks the contract."""

    pausable: bool = True
    """Whether a pause is within the contract."""

    protected: bool = False
    """Touched only when no other watt is left."""

    checkpoint: Checkpoint = Checkpoint()
    """How the job saves itself, and so what a pause costs in work."""

    batch_steps: tuple[BatchStep, ...] = ()
    """Smaller batches, largest first."""

    variants: tuple[VariantSpec, ...] = ()
    """Smaller models, largest first."""

    swap: SwapSpec | None = None
    """How a service in Kubernetes changes to a smaller model; absent: jobs are asked by their hints."""

    curve: tuple[CurvePoint, ...] = ()
    """The owner's own sweep, highest draw first; empty: the library's curve for the kind of work."""

    @model_validator(mode="after")
    def _steps_fall(self) -> Self:
        refuse_twins("variants", (v.name for v in self.variants))
        for i, (large, small) in enumerate(pairwise(self.batch_steps), start=1):
            _fall(("batchSteps", i, "batchPercent"), large.batch_percent, small.batch_percent)
            _fall(("batchSteps", i, "drawPercent"), large.draw_percent, small.draw_percent)
        for i, (large_model, small_model) in enumerate(pairwise(self.variants), start=1):
            _fall(("variants", i, "drawPercent"), large_model.draw_percent, small_model.draw_percent)
        return self

    @model_validator(mode="after")
    def _swaps_between_services(self) -> Self:
        refuse_mixed(self.swap, tuple(v.serving for v in self.variants))
        return self

    @model_validator(mode="after")
    def _curve_falls(self) -> Self:
        if len(self.curve) == 1:
            raise mistake(("curve",), "one point is no curve; write at least two, highest draw first")
        for i, (high, low) in enumerate(pairwise(self.curve), start=1):
            _fall(("curve", i, "drawPercent"), high.draw_percent, low.draw_percent)
            if low.speed_percent > high.speed_percent:
                text = f"{low.speed_percent:g} rises above {high.speed_percent:g}; fewer watts cannot be faster"
                raise mistake(("curve", i, "speedPercent"), text)
        return self


def _fall(at: tuple[str | int, ...], above: float, below: float) -> None:
    if below >= above:
        raise mistake(at, f"{below:g} does not fall below {above:g} of the entry before; sort with the largest first")


class PowerProfile(Resource):
    """What the owner of a job agrees to when watts are short. Namespaced."""

    kind: str = Field(default="PowerProfile", pattern="^PowerProfile$")
    """Always `PowerProfile`."""

    spec: PowerProfileSpec
    """The terms."""
