"""How the demand of jobs wavers: slowly, with their steps, and in the dips of checkpoints and stalls.

All of it is common to the GPUs of a job. A dip is the job's own doing and costs no speed: speed is counted against
the same job, with the same dips, uncapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wattlease.core.model import Floats, Ints
from wattlease.sim.columns import Columns
from wattlease.sim.scenario_site import Noise

NEVER = np.inf


@dataclass(frozen=True, slots=True)
class Habit:
    """A kind of work: parts of the scenario's slow noise and swing, their times, and whether it checkpoints."""

    slow: float
    slow_s: float
    swing: float
    swing_s: tuple[float, float]
    dips: bool


HABITS = {
    "Training": Habit(1.0, 240.0, 1.0, (4.0, 14.0), True),
    "Batch": Habit(1.5, 180.0, 0.7, (10.0, 40.0), True),
    "Inference": Habit(1.3, 90.0, 0.5, (15.0, 45.0), False),
    "Generation": Habit(1.3, 90.0, 0.5, (10.0, 30.0), False),
    "Interactive": Habit(3.0, 60.0, 1.0, (20.0, 60.0), False),
}
"""Swings are triangles, `turn` times a second from `angle` on. Training steps together at 0.07-0.25 Hz here; services
follow their requests, with smaller and slower swings."""


BLANKS: dict[str, float | int | bool] = {
    **dict.fromkeys(("spread", "slow_s", "swing_frac", "turn", "angle", "every_s", "first_frac", "drift"), 0.0),
    "dip_at_s": NEVER,
    "dip_s": 0.0,
    "dips": False,
    "saves": False,
}


class Phases:
    """Columns of every job's wavering, by the job's index."""

    def __init__(self, noise: Noise, kinds: Sequence[str], every_s: Floats, rng: np.random.Generator) -> None:
        self.noise = noise
        self.rng = rng
        self.of = Columns(BLANKS)
        self.append(kinds, every_s)

    def append(self, kinds: Sequence[str], every_s: Floats) -> None:
        """More jobs, after those that are there."""
        habits = [HABITS[k] for k in kinds]
        draws = self.rng.random((3, len(kinds)))
        low, high = (np.array([h.swing_s[i] for h in habits]) for i in (0, 1))
        new = self.of.grow(len(kinds))
        self.of["spread"][new] = self.noise.slow_percent / 100 * np.array([h.slow for h in habits])
        self.of["slow_s"][new] = [h.slow_s for h in habits]
        self.of["swing_frac"][new] = self.noise.swing_percent / 100 * np.array([h.swing for h in habits])
        self.of["turn"][new] = 1.0 / (low + (high - low) * draws[0])
        self.of["angle"][new] = draws[1]
        self.of["every_s"][new] = every_s
        self.of["first_frac"][new] = draws[2]
        self.of["drift"][new] = self.rng.standard_normal(len(kinds))
        self.of["dips"][new] = [h.dips for h in habits]

    def begin(self, job: int, now_s: float) -> None:
        """The job starts or runs on: its first checkpoint comes within one interval."""
        if self.of["dips"][job]:
            self._next_dip(job, now_s + self.of["every_s"][job] * self.of["first_frac"][job])

    def level(self, jobs: Ints, dt_s: float) -> Floats:
        """Demand against usual over the next `dt_s`, one step of a slow process further."""
        keep = np.exp(-dt_s / self.of["slow_s"][jobs])
        drift = self.of["drift"][jobs] * keep + np.sqrt(1 - keep**2) * self.rng.standard_normal(len(jobs))
        self.of["drift"][jobs] = drift
        return 1.0 + drift * self.of["spread"][jobs]

    def swing(self, jobs: Ints, at_s: Floats) -> Floats:
        """What steps and dips add to the level, [times, jobs + 1]; the last column, for idle cards, is zero."""
        swing = np.zeros((len(at_s), len(jobs) + 1))
        if not len(jobs):
            return swing
        inner = swing[:, :-1]
        turn = self.of["turn"][jobs]
        begin = at_s[0] * turn + self.of["angle"][jobs]
        wave = np.outer(at_s - at_s[0], turn) + (begin - np.floor(begin))
        wave -= np.floor(wave)
        wave -= 0.5
        np.abs(wave, out=wave)
        wave *= 4.0
        wave -= 1.0
        wave *= self.of["swing_frac"][jobs]
        inner[:] = wave
        near = np.flatnonzero(self.of["dip_at_s"][jobs] <= at_s[-1])
        if len(near):
            begin_s, long_s = self.of["dip_at_s"][jobs[near]], self.of["dip_s"][jobs[near]]
            passed_s = at_s[:, None] - begin_s
            inner[:, near] -= self.noise.dip_percent / 100 * ((passed_s >= 0) & (passed_s < long_s))
        return swing

    def ended(self, jobs: Ints, now_s: float) -> Ints:
        """Jobs whose dip was a checkpoint and is over: what they did until it began is saved. The next one is set."""
        over = jobs[self.of["dip_at_s"][jobs] + self.of["dip_s"][jobs] <= now_s]
        saved = over[self.of["saves"][over]]
        for job in over:
            self._next_dip(int(job), now_s + self.of["every_s"][job] * self.rng.uniform(0.95, 1.05))
        return saved

    def stall(self, job: int, now_s: float, stall_s: float) -> None:
        """The job stands still from now on; its next checkpoint comes one interval later."""
        self.of["dip_at_s"][job], self.of["dip_s"][job], self.of["saves"][job] = now_s, stall_s, False

    def _next_dip(self, job: int, at_s: float) -> None:
        self.of["dip_at_s"][job], self.of["dip_s"][job], self.of["saves"][job] = (
            at_s,
            self.rng.uniform(*self.noise.dip_seconds),
            True,
        )


def stalls(noise: Noise, start_s: float, duration_s: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Begin and length of every stall: one at a time of chance in each span."""
    every_s, longest_s = float(noise.stall_every_seconds), float(noise.stall_seconds[1])
    spans = pairwise(np.arange(start_s, start_s + duration_s + every_s, every_s))
    return [(rng.uniform(a, b - longest_s), rng.uniform(*noise.stall_seconds)) for a, b in spans]
