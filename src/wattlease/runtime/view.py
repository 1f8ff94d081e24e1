"""What the page shows: one frozen document, made by the loop each tick and sent to every browser as JSON.

Watts, joules, seconds and fractions as the suffixes say; times are unix seconds. A number that is not known is
None (NaN travels as null too). Every text comes from outside and is shown as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

Column: TypeAlias = Sequence[float] | NDArray[np.float64]
Mode = Literal["Enforce", "Shadow"]
SiteState = Literal["within", "preparing", "shedding", "releasing", "over", "blind"]
JobState = Literal["running", "capped", "downsized", "paused", "held", "waiting"]

_JSON = orjson.OPT_SERIALIZE_NUMPY


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One limit that holds or will hold, the binding one and the losers alike; `until_s` None: no end is known."""

    scope: str
    source: str
    limit_w: float
    binds: bool
    text: str
    from_s: float | None = None
    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class StorageRow:
    """The battery: `power_w` is positive while it discharges, `capacity_j` is what it holds when full."""

    soc_frac: float
    reserve_frac: float
    power_w: float
    capacity_j: float
    text: str


@dataclass(frozen=True, slots=True)
class ScopeRow:
    """A feed, room or rack with a limit of its own; `parent` names the scope that it hangs from."""

    id: str
    parent: str | None
    limit_w: float
    draw_w: float | None
    binding: str


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job, running or waiting: `full_w` is what it would draw if nothing held it, `reason` the sentence why."""

    id: str
    name: str
    owner: str
    cluster: str
    kind: str
    state: JobState
    gpus: int
    draw_w: float
    full_w: float
    speed_frac: float
    cost_per_h: float
    protected: bool
    reason: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened at `t_s`."""

    t_s: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class SeriesSample:
    """What one cluster's jobs of one kind drew at an instant."""

    name: str
    cluster: str
    kind: str
    watts_w: float


@dataclass(frozen=True, slots=True)
class Sample:
    """The newest row of the history, so that a browser can append it; storage is None where there is none."""

    t_s: float
    limit_w: float
    draw_w: float
    series: tuple[SeriesSample, ...]
    storage_w: float | None
    soc_frac: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Watts of one cluster's jobs of one kind (or of the overhead) at the history's times."""

    name: str
    cluster: str
    kind: str
    watts_w: Column


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The last half hour in columns of one length, oldest first; the storage columns are empty without storage.

    `draw_w` is what counts against the limit: the sum of the series less what the battery gives (`storage_w`).
    """

    t_s: Column
    limit_w: Column
    draw_w: Column
    series: tuple[Series, ...]
    storage_w: Column = ()
    soc_frac: Column = ()

    def newest(self) -> Sample | None:
        """Return the last row, or None of an empty history."""
        if not len(self.t_s):
            return None
        series = tuple(SeriesSample(s.name, s.cluster, s.kind, float(s.watts_w[-1])) for s in self.series)
        return Sample(
            t_s=float(self.t_s[-1]),
            limit_w=float(self.limit_w[-1]),
            draw_w=float(self.draw_w[-1]),
            series=series,
            storage_w=float(self.storage_w[-1]) if len(self.storage_w) else None,
            soc_frac=float(self.soc_frac[-1]) if len(self.soc_frac) else None,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """The next half hour: quantiles of the draw and the limit that will hold, in columns of one length."""

    t_s: Column
    p10_w: Column
    p50_w: Column
    p90_w: Column
    limit_w: Column


@dataclass(frozen=True, slots=True)
class Figure:
    """A small extra fact, such as the energy of the day; `value` is already formatted."""

    label: str
    value: str
    text: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SiteView:
    """The whole page; `events` newest first, `currency` the ISO 4217 code in which costs are stated."""

    site: str
    mode: Mode
    now_s: float
    state: SiteState
    state_text: str
    limit_w: float
    draw_w: float | None
    headroom_w: float | None
    binding: str
    limits: tuple[LimitRow, ...]
    storage: StorageRow | None
    scopes: tuple[ScopeRow, ...]
    jobs: tuple[JobRow, ...]
    events: tuple[EventRow, ...]
    history: History
    forecast: Forecast
    figures: tuple[Figure, ...] = ()
    currency: str = "USD"

    def whole_json(self) -> bytes:
        """Encode the document with its history."""
        return orjson.dumps(self, option=_JSON)

    def tick_json(self) -> bytes:
        """Encode the document without its history, but with `sample`, the newest row of it."""
        tick: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "history"}
        tick["sample"] = self.history.newest()
        return orjson.dumps(tick, option=_JSON)
