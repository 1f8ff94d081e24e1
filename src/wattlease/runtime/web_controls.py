"""The demo's controls: what a person may ask for, checked before it reaches the plant. No product process has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wattlease.runtime.web_guard import refusal


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not carried out: what, where, and what would be right."""

    error: str
    field: str
    fix: str


@dataclass(frozen=True, slots=True)
class Controls:
    """What the demo lets a person do; each answers None when it is done, or why it is not.

    `set_limit(limit_w)`, `start_event(depth_frac, duration_s, ramp_s)`, `submit_job(gpus, kind)`, `reset()`.
    """

    set_limit: Callable[[float], Awaitable[Refusal | None]]
    start_event: Callable[[float, float, float], Awaitable[Refusal | None]]
    submit_job: Callable[[int, str], Awaitable[Refusal | None]]
    reset: Callable[[], Awaitable[Refusal | None]]
    limit_range_w: tuple[float, float]
    gpus_max: int
    kinds: tuple[str, ...] = ("Training", "Inference", "Generation", "Batch", "Interactive")

    def ranges(self) -> dict[str, object]:
        """State the ranges as the page reads them."""
        low_w, high_w = self.limit_range_w
        return {"limit_min_w": low_w, "limit_max_w": high_w, "gpus_max": self.gpus_max, "kinds": self.kinds}


class _Order(BaseModel):
    """A request's body; each field's description says what would be right."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class LimitOrder(_Order):
    """Hold the site under this many watts from now on."""

    limit_w: float = Field(gt=0, description="send watts above 0")


class EventOrder(_Order):
    """Start a demand-response event now: shed `depth_frac` of the draw within `ramp_s`, for `duration_s`."""

    depth_frac: float = Field(gt=0, le=0.9, description="send a fraction above 0 and at most 0.9")
    duration_s: float = Field(ge=10, le=86_400, description="send seconds from 10 to 86400")
    ramp_s: float = Field(default=0.0, ge=0, le=3_600, description="send seconds from 0 to 3600")


class JobOrder(_Order):
    """Submit a job of that many GPUs."""

    gpus: int = Field(ge=1, description="send a whole number of GPUs, 1 or more")
    kind: str = Field(min_length=1, max_length=40, description="send one of the kinds of work the page offers")


class ResetOrder(_Order):
    """Put the demo back to its start."""


OrderT = TypeVar("OrderT", bound=_Order)


def add_controls(app: web.Application, controls: Controls) -> None:
    """Give the application the routes that change something."""
    for name, model, carry_out in (
        ("limit", LimitOrder, lambda order: _set_limit(controls, order)),
        ("event", EventOrder, lambda order: controls.start_event(order.depth_frac, order.duration_s, order.ramp_s)),
        ("job", JobOrder, lambda order: _submit_job(controls, order)),
        ("reset", ResetOrder, lambda _order: controls.reset()),
    ):
        app.router.add_post(f"/api/controls/{name}", _route(model, carry_out))


def _route(
    model: type[OrderT], carry_out: Callable[[OrderT], Awaitable[Refusal | None]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        order = _read(model, await request.read())
        refused = order if isinstance(order, Refusal) else await carry_out(order)
        if refused is not None:
            return refusal(400, refused.error, refused.field, refused.fix)
        return web.json_response({"done": True})

    return answer


def _read(model: type[OrderT], body: bytes) -> OrderT | Refusal:
    try:
        return model.model_validate(orjson.loads(body or b"{}"))
    except orjson.JSONDecodeError as broken:
        return Refusal(f"the body is not JSON: {broken}", "body", "send one JSON object")
    except ValidationError as broken:
        first = broken.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "body"
        return Refusal(f"{name}: {first['msg'].lower()}", name, _fix(model, name))


def _fix(model: type[_Order], name: str) -> str:
    known = model.model_fields.get(name)
    if known is not None and known.description:
        return known.description
    return f"send only {', '.join(model.model_fields)}" if model.model_fields else "send an empty JSON object"


async def _set_limit(controls: Controls, order: LimitOrder) -> Refusal | None:
    low_w, high_w = controls.limit_range_w
    if low_w <= order.limit_w <= high_w:
        return await controls.set_limit(order.limit_w)
    fix = f"send watts from {low_w:.0f} to {high_w:.0f}"
    return Refusal(f"{order.limit_w:.0f} W is out of this site's range", "limit_w", fix)


async def _submit_job(controls: Controls, order: JobOrder) -> Refusal | None:
    if order.gpus > controls.gpus_max:
        fix = f"send at most {controls.gpus_max}"
        return Refusal(f"the site has no {order.gpus} GPUs", "gpus", fix)
    if order.kind not in controls.kinds:
        return Refusal(f"no kind of work is called {order.kind}", "kind", f"send one of {', '.join(controls.kinds)}")
    return await controls.submit_job(order.gpus, order.kind)
