"""The page's document as a program on a terminal reads it: what it shows and nothing more.

A number that is not known is None. What a newer controller adds is ignored.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

SPAN_S = 1800.0
"""The past that is kept: half an hour, as on the page."""


class Words(BaseModel):
    """A part of the document."""

    model_config = ConfigDict(frozen=True)


class SeenJob(Words):
    """A row of the table of jobs."""

    id: str
    name: str
    owner: str
    state: str
    gpus: int
    draw_w: float | None
    speed_frac: float | None
    cost_per_h: float | None
    reason: str

    @property
    def runs(self) -> bool:
        """Whether it has GPUs that compute."""
        return self.state in ("running", "capped", "downsized")


class SeenLimit(Words):
    """A limit that holds, or from `from_s` on will hold."""

    source: str
    limit_w: float | None
    binds: bool
    text: str
    from_s: float | None
    until_s: float | None


class SeenStorage(Words):
    """The battery; `power_w` is positive while it discharges."""

    soc_frac: float | None
    power_w: float | None
    text: str


class SeenEvent(Words):
    """A line of the timeline."""

    t_s: float
    kind: str
    text: str


class SeenSample(Words):
    """A moment of the past."""

    t_s: float
    limit_w: float | None
    draw_w: float | None


class SeenPast(Words):
    """The last half hour in columns of one length, oldest first."""

    t_s: tuple[float, ...] = ()
    limit_w: tuple[float | None, ...] = ()
    draw_w: tuple[float | None, ...] = ()

    def after(self, sample: SeenSample | None) -> SeenPast:
        """This past and one moment more, as far back as it is kept."""
        if sample is None or (self.t_s and sample.t_s <= self.t_s[-1]):
            return self
        old = sum(t_s < sample.t_s - SPAN_S for t_s in self.t_s)
        return SeenPast(
            t_s=(*self.t_s[old:], sample.t_s),
            limit_w=(*self.limit_w[old:], sample.limit_w),
            draw_w=(*self.draw_w[old:], sample.draw_w),
        )


class SeenForecast(Words):
    """The next half hour in columns of one length."""

    t_s: tuple[float, ...]
    p50_w: tuple[float | None, ...]
    p90_w: tuple[float | None, ...]


class Seen(Words):
    """The whole document, or a tick of the stream, which has `sample` in place of `history`."""

    site: str
    mode: str
    now_s: float
    state: str
    state_text: str
    limit_w: float | None
    draw_w: float | None
    headroom_w: float | None
    binding: str
    limits: tuple[SeenLimit, ...]
    storage: SeenStorage | None
    jobs: tuple[SeenJob, ...]
    events: tuple[SeenEvent, ...]
    forecast: SeenForecast
    currency: str
    history: SeenPast = SeenPast()
    sample: SeenSample | None = None
