"""From ticks to the page: what was known, what was decided and what was remembered become one document.

It asks nothing of the plant or of any scheduler: a shell gives it the values of each tick, and takes the document.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from wattlease.core import explain
from wattlease.core.actions import Cap, Charge, Discharge, Plan, ScopePlan
from wattlease.core.limits import Bound, Limit, bounds
from wattlease.core.memory import Memory
from wattlease.core.model import NONE, JobState, Snapshot
from wattlease.runtime.account import Account
from wattlease.runtime.showing_jobs import SLOWED_FRAC, job_rows
from wattlease.runtime.showing_time import Past, forecast, storage_w
from wattlease.runtime.view import EventRow, LimitRow, Mode, ScopeRow, SiteState, SiteView, StorageRow

EVENTS_KEPT = 100

STEADY_S = 10.0
"""A state is shown once it has lasted so long: noise about a limit is not news. Blindness is told at once."""

STATE_TEXTS: dict[SiteState, str] = {
    "within": "All work runs as its owners asked.",
    "preparing": "A lower limit is coming; work is made ready for it.",
    "shedding": "Demand is above the limit; the watts of least harm are given up.",
    "releasing": "Watts come back step by step.",
    "over": "The draw is above the limit and is being brought down.",
    "blind": "No fresh meter; every card counts at its worst.",
}


class Showing:
    """Follows a site tick by tick; `note` each tick, and ask for the `view` as often as the page is to move."""

    def __init__(self, currency: str = "USD") -> None:
        self.currency = currency
        self.past = Past()
        self.account = Account(currency)
        self.events: deque[EventRow] = deque(maxlen=EVENTS_KEPT)
        self.state: SiteState = "within"
        self._coming, self._since_s = "within", float("-inf")

    def note(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Count the tick and keep what it did as lines of the timeline; `after` is the memory that it returned."""
        self.account.note(snapshot, plan, after)
        self._settle(snapshot, plan)
        for action, why in zip(plan.actions, plan.why, strict=True):
            if not isinstance(action, Cap | Charge | Discharge):
                self.tell(snapshot.now_s, type(action).__name__.lower(), why)

    def tell(self, t_s: float, kind: str, text: str) -> None:
        """A line of the timeline from elsewhere, such as a person's own order."""
        self.events.appendleft(EventRow(t_s, kind, text))

    def _settle(self, snapshot: Snapshot, plan: Plan) -> None:
        """Take on a new state when it lasts."""
        coming = _state(snapshot, plan)
        if coming != self._coming:
            self._coming, self._since_s = coming, snapshot.now_s
        lasts = coming == "blind" or snapshot.now_s - self._since_s >= STEADY_S
        if coming != self.state and lasts:
            self.state = coming
            self.tell(snapshot.now_s, coming, f"{STATE_TEXTS[coming]} {_binds(plan.scopes[0])}")

    def view(self, snapshot: Snapshot, plan: Plan, before: Memory, after: Memory) -> SiteView:
        """The document for this tick, and a row of its history; `before` is the memory with which the tick began."""
        root = plan.scopes[0]
        bound, _ = bounds(snapshot, np.array([s.draw_w for s in plan.scopes]), before.limits)
        self.past.take(snapshot, plan)
        blind = self.state == "blind"
        return SiteView(
            site=snapshot.site.name,
            mode=_mode(snapshot),
            now_s=snapshot.now_s,
            state=self.state,
            state_text=_state_text(self.state, snapshot, plan),
            limit_w=root.limit_w,
            draw_w=None if blind else root.draw_w,
            headroom_w=None if blind else root.limit_w - root.draw_w,
            binding=root.text,
            limits=tuple(_limit_rows(snapshot, bound[0])),
            storage=_storage_row(snapshot),
            scopes=_scope_rows(snapshot, plan),
            jobs=job_rows(snapshot, plan, after),
            events=tuple(self.events),
            history=self.past.history(),
            forecast=forecast(snapshot, plan, bound[0], after),
            figures=self.account.figures(),
            currency=self.currency,
        )


def _state(snapshot: Snapshot, plan: Plan) -> SiteState:
    """The root's state in a word that the page knows; nothing is shed while every job has all it wants."""
    state: SiteState = next((name for name in STATE_TEXTS if name == plan.scopes[0].state), "blind")
    return "within" if state == "shedding" and not _any_gives(snapshot, plan) else state


def _any_gives(snapshot: Snapshot, plan: Plan) -> bool:
    """Whether any job is slowed or waits, or a battery helps."""
    return _any_job_gives(snapshot, plan) or storage_w(snapshot) > 1.0


def _any_job_gives(snapshot: Snapshot, plan: Plan) -> bool:
    state = snapshot.jobs.state
    waits = np.isin(state, (JobState.HELD, JobState.PAUSED)).any()
    return bool(waits or (plan.speed_frac[state == JobState.RUNNING] < SLOWED_FRAC).any())


def _state_text(state: SiteState, snapshot: Snapshot, plan: Plan) -> str:
    if state == "shedding" and not _any_job_gives(snapshot, plan):
        return "Demand is above the limit; the battery carries the difference and no job is touched."
    return STATE_TEXTS[state]


def _mode(snapshot: Snapshot) -> Mode:
    return snapshot.site.scopes[0].budget.spec.mode


def _binds(root: ScopePlan) -> str:
    return f"{explain.watts(root.draw_w)} drawn, {explain.watts(root.limit_w)} allowed by {root.text}."


def _limit_rows(snapshot: Snapshot, bound: Bound) -> list[LimitRow]:
    """The limit that binds, those that lose, and those that are known to come."""
    name = snapshot.site.scopes[bound.scope].id
    coming = [
        LimitRow(name, w.source, w.limit_w, False, f"{w.source} '{w.name}' is to come", w.start_s, w.end_s)
        for w in snapshot.windows
        if w.scope == bound.scope and w.start_s > snapshot.now_s
    ]
    losers = sorted(bound.losers, key=lambda x: x.limit_w)
    return [_limit_row(name, bound.binding, True), *(_limit_row(name, x, False) for x in losers), *coming]


def _limit_row(name: str, limit: Limit, binds: bool) -> LimitRow:
    return LimitRow(name, limit.source, limit.limit_w, binds, limit.text, limit.from_s, limit.until_s)


def _storage_row(snapshot: Snapshot) -> StorageRow | None:
    """All batteries as one."""
    units, states = snapshot.site.storages, snapshot.storages
    if not units:
        return None
    capacity_j = np.array([u.capacity_j for u in units])
    soc_frac = float(np.average([s.soc_frac for s in states], weights=capacity_j))
    reserve_frac = float(np.average([u.reserve_frac for u in units], weights=capacity_j))
    power_w = storage_w(snapshot)
    away = [u.id for u, state in zip(units, states, strict=True) if not state.available]
    left_j = (soc_frac - reserve_frac if power_w > 0 else 1.0 - soc_frac) * float(capacity_j.sum())
    text = f"{', '.join(away)} not available." if away else _storage_text(power_w, left_j)
    return StorageRow(soc_frac, reserve_frac, power_w, float(capacity_j.sum()), text)


def _storage_text(power_w: float, left_j: float) -> str:
    """How long it can go on like this."""
    if abs(power_w) < 1.0 or left_j <= 0.0:
        return ""
    lasts = explain.span(left_j / abs(power_w))
    return f"At this power it lasts {lasts}." if power_w > 0 else f"At this power it is full in {lasts}."


def _scope_rows(snapshot: Snapshot, plan: Plan) -> tuple[ScopeRow, ...]:
    scopes = snapshot.site.scopes
    return tuple(
        ScopeRow(
            id=s.id,
            parent=None if s.parent == NONE else scopes[s.parent].id,
            limit_w=p.limit_w,
            draw_w=None if p.state == "blind" else p.draw_w,
            binding=p.text,
        )
        for s, p in zip(scopes, plan.scopes, strict=True)
    )
