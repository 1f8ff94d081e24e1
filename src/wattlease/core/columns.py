"""Columns that levers, estimate and guards share: a job's terms and card spelled out, one value a job.

Tables are made once for each set of terms and card models, and kept: the same terms give the same tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from wattlease.core import curves
from wattlease.core.model import NONE, Bools, CardModel, Floats, Jobs, Site, Terms


@dataclass(frozen=True, slots=True)
class TermsTable:
    """`Terms` as columns, one row for each entry of `Site.terms`."""

    worth_per_gpu_h: Floats
    floor_frac: Floats
    pausable: Bools
    stoppable: Bools
    protected: Bools
    restart_s: Floats
    steps: int
    variants: int


@lru_cache(maxsize=16)
def terms_table(terms: tuple[Terms, ...]) -> TermsTable:
    """The columns of these terms; `floor_frac` is the least speed x quality that the contract allows."""
    return TermsTable(
        worth_per_gpu_h=np.array([t.value_per_gpu_h * t.weight for t in terms], float),
        floor_frac=np.array([1.0 - t.max_slowdown_frac for t in terms], float),
        pausable=np.array([t.pausable for t in terms], bool),
        stoppable=np.array([t.stoppable for t in terms], bool),
        protected=np.array([t.protected for t in terms], bool),
        restart_s=np.array([t.restart_s for t in terms], float),
        steps=max((len(t.steps) for t in terms), default=0),
        variants=max((len(t.variants) for t in terms), default=0),
    )


@lru_cache(maxsize=16)
def speed_table(terms: tuple[Terms, ...], models: tuple[CardModel, ...]) -> Floats:
    """Prior speed curves on `curves.GRID`, [terms, models, 16]: the owner's own sweep, else the library's."""
    table = np.empty((len(terms), len(models), len(curves.GRID)))
    for t, term in enumerate(terms):
        for m, model in enumerate(models):
            own = term.speed_frac or curves.curve_for(model.name, term.kind).speed_frac
            table[t, m] = own
    return table


def prior_speed(jobs: Jobs, site: Site) -> Floats:
    """Every job's curve before anything was learned of it, [jobs, 16]."""
    table: Floats = speed_table(site.terms, site.models)[jobs.terms, jobs.model]
    return table


@lru_cache(maxsize=16)
def size_table(terms: tuple[Terms, ...]) -> Floats:
    """Draw, speed x quality, swap seconds and cards of every size, [terms, 1 + steps + variants, 4]; NaN where there is
    none. Cards are a part of the job's own, NaN where one of its variants does not say.

    Size 0 is the job's own; then its smaller batches, largest first; then its smaller models.
    """
    shape = terms_table(terms)
    table = np.full((len(terms), 1 + shape.steps + shape.variants, 4), np.nan)
    for t, term in enumerate(terms):
        own = math.nan if any(v.cards_frac is None for v in term.variants) else 1.0
        table[t, 0] = (1.0, 1.0, 0.0, own)
        for k, step in enumerate(term.steps):
            table[t, 1 + k] = (step.draw_frac, step.speed_frac, 0.0, own)
        for k, variant in enumerate(term.variants):
            table[t, 1 + shape.steps + k] = (
                variant.draw_frac,
                variant.speed_frac * variant.quality_frac,
                variant.swap_s,
                math.nan if variant.cards_frac is None else variant.cards_frac,
            )
    return table


def size_now(jobs: Jobs, site: Site) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Which size each job runs at, as an index into `size_table`'s second axis."""
    table = terms_table(site.terms)
    size = np.zeros(len(jobs.id), np.int64)
    swapped = jobs.variant != NONE
    size[swapped] = 1 + table.steps + jobs.variant[swapped]
    for j in np.flatnonzero((jobs.batch_frac < 1.0) & ~swapped):
        size[j] = 1 + _nearest_step(site.terms[int(jobs.terms[j])], float(jobs.batch_frac[j]))
    return size


def own_share(jobs: Jobs, site: Site, cards: Floats) -> Floats:
    """How many of the cards in hand there are for each that a job has when it runs with its own model.

    A smaller model may be served by other and fewer cards; the terms speak of what all of them draw together. 1 where
    nothing can be swapped, and where no card is in hand.
    """
    swaps = np.array([bool(t.variants) for t in site.terms], bool)[jobs.terms]
    counts = swaps & (cards > 0) & (jobs.gpus > 0)
    return np.where(counts, cards / np.maximum(jobs.gpus, 1), 1.0)


def _nearest_step(terms: Terms, batch_frac: float) -> int:
    """The step that a job's batch is nearest to; a job whose batch is its own affair counts at its first step."""
    gaps = [abs(step.batch_frac - batch_frac) for step in terms.steps]
    return gaps.index(min(gaps)) if gaps else -1
