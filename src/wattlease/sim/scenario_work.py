"""The work of a scenario: jobs written out, jobs that arrive by a trace, services with requests."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import Name, Part, Seconds, SomePercent, SomeSeconds, mistake

GpuCount = Annotated[int, Field(ge=1, le=1_000_000)]


class SweepPoint(Part):
    """A measured point of a job with all its cards under one cap."""

    cap_watts: Annotated[float, Field(gt=0, le=5000)]
    """The cap of each card."""

    draw_watts: Annotated[float, Field(gt=0, le=5000)]
    """What each card drew on average."""

    speed_percent: Annotated[float, Field(ge=0, le=110)]
    """Speed against the highest cap."""


class Serving(Part):
    """Requests of a service, which its replicas serve; `sim.serving` says how they wait."""

    trace: Literal["azure", "servegen", "constant"]
    """Whose request rate: an hour of Azure's LLM service (repeated), ServeGen's 14 days, or none."""

    peak_percent: SomePercent = 80.0
    """The trace's highest five-minute rate (its only rate if constant) in percent of the uncapped capacity."""

    service_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0
    """Time of one request alone on an uncapped replica."""

    gpus_per_replica: Annotated[int, Field(ge=1, le=1024)] = 1
    """GPUs of one replica."""

    batch: Annotated[int, Field(ge=1, le=4096)] = 32
    """Requests that a replica serves at once."""


class JobSpec(Part):
    """A job written out."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    """Its id is this name; give each job a name of its own."""

    owner: Annotated[str, Field(min_length=1, max_length=120)] = "owner"
    """Whose it is."""

    cluster: Name
    """The cluster in whose queue it waits."""

    gpus: GpuCount
    """How many GPUs it needs, all at once."""

    profile: Name
    """Its PowerProfile."""

    duration_seconds: SomeSeconds | None = None
    """Work at full speed; absent: it runs past the end."""

    submit_seconds: Seconds = 0
    """After the scenario's start."""

    running: bool = False
    """It runs already when the scenario starts."""

    full_watts_per_gpu: Annotated[float, Field(gt=0, le=5000)] | None = None
    """Mean draw of a card uncapped; absent: the sweep's highest, or 85 % of the card's rating."""

    sweep: tuple[SweepPoint, ...] = ()
    """Its own measurements, lowest cap first; empty: the library's curve for its kind of work."""

    checkpoint_on_signal: bool = False
    """A pause first saves, so that nothing is lost."""

    serving: Serving | None = None
    """Requests that it serves; absent: it always has work."""

    @model_validator(mode="after")
    def _sweep_rises(self) -> Self:
        if len(self.sweep) == 1:
            raise mistake(("sweep",), "one point is no sweep; write at least two, lowest cap first")
        for i, (low, high) in enumerate(zip(self.sweep, self.sweep[1:], strict=False), start=1):
            if high.cap_watts <= low.cap_watts or high.draw_watts <= low.draw_watts:
                raise mistake(("sweep", i, "capWatts"), "cap and draw must rise from point to point")
            if high.speed_percent < low.speed_percent:
                raise mistake(("sweep", i, "speedPercent"), "more watts cannot be slower; sort with the lowest first")
        if self.running and self.submit_seconds:
            raise mistake(("running",), "a job that runs at the start was submitted before; leave submitSeconds out")
        return self


class Share(Part):
    """A part of the arriving jobs and what they are like."""

    profile: Name
    """Their PowerProfile."""

    percent: SomePercent
    """Of all arriving jobs."""

    watts_percent: tuple[SomePercent, SomePercent] = (70.0, 95.0)
    """Lowest and highest uncapped draw, in percent of the card's rating; jobs of one owner and size are alike."""

    checkpoint_on_signal: bool = False
    """A pause first saves, so that nothing is lost."""

    reports_speed: bool = False
    """The jobs tell their speed."""


class Arrivals(Part):
    """Jobs that come by a trace, or by chance with the trace's moments."""

    trace: Literal["philly", "synthetic"]
    """Philly's own submit times, lengths and sizes, or Poisson arrivals with Philly's sizes and lengths."""

    or_synthetic: bool = False
    """Where the trace is not at hand take `synthetic`, and say so in `Plant.notes`."""

    cluster: Name
    """The cluster in whose queue they wait."""

    from_day: Annotated[float, Field(ge=0, le=120)] = 42.0
    """First day of the trace."""

    to_day: Annotated[float, Field(ge=0, le=120)] = 49.0
    """End of the slice; the scenario's start is `fromDay`."""

    backlog_days: Annotated[float, Field(ge=0, le=30)] = 0.0
    """Jobs of so many days before are in the queue at the start."""

    load_percent: Annotated[float, Field(ge=1, le=1000)] | None = None
    """GPU-time asked for against the cluster's, jobs thinned or repeated to reach it; absent: the trace as it is."""

    mix: Annotated[tuple[Share, ...], Field(min_length=1)]
    """What the jobs are; percents sum to 100."""

    @model_validator(mode="after")
    def _sums(self) -> Self:
        total = sum(s.percent for s in self.mix)
        if abs(total - 100) > 0.01:
            raise mistake(("mix",), f"the percents sum to {total:g}; make them 100")
        if self.to_day <= self.from_day:
            raise mistake(("toDay",), f"{self.to_day:g} is not after fromDay {self.from_day:g}")
        return self
