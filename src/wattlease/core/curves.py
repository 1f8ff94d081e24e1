"""Speed against watts: a library of measured curves, and each job's own, learned while it runs.

A curve is a column of 16 relative speeds on `GRID`; the grid is the job's draw as a fraction of its own uncapped draw,
speed 1 is uncapped. Rule 1: a curve never falls, and ends at 1. Rule 2: it is concave from half draw up, so that the
first watts are the cheapest; below that it is what was measured. Rule 3: nothing learned leaves the two envelopes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from wattlease.core.gpu_models import GPU_MODELS, GpuModel, gpu_model
from wattlease.core.measured import BATCH_STEPS, MEMORY_BOUND, TRACKED, shape_of
from wattlease.core.model import Bools, Floats, Ints, Step

__all__ = [
    "CURVES",
    "DEFAULT",
    "GPU_MODELS",
    "GRID",
    "KINDS",
    "SHAPE_VAR",
    "TRACK_FRAC",
    "Curve",
    "GpuModel",
    "batch_steps",
    "curve_for",
    "draw_for",
    "from_points",
    "gpu_model",
    "learn",
    "shaped",
    "speed_at",
    "track_frac",
]

GRID = np.linspace(0.25, 1.0, 16)
"""Draw as a fraction of the job's uncapped draw; read only."""
GRID.flags.writeable = False

KINDS = ("Training", "Inference", "Generation", "Batch", "Interactive")

SHAPE_VAR = 0.25
"""Variance of a job's shape before anything was learned."""

_LEAST_VAR = 0.0025
"""A shape never counts as known better than this, so that a job which changes its ways is learned again."""

_HALF = int(np.searchsorted(GRID, 0.5 - 1e-9))
_STEP = float(GRID[1] - GRID[0])
_FLAT = np.array(MEMORY_BOUND)
_STEEP = GRID
_TELLING_FRAC = 0.98  # nearer to uncapped, all curves meet
_ABSURD_SPEED = 1.25  # above this the job's idea of uncapped is wrong
_SAME = 1e-9
_LEAST_REACH = 1e-6
_LEAST_NOISE = 1e-6
_DIP_FRAC = 0.05  # of a user's sweep: less than this is noise


@dataclass(frozen=True, slots=True)
class Curve:
    """Relative speed at each draw of `GRID`, and the measurement it is from."""

    name: str
    speed_frac: tuple[float, ...]
    source: str


TRACK_FRAC: Mapping[str, float] = MappingProxyType({family: frac for family, (frac, _) in TRACKED.items()})
"""Mean draw over cap where the cap bites, by GPU family."""


def track_frac(gpu_model_name: str) -> float:
    """What the card draws of a cap that bites; 1 for an unknown card, which is the worst."""
    model = gpu_model(gpu_model_name)
    return TRACK_FRAC[model.family] if model else 1.0


def batch_steps(gpu_model_name: str, kind: str) -> tuple[Step, ...]:
    """Smaller batches that serving on this card may take, largest first; other work has none worth taking."""
    model = gpu_model(gpu_model_name)
    if model is None or kind != "Inference":
        return ()
    return BATCH_STEPS["B200" if model.family.startswith("B") else "H100"]


def from_points(draw_frac: Sequence[float], speed_frac: Sequence[float]) -> tuple[float, ...]:
    """A measured sweep on `GRID`: fractions of the uncapped draw and speed, in any order.

    Runs straight between the points, to (1, 1), which holds by definition, and to (0, 0). A dip of a few percent is
    taken for noise. ValueError says what cannot be meant.
    """
    draw, speed = np.asarray(draw_frac, dtype=float), np.asarray(speed_frac, dtype=float)
    _refuse_nonsense(draw, speed)
    order = np.lexsort((speed, draw))
    draw, speed = draw[order], np.minimum(speed[order], 1.0)
    _refuse_a_fall(draw, speed)
    capped = draw < 1.0 - _SAME
    draw, speed = draw[capped], np.maximum.accumulate(speed[capped])
    on_grid = np.interp(GRID, np.concatenate(([0.0], draw, [1.0])), np.concatenate(([0.0], speed, [1.0])))
    on_grid[_HALF:] = _concave(GRID[_HALF:], on_grid[_HALF:])
    return tuple(on_grid.tolist())


def _refuse_nonsense(draw: Floats, speed: Floats) -> None:
    if draw.ndim != 1 or draw.shape != speed.shape:
        raise ValueError(f"a sweep has one speed for each draw, not {speed.size} speeds for {draw.size} draws")
    if draw.size < 2:
        raise ValueError(f"a sweep needs at least two points, not {draw.size}")
    for wrong in draw[~((draw > 0.0) & (draw <= 1.0 + _SAME))]:
        raise ValueError(f"draw {wrong:g} is no fraction of the uncapped draw; write one above 0, up to 1")
    for wrong in speed[~((speed >= 0.0) & (speed <= 1.0 + _DIP_FRAC))]:
        raise ValueError(f"speed {wrong:g} is no fraction of the uncapped speed; write one from 0 to 1")


def _refuse_a_fall(draw: Floats, speed: Floats) -> None:
    """Refuse points, sorted by draw, where more watts are slower than noise explains."""
    best = np.where(draw >= 1.0 - _SAME, 1.0, np.maximum.accumulate(speed))
    for at in np.flatnonzero(speed < best - _DIP_FRAC):
        text = f"speed {speed[at]:g} at draw {draw[at]:g} is below {best[at]:g}"
        raise ValueError(f"{text}, which less draw reached or uncapped is by definition; measure that point again")


def _concave(x: Floats, y: Floats) -> Floats:
    """The least concave curve on or above the points, on the same x."""
    corner: list[int] = []
    for i in range(len(x)):
        while len(corner) >= 2 and _under(x, y, corner[-2], corner[-1], i):
            corner.pop()
        corner.append(i)
    return np.interp(x, x[corner], y[corner])


def _under(x: Floats, y: Floats, left: int, mid: int, right: int) -> bool:
    return bool((y[mid] - y[left]) * (x[right] - x[left]) <= (y[right] - y[left]) * (x[mid] - x[left]))


def _library(family: str, kind: str) -> Curve:
    shape, source = shape_of(family, kind)
    return Curve(f"{family} {kind}", from_points(GRID.tolist(), shape), source)


CURVES: Mapping[tuple[str, str], Curve] = MappingProxyType(
    {(family, kind): _library(family, kind) for family in TRACKED for kind in KINDS}
)
"""The library, by GPU family and kind of work."""

DEFAULT = Curve(
    "unknown",
    tuple(map(min, *(curve.speed_frac for curve in CURVES.values()))),
    "not measured: at each draw the lowest speed of any card and kind in the library",
)
"""What holds for a card or a kind of work that the library does not know: it promises the least."""


def curve_for(gpu_model_name: str, kind: str) -> Curve:
    """The library's curve for a card, by any of its names, and a kind of work; `DEFAULT` where either is unknown."""
    model = gpu_model(gpu_model_name)
    return CURVES.get((model.family, kind), DEFAULT) if model else DEFAULT


def speed_at(speed: Floats, draw_frac: Floats) -> Floats:
    """Speed at a draw, row by row of f8[n, 16]; straight between grid points, and to nothing below them."""
    row, (left, weight) = np.arange(len(speed)), _place(draw_frac)
    on_grid = _between(speed[row, left], speed[row, left + 1], weight)
    return np.minimum(np.maximum(draw_frac / GRID[0], 0.0), 1.0) * on_grid


def draw_for(speed: Floats, speed_frac: Floats) -> Floats:
    """The least draw that keeps a speed, row by row of f8[n, 16]; at most 1, NaN for NaN."""
    wanted = np.minimum(np.maximum(speed_frac, 0.0), 1.0)
    above = np.minimum(np.count_nonzero(speed < wanted[:, None], axis=1), len(GRID) - 1)
    row = np.arange(len(speed))
    high, low = speed[row, above], np.where(above > 0, speed[row, above - 1], 0.0)
    base = np.where(above > 0, GRID[above - 1], 0.0)
    rise = np.where(high > low, high - low, 1.0)
    return base + (GRID[above] - base) * np.minimum((wanted - low) / rise, 1.0)


def shaped(prior: Floats, shape: Floats) -> Floats:
    """Curves f8[n, 16] bent by each job's shape: 1 is memory-bound and flat, -1 straight to nothing, 0 as it was."""
    curves = prior.copy()
    for rows, bound, envelope in ((shape > 0.0, np.maximum, _FLAT), (shape < 0.0, np.minimum, _STEEP)):
        own, bend = prior[rows], np.minimum(np.abs(shape[rows]), 1.0)[:, None]
        curves[rows] = np.minimum((1.0 - bend) * own + bend * bound(own, envelope), 1.0)
    curves[:, -1] = 1.0
    return curves


def learn(
    shape: Floats, shape_var: Floats, prior: Floats, draw_frac: Floats, speed_frac: Floats, noise: float
) -> tuple[Floats, Floats]:
    """Each job's shape and its variance after an observed speed at a draw that a cap holds down.

    The observation names the shape that would explain it exactly; a scalar Kalman step goes toward that. `noise` is
    the standard deviation of the speed. NaN, nonsense, and a draw at which all curves meet teach nothing. The caller
    passes NaN for a job that draws little of its own accord: that says nothing of what a cap would do.
    """
    told = np.flatnonzero(_tells(draw_frac, speed_frac))
    surprise, up, down = _leeway(prior, told, draw_frac[told], speed_frac[told])
    reach = np.maximum(np.where(surprise > 0.0, up, down), _LEAST_REACH)
    seen = np.clip(surprise / reach, -1.0, 1.0)
    believed, var = shape[told], shape_var[told]
    # the slope between what is believed and what is seen, so that a side on which nothing bends cannot trap a shape
    way = seen - believed
    bent = _bend(seen, up, down) - _bend(believed, up, down)
    slope = np.where(np.abs(way) > _LEAST_REACH, bent / np.where(way == 0.0, 1.0, way), reach)
    informed = var * slope * slope
    gain = informed / (informed + max(noise, _LEAST_NOISE) ** 2)
    learned, learned_var = shape.copy(), shape_var.copy()
    learned[told] = np.clip(believed + gain * way, -1.0, 1.0)
    learned_var[told] = np.maximum(var * (1.0 - gain), np.minimum(var, _LEAST_VAR))
    return learned, learned_var


def _leeway(prior: Floats, row: Ints, draw_frac: Floats, speed_frac: Floats) -> tuple[Floats, Floats, Floats]:
    """How far an observation lies above its row's curve, and how far that may bend up and down at this draw."""
    left, weight = _place(draw_frac)
    own = _between(prior[row, left], prior[row, left + 1], weight)
    flat = _between(_FLAT[left], _FLAT[left + 1], weight)
    return speed_frac - own, np.maximum(flat - own, 0.0), np.maximum(own - draw_frac, 0.0)


def _bend(shape: Floats, up: Floats, down: Floats) -> Floats:
    return shape * np.where(shape > 0.0, up, down)


def _tells(draw_frac: Floats, speed_frac: Floats) -> Bools:
    """Whether an observation can be meant, and is made where a cap may hold the draw down; never for NaN."""
    held = (draw_frac >= GRID[0]) & (draw_frac <= _TELLING_FRAC)
    return held & (speed_frac > 0.0) & (speed_frac <= _ABSURD_SPEED)


def _place(draw_frac: Floats) -> tuple[Ints, Floats]:
    """The grid point left of each draw, and the weight of the one to its right; the weight of a NaN draw is NaN."""
    at = np.minimum(np.maximum((draw_frac - GRID[0]) / _STEP, 0.0), len(GRID) - 1.0)
    left = np.fmin(at, len(GRID) - 2.0).astype(np.int64)
    return left, at - left


def _between(near: Floats, far: Floats, weight: Floats) -> Floats:
    return (1.0 - weight) * near + weight * far
