"""Who would have been cut under a lower limit: the ticks of a record decided again under it, as shadow mode would.

Rule 1: what was drawn stays what it was, so each tick is judged by itself: what measurement corrects from tick to tick
    is left out, and a job that would not have been started shows as one that would have been paused.
Rule 2: a limit only ever lowers what a record had; events, schedules and parents hold as they did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from wattlease.core.actions import Plan
from wattlease.core.decide import decide
from wattlease.core.errors import WattleaseError
from wattlease.core.memory import FRESH, ScopesMemory
from wattlease.core.model import Site, Snapshot
from wattlease.runtime.losses import JobLoss, charge
from wattlease.runtime.record import HOLDS_S, Tick

SLOWED_FRAC = 0.005
"""A job that lost less of its work was left alone."""

UNMET_FRAC = 0.01
"""What is planned above a limit by more than this, no lever could have prevented."""


class NoScopeError(WattleaseError):
    """A budget that the record does not know."""


@dataclass(slots=True)
class JobCut(JobLoss):
    """What a limit takes from one job."""

    @property
    def is_cut(self) -> bool:
        """Whether it loses what its owner would notice."""
        return self.lost_s > SLOWED_FRAC * self.seen_s


@dataclass(slots=True)
class Hindsight:
    """What one limit takes from a record. `limit_w` None: the record's own plans.

    `over_s` is for how long more was drawn than it allows, `most_over_w` the most of that, `unmet_s` for how long no
    lever could have met it.
    """

    limit_w: int | None
    seen_s: float = 0.0
    over_s: float = 0.0
    most_over_w: float = 0.0
    unmet_s: float = 0.0
    jobs: dict[str, JobCut] = field(default_factory=dict)

    @property
    def lost_gpu_h(self) -> float:
        """GPU-hours of work lost."""
        return sum(job.lost_s * job.gpus for job in self.jobs.values()) / 3600.0

    @property
    def cost(self) -> float:
        """What all owners lose, in the tariff's currency."""
        return sum(job.cost for job in self.jobs.values())

    def hear(self, snapshot: Snapshot, plan: Plan, scope: int, held_s: float) -> None:
        """Count a tick, with the plan that is held for it, for as long as it holds."""
        stands = plan.scopes[scope]
        over_w = stands.draw_w - stands.limit_w
        self.seen_s += held_s
        self.over_s += held_s * (over_w > 0.0)
        self.most_over_w = max(self.most_over_w, over_w)
        self.unmet_s += held_s * (stands.planned_w > (1.0 + UNMET_FRAC) * stands.limit_w)
        charge(self.jobs, JobCut, snapshot, plan, held_s)


def hindsight(
    ticks: Iterable[Tick], limits_w: Iterable[int], budget: str = "", watch: Callable[[Tick], None] = lambda _: None
) -> list[Hindsight]:
    """What the record's own plans took, then what each limit of the budget (the root's, if none is named) would have.

    Raises NoScopeError where a tick knows no such budget.
    """
    lower = [_Lower(limit_w) for limit_w in limits_w]
    own, before = Hindsight(None), None
    for tick in ticks:
        watch(tick)
        if before is not None:
            _count(before, own, lower, budget, min(tick.snapshot.now_s - before.snapshot.now_s, HOLDS_S))
        before = tick
    return [own, *(one.found for one in lower)]


def _count(tick: Tick, own: Hindsight, lower: list[_Lower], budget: str, held_s: float) -> None:
    scope = _scope(tick.snapshot.site, budget)
    own.hear(tick.snapshot, tick.plan, scope, held_s)
    for one in lower:
        one.hear(tick, scope, held_s)


def _scope(site: Site, budget: str) -> int:
    names = [scope.id for scope in site.scopes]
    if budget and budget not in names:
        raise NoScopeError(f"the record has no budget {budget!r}; it has {', '.join(names)}")
    return names.index(budget) if budget else 0


class _Lower:
    """The record's ticks under one lower limit."""

    def __init__(self, limit_w: int) -> None:
        self.found = Hindsight(limit_w)
        self._limit_w, self._memory = limit_w, FRESH
        self._recorded: Site | None = None
        self._site: Site | None = None

    def hear(self, tick: Tick, scope: int, held_s: float) -> None:
        """Decide it again, and count what comes out."""
        if self._site is None or self._recorded is not tick.snapshot.site:
            self._recorded = tick.snapshot.site
            self._site = _lowered(self._recorded, scope, self._limit_w)
        snapshot = replace(tick.snapshot, site=self._site)
        before = self._memory if tick.memory is None or self._memory is not FRESH else tick.memory
        plan, self._memory = decide(snapshot, replace(before, scopes=_uncorrected(before.scopes)))
        self.found.hear(snapshot, plan, scope, held_s)


def _lowered(site: Site, scope: int, limit_w: int) -> Site:
    """The site with that budget's limit no higher than this, and what it guarantees no higher than its limit."""
    scopes = list(site.scopes)
    budget = scopes[scope].budget
    most_w = min(limit_w, budget.spec.limit_watts)
    assured_w = budget.spec.guaranteed_watts and min(most_w, budget.spec.guaranteed_watts)
    spec = budget.spec.model_copy(update={"limit_watts": most_w, "guaranteed_watts": assured_w})
    scopes[scope] = replace(scopes[scope], budget=budget.model_copy(update={"spec": spec}))
    return replace(site, scopes=tuple(scopes))


def _uncorrected(scopes: ScopesMemory) -> ScopesMemory:
    """Without what is learned from a draw that followed its caps: here none does."""
    nothing = np.zeros_like(scopes.trim_w)
    unknown = nothing + np.nan
    all_of_it = nothing + np.inf
    return replace(
        scopes, allowed_w=all_of_it, ramp_w=all_of_it, began_w=unknown, trim_w=nothing, over_var=nothing, aim_w=unknown,
        late_aim_w=unknown,
    )  # fmt: skip
