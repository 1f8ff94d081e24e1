"""What no plan may do: each guard strikes points before the fit sees them, so that the fit finds another way.

Rule 1: a job that changed state within its dwell keeps its state; its cap may still move. One that was released and has
    not begun has no work to lose: it waits again where a running one's contract is broken.
Rule 2: a job whose cards are not all heard is never raised.
Rule 3: between the slow ticks nothing changes state.
"""

from __future__ import annotations

import numpy as np

from wattlease.core.estimate import Estimate
from wattlease.core.memory import Memory
from wattlease.core.model import Bools, Floats, Ints
from wattlease.core.offers import Kind, View


def keeps_state(view: View, kinds: Ints, sizes: Ints) -> Bools:
    """Points that leave a job as it is but for its cap, [points, jobs]."""
    kinds, sizes = kinds[:, None], sizes[:, None]
    return (kinds == view.kind) & ((kinds != int(Kind.RUN)) | (sizes == view.size))


def unheard(known: Estimate, view: View) -> Bools:
    """Running jobs with a card that cannot be believed."""
    return ~view.off & ~known.job_fresh


def never_raised(cap_w: Floats, memory: Memory, quiet: Bools) -> Floats:
    """Caps with those of unheard jobs at or below what they were."""
    return np.where(quiet, np.minimum(cap_w, memory.jobs.cap_w), cap_w)
