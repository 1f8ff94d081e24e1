"""The best that a given power could buy: exact splits of watts among jobs, to judge a policy by.

A job's sweep is its speed against the watts of each of its GPUs, measured at a few caps and straight in between. All
its GPUs draw the same: the slowest rank sets the pace.

Real sweeps are not concave: pt_mpt_13b_sm of the Phoenix trial gains more from 350 to 400 W than from 300 to 350 W.
Filling stretches by steepness would buy the second one without the first and so promise what no split can keep
(0.9006 for that trial at 75 %, where 0.8960 is the most), hence the integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, brentq, milp

from wattlease.core.errors import BudgetError
from wattlease.core.model import Floats


@dataclass(frozen=True, slots=True)
class Sweep:
    """A job's measured points by rising cap: what each GPU drew, and the speed against uncapped.

    `floor_frac` is the least speed that the job's class allows.
    """

    gpus: int
    floor_frac: float
    cap_w: Floats
    power_w: Floats
    speed_frac: Floats


@dataclass(frozen=True, slots=True)
class Split:
    """Watts per GPU and speed of each job, and the speed of the mean GPU."""

    gpu_w: tuple[float, ...]
    speed_frac: tuple[float, ...]
    throughput_frac: float


def best_split(sweeps: Sequence[Sweep], limit_w: float) -> Split:
    """The split of at most `limit_w` that gives the highest GPU-weighted speed with every class kept.

    Exact even where a sweep is not concave: a job stands between two neighbouring points of its sweep, which a
    mixed-integer programme (HiGHS) chooses. BudgetError if the floors alone need more than the limit.
    """
    points = [len(s.power_w) for s in sweeps]
    owner = np.arange(len(sweeps))[:, None] == np.repeat(np.arange(len(sweeps)), points)
    gpus = np.repeat([float(s.gpus) for s in sweeps], points)
    power_w = np.concatenate([s.power_w for s in sweeps])
    speed = np.concatenate([s.speed_frac for s in sweeps])
    result = milp(
        c=np.concatenate([-gpus * speed, np.zeros(len(speed))]),
        constraints=_constraints(sweeps, owner.astype(float), gpus * power_w, speed, limit_w),
        bounds=Bounds(0, 1),
        integrality=np.repeat([0, 1], len(speed)),
        options={"mip_rel_gap": 1e-9},
    )
    if result.x is None:
        raise BudgetError(f"no split of {limit_w:.0f} W keeps every class; raise the limit or allow more loss")
    weight = result.x[: len(speed)]
    return _split(sweeps, owner @ (weight * power_w), owner @ (weight * speed))


def _constraints(
    sweeps: Sequence[Sweep], mine: Floats, watts: Floats, speed: Floats, limit_w: float
) -> list[LinearConstraint]:
    """Rows over the weight of every point, then a flag for the stretch that begins at it; `mine` says whose it is.

    Each job's weights sum to one, one of its stretches is chosen, and only that one's two ends carry weight.
    """
    none, every = np.zeros_like(mine), np.eye(len(watts))
    together = mine.T @ mine
    last = np.append(together.diagonal(offset=1) == 0, True)
    here, before = every * ~last, np.eye(len(watts), k=-1) * together
    return [
        LinearConstraint(np.hstack([mine, none]), 1, 1),
        LinearConstraint(np.hstack([none, mine * ~last]), 1, 1),
        LinearConstraint(np.hstack([none, mine * last]), 0, 0),
        LinearConstraint(np.hstack([every, -here - before]), -np.inf, 0),
        LinearConstraint(np.hstack([mine * speed, none]), [s.floor_frac for s in sweeps], np.inf),
        LinearConstraint(np.concatenate([watts, np.zeros(len(watts))]), -np.inf, limit_w),
    ]


def uniform_cap(sweeps: Sequence[Sweep], limit_w: float) -> Split:
    """One cap for every GPU, as high as the limit allows; classes are not asked. BudgetError below the lowest cap."""

    def drawn_w(cap_w: float) -> float:
        return sum(s.gpus * float(np.interp(cap_w, s.cap_w, s.power_w)) for s in sweeps)

    low_w, high_w = min(float(s.cap_w[0]) for s in sweeps), max(float(s.cap_w[-1]) for s in sweeps)
    if drawn_w(low_w) > limit_w:
        raise BudgetError(f"the lowest cap draws {drawn_w(low_w):.0f} W, over the limit of {limit_w:.0f} W")
    cap_w = high_w if drawn_w(high_w) <= limit_w else float(brentq(lambda w: drawn_w(w) - limit_w, low_w, high_w))
    gpu_w = np.array([np.interp(cap_w, s.cap_w, s.power_w) for s in sweeps])
    return _split(sweeps, gpu_w, np.array([np.interp(cap_w, s.cap_w, s.speed_frac) for s in sweeps]))


def _split(sweeps: Sequence[Sweep], gpu_w: Floats, speed_frac: Floats) -> Split:
    mean = np.average(speed_frac, weights=[s.gpus for s in sweeps])
    return Split(tuple(gpu_w.tolist()), tuple(speed_frac.tolist()), float(mean))
