"""What levers see and what they answer: columns of jobs in, columns of offers out.

An offer is a point: watts drawn and what it costs. The watts that count against the limit are those of `counted_w`:
with a budget that counts limits, what the cap lets a job draw; with one that counts draw, what it is expected to draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from wattlease.core.model import Bools, Floats, Ints

NEED_FRAC = 1.06
"""Cap that leaves a job alone, as a multiple of its mean draw: cards vary by 5-7 % at 0.1 s (A100 field trial)."""

WAKE_FRAC = 1.05
"""Above the draw that a contract needs as the curve has it, which was learned to a few percent."""


class Kind(IntEnum):
    """What an offer is, told apart only by the levers and by the sentence."""

    RUN = 0  # at the cap of its column; the first column of a size is that size uncapped
    PAUSE = 1  # a running job pauses, a paused one stays so
    WAIT = 2  # a waiting job goes on waiting
    STORE = 3  # a battery gives power


class Tier(IntEnum):
    """Harm in order: a lower tier is used up before the next is touched."""

    CONTRACT = 0
    DEEP = 1  # no contract is broken, but under half of rated power the same work takes more energy
    BREACH = 2
    PROTECTED = 3


@dataclass(frozen=True, slots=True)
class View:
    """Columns of jobs, watts a GPU.

    `off` are the jobs that do not run now, so that running would add watts and perhaps a restart.
    `need_w` is the draw that it wants now, `floor_w` the draw that its contract needs when it works in earnest.
    `ready_frac` is the share of its cards that it has or could have now. Of one that swaps models `gpus` are those it
    has with its own, and `own_share` how many it holds now for each of them.
    `kind` and `size` are what a job does now, or was told to do if that is `pending`. `worth_per_h` is what an hour of
    the whole job is worth; `hours` how long the shortage is expected to last; `floor_cost` is 0 where saving energy
    alone is no reason to act; `sizes` is [jobs, sizes, 4] of draw, speed x quality, swap seconds, cards; `levels` are
    indices of `curves.GRID`. `gone` says that a job which is told to pause counts as if it had done so.
    """

    state: Ints
    off: Bools
    kind: Ints
    pending: Bools
    gpus: Floats
    own_share: Floats
    ready_frac: Floats
    need_w: Floats
    floor_w: Floats
    track_frac: Floats
    idle_w: Floats
    min_cap_w: Floats
    max_cap_w: Floats
    rated_w: Floats
    speed: Floats
    size: Ints
    sizes: Floats
    worth_per_h: Floats
    floor_frac: Floats
    pausable: Bools
    stoppable: Bools
    protected: Bools
    lost_s: Floats
    restart_s: Floats
    hours: float
    energy_per_wh: float
    floor_cost: float
    counts_limits: bool
    gone: bool
    levels: Ints

    def counted_w(self, draw_w: Floats) -> Floats:
        """Watts that count for a GPU that is held to `draw_w`; the last axis is jobs."""
        return draw_w / self.track_frac if self.counts_limits else draw_w

    def alone_w(self, draw_w: Floats) -> Floats:
        """The cap that leaves a job alone: some above its draw, and never so low that its contract would be broken
        when it wakes from a lull."""
        return np.minimum(np.maximum(draw_w * NEED_FRAC, self.floor_w * WAKE_FRAC / self.track_frac), self.max_cap_w)

    def left_frac(self, cards_frac: Floats) -> Floats:
        """Cards that stand idle once a job runs on `cards_frac` of its own, beyond those that do now; for each of its
        own cards. Where that is not known it keeps those that it has, and takes its own where it has none."""
        known = np.where(np.isnan(cards_frac), np.where(self.off, 1.0, self.own_share), cards_frac)
        return np.where(self.off, 0.0, self.own_share) - known

    def stands_w(self, cap_w: Floats) -> Floats:
        """Watts that count for a whole job that runs under a cap that bites."""
        return self.held_w(cap_w) * self.gpus * self.ready_frac

    def held_w(self, cap_w: Floats) -> Floats:
        """Watts that count for a GPU under a cap that bites."""
        return cap_w if self.counts_limits else cap_w * self.track_frac

    def promised_w(self) -> Floats:
        """Watts that count for a whole job at what its contract needs, or at its least where that asks for no more."""
        own = (self.kind == int(Kind.RUN)) & (self.size == 0)
        least_w = self.min_cap_w * self.track_frac
        draw_w = np.where(own, np.maximum(self.floor_w, least_w), least_w)
        return np.where(self.off, 0.0, self.counted_w(draw_w) * self.gpus)

    def after_energy(self, harm: Floats, draw_w: Floats) -> Floats:
        """Harm less the energy that is saved against the job's own uncapped draw, at least `floor_cost`."""
        saved = (self.need_w - draw_w) * (self.gpus * self.hours * self.energy_per_wh)
        return np.maximum(harm - saved, self.floor_cost)

    def one_off(self, seconds: Floats) -> Floats:
        """Money lost when the whole job does nothing useful for `seconds`."""
        return self.worth_per_h * seconds / 3600.0


@dataclass(frozen=True, slots=True)
class Offers:
    """One lever's points, [points, jobs]; an infinite cost is no offer.

    `watts_w` counts against the limit for the whole job beyond its idle cards where it does not run yet; `draw_w` is
    the expected draw of one GPU; `speed_frac` is speed x quality kept. `kind` and `size` are one value a point.
    """

    kind: tuple[Kind, ...]
    size: tuple[int, ...]
    watts_w: Floats
    draw_w: Floats
    cost: Floats
    tier: Ints
    speed_frac: Floats
