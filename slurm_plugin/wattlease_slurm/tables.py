"""What a site says of jobs by where they run: terms of partitions, accounts and QOS, and what a job may wish itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import Name, Part, Percent, Price, Seconds, SomeSeconds, mistake
from wattlease.core.api_profile import BatchStep, WorkKind
from wattlease.core.model import Step
from wattlease_slurm.wishes import Wishes, checkpoint

Weight = Annotated[float, Field(ge=0, le=1000)]


class Permits(Part):
    """How far a job's own wishes go; what is absent is as the line before it has it, in the end as said here.

    A user always gets what the site itself gave: with weight 5 from a QOS a job may wish any weight up to 5.
    """

    protected: bool | None = None
    """Whether `protected` is heard; in the end no."""

    not_pausable: bool | None = None
    """Whether `not-pausable` is heard; in the end yes."""

    least_slowdown_percent: Percent | None = None
    """A lower `max-slowdown` is taken for this one; in the end 0."""

    most_weight: Weight | None = None
    """A higher `weight` is taken for this one; in the end 1."""

    most_value_per_gpu_hour: Price | None = None
    """A higher `value` is taken for this one; in the end what the site gives."""


class WishWords(Part):
    """What jobs agree to where they say nothing themselves; what is absent is as the line before it has it."""

    kind: WorkKind | None = None
    """Kind of work."""

    value_per_gpu_hour: Price | None = None
    """What an hour of one GPU's work is worth, in money."""

    weight: Weight | None = None
    """Multiplies the value where watts are short; also the urgency in the queue."""

    max_slowdown_percent: Percent | None = None
    """The loss of speed that is agreed to."""

    pausable: bool | None = None
    """Whether a pause is within the contract."""

    protected: bool | None = None
    """Touched only when no other watt is left."""

    checkpoint: Annotated[str, Field(max_length=32)] | None = None
    """Signal and seconds, `USR1@120`, by which jobs save themselves; `B:USR1@120` for the batch script alone."""

    checkpoint_every_seconds: SomeSeconds | None = None
    """How often jobs save themselves unasked."""

    restart_seconds: Seconds | None = None
    """From resume to full speed."""

    batch_steps: tuple[BatchStep, ...] | None = None
    """Smaller batches, largest first."""

    min_nodes: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Nodes to which a running job may be shrunk."""

    requeue: bool | None = None
    """Pause by requeue, not by suspending."""

    profile: Name | None = None
    """The PowerProfile that holds for jobs which name none."""

    permits: Permits = Permits()
    """How far a job's own wishes go."""

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if self.checkpoint is not None and checkpoint(self.checkpoint) is None:
            raise mistake(("checkpoint",), f"'{self.checkpoint}' is no signal with seconds; write one such as USR1@120")
        for i, (large, small) in enumerate(pairwise(self.batch_steps or ()), start=1):
            if small.batch_percent >= large.batch_percent or small.draw_percent >= large.draw_percent:
                raise mistake(("batchSteps", i), "does not fall below the entry before; sort with the largest first")
        return self

    @property
    def wishes(self) -> Wishes:
        """The same as a job would say it."""
        slowdown, every, restart = self.max_slowdown_percent, self.checkpoint_every_seconds, self.restart_seconds
        return Wishes(
            max_slowdown_frac=None if slowdown is None else slowdown / 100,
            pausable=self.pausable,
            protected=self.protected,
            requeue=self.requeue,
            checkpoint=checkpoint(self.checkpoint),
            checkpoint_every_s=None if every is None else float(every),
            restart_s=None if restart is None else float(restart),
            value_per_gpu_h=self.value_per_gpu_hour,
            weight=self.weight,
            kind=self.kind,
            steps=_steps(self.batch_steps),
            min_nodes=self.min_nodes,
            profile=self.profile,
        )


def _steps(steps: tuple[BatchStep, ...] | None) -> tuple[Step, ...] | None:
    if steps is None:
        return None
    return tuple(Step(s.batch_percent / 100, s.draw_percent / 100, s.speed_percent / 100) for s in steps)


Lines = dict[Annotated[str, Field(min_length=1, max_length=253)], WishWords]


class Tables(Part):
    """Terms by where a job runs. Later lines hold over earlier ones: default, partition, account, QOS."""

    default: WishWords = WishWords()
    """For every job."""

    partitions: Lines = Field(default_factory=dict)
    """By partition."""

    accounts: Lines = Field(default_factory=dict)
    """By account."""

    qos: Lines = Field(default_factory=dict)
    """By QOS."""

    def lines(self, partition: str, account: str, qos: str) -> Iterator[WishWords]:
        """What holds for such a job, the weakest first; of several partitions the first one counts."""
        yield self.default
        named = ((self.partitions, partition.partition(",")[0]), (self.accounts, account), (self.qos, qos))
        yield from (table[name] for table, name in named if name in table)
