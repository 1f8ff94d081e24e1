"""Which job is on which card, as the columns that a block of steps needs; made anew only when it changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wattlease.core.model import NONE, Bools, Floats, Ints
from wattlease.sim.work import KINDS, Work


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of cards: their job's slot in `jobs` (`NONE`: idle), table row and uncapped draw.

    `by_slot` are the busy cards sorted by slot and `first` where each slot begins; `member` is
    [cards, clusters x kinds], with 1 where the card belongs; cards without a job are of the kind Idle.
    """

    jobs: Ints
    slot: Ints
    busy: Bools
    row: Ints
    full_w: Floats
    by_slot: Ints
    first: Ints
    member: Floats

    def least(self, column: Floats) -> Floats:
        """The lowest of a job's cards: the slowest rank sets the pace."""
        return np.minimum.reduceat(column[self.by_slot], self.first) if len(self.jobs) else np.empty(0)

    def total(self, column: Floats) -> Floats:
        """The sum over a job's cards."""
        return np.add.reduceat(column[self.by_slot], self.first) if len(self.jobs) else np.empty(0)


def layout_of(job: Ints, work: Work, card_cluster: Ints) -> Layout:
    """The layout of cards with these jobs."""
    busy = job != NONE
    placed = np.zeros(len(work.entries) + 1, dtype=bool)  # the last row takes the idle cards' NONE
    placed[job] = True
    jobs = np.flatnonzero(placed[:-1])
    slot_of = np.full(len(placed), NONE)
    slot_of[jobs] = np.arange(len(jobs))
    slot = slot_of[job]
    by_slot = np.argsort(slot, kind="stable")[int((~busy).sum()) :]
    kind = np.where(busy, work.of["kind"][job], len(KINDS) - 1)
    member = np.zeros((len(job), len(work.clusters) * len(KINDS)))
    member[np.arange(len(job)), card_cluster * len(KINDS) + kind] = 1.0
    return Layout(
        jobs=jobs,
        slot=slot,
        busy=busy,
        row=np.where(busy, work.of["row"][job], 0),
        full_w=np.where(busy, work.of["full_w"][job], 0.0),
        by_slot=by_slot,
        first=np.searchsorted(slot[by_slot], np.arange(len(jobs))),
        member=member,
    )
