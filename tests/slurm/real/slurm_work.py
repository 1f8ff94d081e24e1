"""What the cards of a job want to draw: by the job's name, with phases and noise as real work has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from zlib import crc32

import numpy as np
from slurm_placed import Placed

from wattlease.core.model import Floats


@dataclass(frozen=True, slots=True)
class Work:
    """Jobs of such names want `wants_w` a card, and `low_w` for the last `low_frac` of every `period_s`: a checkpoint,
    an evaluation, a wait for data. Jobs do not keep step with each other; cards of one job do, but for the noise."""

    pattern: str
    wants_w: float
    low_w: float = 0.0
    low_frac: float = 0.0
    period_s: float = 30.0
    noise_frac: float = 0.0

    def watts(self, job: Placed, at_s: float, chance: np.random.Generator) -> Floats:
        """What each card of the job wants now."""
        phase = math.modf(at_s / self.period_s + crc32(job.job.encode()) / 2**32)[0]
        level_w = self.low_w if phase >= 1.0 - self.low_frac else self.wants_w
        return level_w * (1.0 + self.noise_frac * chance.uniform(-1.0, 1.0, len(job.cards)))


def work_of(job: Placed, works: Sequence[Work]) -> Work:
    """The first whose pattern fits the job's name; a job that none fits is a mistake of the test."""
    for work in works:
        if fnmatch(job.name, work.pattern):
            return work
    raise AssertionError(f"job {job.job} is called {job.name}, and no Work fits that; add one, or Work('*', ...)")
