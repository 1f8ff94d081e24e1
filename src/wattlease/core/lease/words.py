"""What grantor and holder say to each other, and how it becomes JSON and is believed again."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

TTL_S = 10.0
"""How long a grant lasts: ten renewals may be lost before a holder falls back."""

DRIFT_FRAC = 1e-3
"""While one clock counts a second, any other counts at most this much more. The kernel's clock discipline bends a
clock by at most 500 ppm to either side and a raw clock's crystal errs by less. A time daemon that may slew faster
(chrony does unless its `maxslewrate` is set) asks for the raw monotonic clock, or for a larger bound."""

Watts = Annotated[float, Field(strict=True, ge=0.0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Span = Annotated[float, Field(strict=True, gt=0.0, allow_inf_nan=False)]
Frac = Annotated[float, Field(strict=True, ge=0.0, lt=1.0)]
Name = Annotated[str, Field(strict=True, min_length=1, max_length=253)]
Count = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Caps = Annotated[tuple[Watts, ...], Field(max_length=1024)]
Stamp = tuple[Count, Count]
"""A grant's epoch and its sequence under that epoch; later grants have larger stamps."""

Value = TypeVar("Value")


def lasts_s(span_s: float, drift_frac: float = DRIFT_FRAC) -> float:
    """How long to count on this clock until `span_s` has surely passed on every other."""
    return span_s * (1.0 + drift_frac)


class Word(BaseModel):
    """A value from another process: complete, finite and of exact types; unknown fields are a newer version's."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Grant(Word):
    """The right to draw `watts_w` for `ttl_s` from when it was asked for, and `fallback_w` after."""

    holder: Name
    epoch: Count
    sequence: Count
    watts_w: Watts
    fallback_w: Watts
    ttl_s: Span
    caps_w: Caps

    @model_validator(mode="after")
    def _never_rises_by_expiring(self) -> Self:
        if self.fallback_w > self.watts_w:
            raise ValueError(
                f"fallback_w {self.fallback_w} is above watts_w {self.watts_w}; grant at least the fallback"
            )
        return self


class Request(Word):
    """A holder's report and its wish to be renewed; `life` and `count` name it as no other request is named."""

    holder: Name
    life: Name
    count: Count
    epoch: Count
    acknowledged: Stamp | None
    may_draw_w: Watts
    in_force_w: Watts
    fallback_w: Watts


class Answer(Word):
    """The reply to one request: the grantor's epoch, and the newest grant unless there is none to give."""

    holder: Name
    life: Name
    count: Count
    epoch: Count
    grant: Grant | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a message counts for nothing."""

    reason: str


def plain(value: Any) -> dict[str, Any]:
    """A message, a holder, a roster or a ledger as a dict that JSON can carry."""
    dumped: dict[str, Any] = _adapter(type(value)).dump_python(value, mode="json")
    return dumped


def read(kind: type[Value], data: object) -> Value | Refused:
    """What `plain` wrote, as a value again; or the first thing wrong with it and where."""
    try:
        value: Value = _adapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join([kind.__name__, *(str(part) for part in first["loc"])])
        return Refused(f"{where}: {first['msg']}, not {first['input']!r:.80}")
    return value


def _adapter(kind: Any) -> TypeAdapter[Any]:
    made: TypeAdapter[Any] = _made(kind)
    return made


_made: Any = cache(TypeAdapter)
