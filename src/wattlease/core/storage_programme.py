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
    what it should cover. `windows` turns steps into the means whose highest, if over `peak`, is paid for. At the end
    a unit more than at the start is worth `gain_worth`, a unit less costs `loss_cost`, which is no smaller.
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
    stored = np.zeros(programme.steps)
    stored[-1] = -programme.gain_worth
    lost, worst = programme.loss_cost - programme.gain_worth, 0.1 * programme.excess_cost
    single, covered = [programme.peak_cost, lost, worst], np.full(excesses, -programme.excess_cost)
    return np.concatenate([programme.charge_cost, programme.discharge_cost, stored, single, covered])


def _rows(programme: Programme, short: Ints) -> LinearConstraint:
    """The store follows its flows; no window passes the peak; a loss is seen; discharge covers; no excess is worse."""
    steps, excesses, windows, way_frac = programme.steps, len(short), programme.windows, programme.way_frac
    each, before, one = _eye(steps), sparse.eye_array(steps, k=-1, format="csr"), _eye(3)
    pick, covered, peak, worst = each[short], _eye(excesses), _ones(windows.shape[0]), _ones(excesses)
    rows: list[list[Sparse]] = [
        [-way_frac * each, (1.0 / way_frac) * each, each - before, _none(steps, 3 + excesses)],
        [windows, -windows, _none(windows.shape[0], steps), -peak, _none(windows.shape[0], 2 + excesses)],
        [_none(1, 2 * steps), -each[-1:], -one[1:2], _none(1, excesses)],
        [_none(excesses, steps), -pick, _none(excesses, steps + 3), covered],
        [_none(excesses, 3 * steps + 2), -worst, -covered],
    ]
    matrix: Sparse = sparse.vstack([sparse.hstack(row) for row in rows], format="csr")
    start = np.zeros(steps)
    start[0] = programme.start
    left = (np.zeros(excesses), -programme.excess[short])
    at_most = np.concatenate([-(windows @ programme.draw), [-programme.start], *left])
    at_least = np.full(len(at_most), -np.inf)
    return LinearConstraint(matrix, np.concatenate([start, at_least]), np.concatenate([start, at_most]))


def _eye(size: int) -> Sparse:
    return sparse.eye_array(size, format="csr")


def _ones(rows: int) -> Sparse:
    return sparse.csr_array(np.ones((rows, 1)))


def _none(rows: int, columns: int) -> Sparse:
    return sparse.csr_array((rows, columns))


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
