"""What runs, as the agents see it on their cards, where no scheduler tells: named jobs, and work that nobody named.

Such jobs can be throttled and nothing else: there is nobody here who could pause or shrink them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from wattlease.core.actions import Plan
from wattlease.core.api import PowerProfile
from wattlease.core.memory import Memory
from wattlease.core.model import NONE, Floats, Ints, Jobs, JobState, Site, Snapshot, Terms
from wattlease.core.terms import terms_of
from wattlease.runtime.controller.workload import Ask
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.report import CardReport

BUSY_FRAC = 0.15
"""A card that draws this share of the way from idle to its rating works, whether anyone has named its job or not."""

NOBODYS = "("
"""How the name of a part begins that no one job holds: what is idle, and others together."""

LULL_S = 60.0
"""Work that nobody named is over when its cards were idle for so long."""


def bare_terms(profiles: tuple[PowerProfile, ...]) -> tuple[Terms, ...]:
    """Each profile's terms without what only a scheduler could do, and at the end those of work without a profile."""
    return (*(_throttled(terms_of(p)) for p in profiles), _throttled(Terms(name="default")))


def _throttled(terms: Terms) -> Terms:
    return replace(terms, pausable=False, stoppable=False, steps=(), variants=())


class BareWork:
    """Follows from tick to tick what the cards of a site are working on."""

    asks: Mapping[str, Ask] = {}
    asleep: frozenset[str] = frozenset()

    def __init__(self, profiles: tuple[PowerProfile, ...], clock: Now = steady_s) -> None:
        self.came = asyncio.Event()  # never set: the cards' agents tell what works
        self._clock = clock  # a wall clock may leap, and nobody has worked any longer for that
        self._since_s: dict[str, float] = {}
        self._busy_s: dict[int, float] = {}
        self.agree(profiles)

    def agree(self, profiles: tuple[PowerProfile, ...]) -> None:
        """Hold to these profiles from now on."""
        self._profiles = profiles
        self.terms = bare_terms(profiles)

    def begin(self) -> None:
        """Nothing was done before."""

    def act(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Caps go with the leases; there is nothing else to do."""

    def let_go(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Nothing is held but by leases."""

    async def run(self) -> None:
        """Look at nothing: the cards report by themselves."""
        await asyncio.Event().wait()

    def jobs(self, site: Site, cards: list[CardReport | None], power_w: Floats, now_s: float) -> tuple[Jobs, Ints]:
        """The jobs, by name, and each card's place among them; `cards` and `power_w` stand beside `Site.gpus`."""
        steady_s = self._clock()
        names = [self._name(site, g, card, float(power_w[g]), steady_s) for g, card in enumerate(cards)]
        ids = sorted({name for name in names if name})
        place = {name: j for j, name in enumerate(ids)}
        job = np.array([place[name] if name else NONE for name in names], np.int64)
        self._since_s = {name: self._since_s.get(name, steady_s) for name in ids}
        return self._columns(site, ids, job, now_s - steady_s), job

    def _name(self, site: Site, g: int, card: CardReport | None, power_w: float, steady_s: float) -> str:
        """The job of the largest share of a card, else its node's work where it draws more than an idle card."""
        shares = [share for share in card.shares if not share.job.startswith(NOBODYS)] if card else []
        if shares:
            return max(shares, key=lambda share: (share.share_frac, share.job)).job
        model = site.models[int(site.gpus.model[g])]
        if power_w > model.idle_w + BUSY_FRAC * (model.rated_w - model.idle_w):
            self._busy_s[g] = steady_s
        elif card and card.shares:  # it idles, and whoever knows jobs says that nobody holds it
            self._busy_s.pop(g, None)
        busy = steady_s - self._busy_s.get(g, -np.inf) < LULL_S
        return f"work on {site.nodes.id[int(site.gpus.node[g])]}" if busy else ""

    def _columns(self, site: Site, ids: list[str], job: Ints, unix_s: float) -> Jobs:
        """Their rows; `unix_s` is what the wall clock is ahead of the steady one."""
        count = len(ids)
        first = np.array([int(np.argmax(job == j)) for j in range(count)], np.int64)
        since_s = np.array([self._since_s[name] for name in ids]) + unix_s
        unknown = np.full(count, np.nan)
        return Jobs(
            id=tuple(ids),
            name=tuple(ids),
            owner=tuple(name.partition("/")[0] if "/" in name else "" for name in ids),
            cluster=tuple(site.nodes.cluster[int(site.gpus.node[g])] for g in first),
            terms=np.array([self._terms(name) for name in ids], np.int64),
            state=np.full(count, int(JobState.RUNNING), np.int64),
            gpus=np.bincount(job[job != NONE], minlength=count).astype(np.int64),
            model=site.gpus.model[first],
            rank=np.arange(count),
            submitted_s=since_s,
            since_s=since_s,
            left_s=unknown,
            checkpoint_age_s=np.zeros(count),
            speed_frac=unknown,
            batch_frac=np.ones(count),
            variant=np.full(count, NONE, np.int64),
        )

    def _terms(self, name: str) -> int:
        """The first profile whose names match, else the last terms."""
        for t, profile in enumerate(self._profiles):
            if any(fnmatchcase(name, pattern) for pattern in profile.spec.selector.names):
                return t
        return len(self._profiles)
