"""What a renewal carries beside the lease's own words: a node's readings or a cluster's frontier up, hints down."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from wattlease.core.lease import Answer, Request
from wattlease.core.lease.words import Count, Name, Watts, Word

Joules = Annotated[float, Field(strict=True, ge=0.0, allow_inf_nan=False)]
Age = Annotated[float, Field(strict=True, ge=0.0, allow_inf_nan=False)]
Whole = Annotated[float, Field(strict=True, ge=0.0, le=1.0, allow_inf_nan=False)]

CARDS_MAX = 64
"""More GPUs than any node has; a longer report is refused."""

STEPS_MAX = 1024
"""More steps than any frontier is told in; a longer report is refused."""


class Share(Word):
    """A job's part of a card: 1 for a whole one; `estimated` where a card's draw was split (MIG, time slices).

    A name in parentheses is no job's: `(idle)` is the part that nobody holds.
    """

    job: Name
    share_frac: Whole
    estimated: bool = False


class CardReport(Word):
    """One GPU as read `age_s` ago. `power_w` is `None` where the card gave no reading; `limit_w` is read back.

    `energy_j` counts from the driver's load and may start anew. `foreign_writes` counts limits that someone else set,
    `foreign_w` is the last of them. A `lost` card answers no call: its limit is the highest that it may have.
    """

    uuid: Name
    index: Count
    model: str = Field(max_length=128)
    age_s: Age
    power_w: Watts | None
    energy_j: Joules | None
    limit_w: Watts
    min_w: Watts
    max_w: Watts
    reasons: Count = 0
    lost: bool = False
    foreign_writes: Count = 0
    foreign_w: Watts | None = None
    shares: tuple[Share, ...] = Field(default=(), max_length=64)


class NodeReport(Word):
    """A node's cards in the order of its grants' caps; `power_w` is the whole node's by RAPL or BMC, where known."""

    cards: tuple[CardReport, ...] = Field(max_length=CARDS_MAX)
    power_w: Watts | None = None
    power_source: str = Field(default="", max_length=64)
    overhead_w: Watts = 0.0


Step = tuple[Count, Annotated[float, Field(strict=True, ge=0.0, allow_inf_nan=False)], Watts]
"""Tier, price (money for a watt and an hour) and the watts that the step frees."""


class ShareReport(Word):
    """A cluster at its feed: what it draws, and its frontier, cheapest step first (`core.frontier`)."""

    power_w: Watts
    top_w: Watts
    steps: Annotated[tuple[Step, ...], Field(max_length=STEPS_MAX)]

    @model_validator(mode="after")
    def _prices_never_fall(self) -> Self:
        if any(later[:2] < step[:2] for step, later in pairwise(self.steps)):
            raise ValueError("a step is cheaper than the one before it; send them cheapest first")
        return self


class Renewal(Word):
    """The body of one call. It may wait for `wait_s` at the server until the answer would be news."""

    request: Request
    report: NodeReport | None = None
    share: ShareReport | None = None
    wait_s: Annotated[float, Field(strict=True, ge=0.0, le=60.0, allow_inf_nan=False)] = 0.0


class Hint(Word):
    """What a job is asked for: a fraction of its batch, a model, a checkpoint now, a pause after it."""

    job: Name
    batch_frac: Annotated[float, Field(strict=True, gt=0.0, le=1.0, allow_inf_nan=False)] = 1.0
    variant: str = Field(default="", max_length=253)
    checkpoint: bool = False
    pause: bool = False
    speed_frac: Whole = 1.0
    why: str = Field(default="", max_length=1024)


class Reply(Word):
    """The answer to a renewal, and the hints of the jobs on that node."""

    answer: Answer
    hints: tuple[Hint, ...] = Field(default=(), max_length=1024)
