"""The linear programme behind a storage plan, without units: solved by HiGHS, never both ways at once.

Power counts in the battery's larger power limit and energy in steps of it, money in the largest price, so that a rack
and a campus look alike to the solver's tolerances. Columns: charge, discharge and energy in store (H each), the peak,
what the store has lost at the end, the worst excess left, and the excess covered (K, one for each step that has some).

Simultaneous charge and discharge is ruled out by two facts. At a price of zero or more, netting the two keeps the store
and saves the losses, so an optimum never has both. Under a negative price burning energy would pay; where the solver
wants that, all such steps are solved again with one direction each, that of their net flow. The netted schedule and
idling both stay open to the second run, so the plan still never costs more than doing nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from wattlease.core.model import Floats, Ints

DUST = 1e-6
"""Fraction of the battery's power that counts as zero: ten times the solver's tolerance."""

Sparse = sparse.csr_array[np.float64, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Programme:
    """What the battery may do at each step, and what that costs.

    `floor` is what must be in store at the end of each step, `charge` and `discharge` the most it may move, `excess`
    what it should cover. `windows` turns steps into the means whose highest, if over `peak`, is paid for. To have a
    unit in store at the end of a step is worth `ready_worth`. At the end a unit more than at the start is worth
    `gain_worth`, a unit less costs `loss_cost`, which is no smaller.
    """

    way_frac: float
    start: float
    full: float
    floor: Floats
    charge: Floats
    discharge: Floats
    excess: Floats
    draw: Floats
    windows: Sparse
    peak: float
    charge_cost: Floats
    discharge_cost: Floats
    gain_worth: float
    loss_cost: float
    ready_worth: float
    peak_cost: float
    excess_cost: float

    @property
    def steps(self) -> int:
        """H."""
        return len(self.draw)


@dataclass(frozen=True, slots=True)
class Flows:
    """An optimum, before it is put exactly into its bounds."""

    charge: Floats
    discharge: Floats
    stored: Floats


def solve(programme: Programme) -> tuple[Floats, Floats] | str:
    """Net power (positive discharges) and energy in store at the end of each step; or why HiGHS failed."""
    flows = _optimum(programme)
    if isinstance(flows, Flows) and (np.minimum(flows.charge, flows.discharge) > DUST).any():
        flows = _optimum(_one_way(programme, flows))
    return flows if isinstance(flows, str) else _walk(programme, flows.stored)


def _one_way(programme: Programme, flows: Flows) -> Programme:
    """Leave only the direction of the net flow where being paid to draw makes burning worth while."""
    paid = programme.charge_cost < 0
    falls = programme.way_frac**2 * flows.charge < flows.discharge
    return replace(
        programme,
        charge=np.where(paid & falls, 0.0, programme.charge),
        discharge=np.where(paid & ~falls, 0.0, programme.discharge),
    )


def _optimum(programme: Programme) -> Flows | str:
    steps, short = programme.steps, np.flatnonzero(programme.excess)
    excess, free = programme.excess[short], np.full(3, np.inf)
    least = (np.zeros(2 * steps), programme.floor, [programme.peak, 0.0, 0.0], np.zeros(len(short)))
    most = (programme.charge, programme.discharge, np.full(steps, programme.full), free, excess)
    result = milp(
        _cost(programme, len(short)),
        constraints=_rows(programme, short),
        bounds=Bounds(np.concatenate(least), np.concatenate(most)),
        options={"presolve": False},  # nothing here is redundant, and looking for it takes two fifths of the time
    )
    if result.status != 0 or result.x is None:
        return str(result.message)
    return Flows(*result.x[: 3 * steps].reshape(3, steps))


def _cost(programme: Programme, excesses: int) -> Floats:
    """Cost of one unit of each column.

    The worst excess costs a tenth of what all of it does: enough to spread what is left, too little to leave more.
    """
    stored = np.full(programme.steps, -programme.ready_worth)
    stored[-1] -= programme.gain_worth
    lost, worst = programme.loss_cost - programme.gain_worth, 0.1 * programme.excess_cost
    single, covered = [programme.peak_cost, lost, worst], np.full(excesses, -programme.excess_cost)
    return np.concatenate([programme.charge_cost, programme.discharge_cost, stored, single, covered])


def _rows(programme: Programme, short: Ints) -> LinearConstraint:
    """The store follows its flows; no window passes the peak; a loss is seen; discharge covers; no excess is worse."""
    windows, excesses = programme.windows.shape[0], len(short)
    start = np.zeros(programme.steps)
    start[0] = programme.start
    left = (np.zeros(excesses), -programme.excess[short])
    at_most = np.concatenate([-(programme.windows @ programme.draw), [-programme.start], *left])
    at_least = np.full(windows + 1 + 2 * excesses, -np.inf)
    return LinearConstraint(
        _matrix(programme, short), np.concatenate([start, at_least]), np.concatenate([start, at_most])
    )


def _matrix(programme: Programme, short: Ints) -> Sparse:
    """The rows' coefficients, entry by entry: to stack sparse blocks takes longer than to solve them."""
    steps, count, way_frac, windows = programme.steps, len(short), programme.way_frac, programme.windows.tocoo()
    each, each_short, seen = np.arange(steps), np.arange(count), steps + np.arange(windows.shape[0])
    loss, peak, lost, worst, covered = steps + len(seen), 3 * steps, 3 * steps + 1, 3 * steps + 2, 3 * steps + 3
    entries: list[tuple[ArrayLike, ArrayLike, ArrayLike]] = [
        (each, each, -way_frac),
        (each, steps + each, 1.0 / way_frac),
        (each, 2 * steps + each, 1.0),
        (each[1:], 2 * steps + each[:-1], -1.0),
        (steps + windows.row, windows.col, windows.data),
        (steps + windows.row, steps + windows.col, -windows.data),
        (seen, peak, -1.0),
        (loss, [3 * steps - 1, lost], -1.0),
        (loss + 1 + each_short, steps + short, -1.0),
        (loss + 1 + each_short, covered + each_short, 1.0),
        (loss + 1 + count + each_short, worst, -1.0),
        (loss + 1 + count + each_short, covered + each_short, -1.0),
    ]
    even = [np.broadcast_arrays(*entry) for entry in entries]
    row, column, value = (np.concatenate(part) for part in zip(*even, strict=True))
    return sparse.csr_array((value, (row, column)), shape=(loss + 1 + 2 * count, covered + count))


def _walk(programme: Programme, stored: Floats) -> tuple[Floats, Floats]:
    """Follow the solver's store step by step, exactly inside every bound and without its dust."""
    power, energy = np.zeros(programme.steps), np.empty(programme.steps)
    now, way_frac = programme.start, programme.way_frac
    for step, wanted in enumerate(np.clip(stored, programme.floor, programme.full)):
        gain = min(max(wanted - now, -programme.discharge[step] / way_frac), programme.charge[step] * way_frac)
        if abs(gain) > DUST:
            power[step] = -gain / way_frac if gain > 0 else -gain * way_frac
            now += gain
        energy[step] = now
    return power, energy
