"""What the plan wanted while nothing could be changed: the core takes it for told, so it is done once it can be.

A scheduler may be silent for a while, and a leader's first tick may find its book unread. Without this what is said
meanwhile would be lost, and said again only when the core no longer waits for it.
"""

from __future__ import annotations

from dataclasses import replace

from wattlease.core.actions import Action, Downsize, Hold, Pause, Plan, Release, Restore, Resume
from wattlease.core.api import Dwell
from wattlease.core.model import Snapshot


class Missed:
    """The last action of each kind for each job, in the order in which they were said."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], tuple[float, Action]] = {}

    def keep(self, plan: Plan) -> None:
        """Remember what this plan wants of jobs."""
        for action in plan.actions:
            if isinstance(action, Pause | Resume | Release | Hold | Downsize | Restore):
                key = action.job, type(action).__name__
                self._said.pop(key, None)
                self._said[key] = plan.now_s, action

    def made_up(self, snapshot: Snapshot, plan: Plan) -> Plan:
        """The plan with what the core still waits for before its own actions; that is then no longer missed."""
        dwell = snapshot.site.scopes[0].budget.spec.dwell
        due = tuple(a for at_s, a in self._said.values() if plan.now_s - at_s < _waits_s(a, dwell))
        self.forget()
        return replace(plan, actions=(*due, *plan.actions)) if due else plan

    def forget(self) -> None:
        """Want nothing any more."""
        self._said.clear()


def _waits_s(action: Action, dwell: Dwell) -> float:
    """For how long the core takes a job for told."""
    return float(dwell.hold_seconds if isinstance(action, Release | Hold) else dwell.begun_seconds)
