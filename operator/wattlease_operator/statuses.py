"""What each PowerBudget's status says: pure, from a tick's numbers to conditions and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wattlease.core.actions import Plan, ScopePlan
from wattlease.core.explain import watts
from wattlease.core.model import NONE, Bools, Site, Snapshot
from wattlease_operator.cache import Body

FLOOR_FRAC = 0.01
"""What is left above the limit when all is given up, as a share of it, is noise below this."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition as it is found now; `status` is None where nobody can know."""

    type: str
    status: bool | None
    reason: str
    message: str

    @property
    def word(self) -> str:
        """As Kubernetes writes it."""
        return {True: "True", False: "False", None: "Unknown"}[self.status]


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one budget: its conditions, and the columns of `kubectl get`."""

    findings: tuple[Finding, ...]
    columns: Mapping[str, Any]

    @property
    def gist(self) -> tuple[object, ...]:
        """What is news when it is another; numbers alone are not."""
        kept = {k: v for k, v in self.columns.items() if k in ("limitWatts", "state", "binding")}
        return (*((f.type, f.status, f.reason) for f in self.findings), *sorted(kept.items()))


UNGOVERNED = ("MetersHealthy", "WithinLimit", "Shedding", "FallbackFits")


def ungoverned(reason: str, text: str, mode: str) -> Told:
    """Of a budget that nothing is held to: why."""
    rest = (Finding(name, None, "NotGoverned", "Nothing is held to this budget now.") for name in UNGOVERNED)
    return Told((Finding("Ready", False, reason, text), *rest, _shadow(mode)), {})


@dataclass(frozen=True, slots=True)
class Lacks:
    """What does not fit: `short_w` of each scope's work though all is given up that can be; of the root, `missing_w` of
    fallbacks and silent nodes under its limit, and `shortfall_w` of fallbacks in its guarantee.
    """

    short_w: Sequence[float] = ()
    missing_w: float = 0.0
    shortfall_w: float = 0.0


def governed(snapshot: Snapshot, plan: Plan, lacks: Lacks, refused: Mapping[str, str]) -> dict[str, Told]:
    """Of every budget that a tick held to; `refused` tells of those whose newest form is not the one that stands."""
    mode = snapshot.site.scopes[0].budget.spec.mode
    return {
        scope.id: Told(
            (
                _ready(refused.get(scope.id, "")),
                _meters(snapshot, s),
                _within(plan.scopes[s], lacks.missing_w if scope.parent == NONE else 0.0, _at(lacks.short_w, s)),
                _shedding(plan.scopes[s]),
                _fallback(snapshot.site, s, lacks.shortfall_w if scope.parent == NONE else 0.0),
                _shadow(mode),
            ),
            _columns(plan.scopes[s]),
        )
        for s, scope in enumerate(snapshot.site.scopes)
    }


def status_of(told: Told, generation: int, before: Body, now: str) -> dict[str, Any]:
    """The status as it is applied; a condition keeps the time of its last change. `now` is an RFC 3339 time."""
    known = {c["type"]: c for c in (before.get("status") or {}).get("conditions") or ()}
    conditions = []
    for finding in told.findings:
        was = known.get(finding.type, {})
        since = was.get("lastTransitionTime", now) if was.get("status") == finding.word else now
        conditions.append(
            {
                "type": finding.type,
                "status": finding.word,
                "observedGeneration": generation,
                "lastTransitionTime": since,
                "reason": finding.reason,
                "message": finding.message,
            }
        )
    return {"conditions": conditions, "observedGeneration": generation, **told.columns}


def changed(told: Told, before: Body) -> Sequence[Finding]:
    """The conditions that are another than they were; at the first time, those that are bad news."""
    conditions = (before.get("status") or {}).get("conditions") or ()
    known = {c["type"]: (c["status"], c["reason"]) for c in conditions}
    return [f for f in told.findings if _is_news(f, known.get(f.type))]


def is_bad(finding: Finding) -> bool:
    """Whether somebody should look at it."""
    return finding.status is False and finding.type in ("Ready", "MetersHealthy", "WithinLimit", "FallbackFits")


def _is_news(finding: Finding, was: tuple[str, str] | None) -> bool:
    if was is None:
        return is_bad(finding)
    status, reason = was
    return (status, reason) != (finding.word, finding.reason) and (status != "Unknown" or is_bad(finding))


def _ready(refused: str) -> Finding:
    if refused:
        return Finding("Ready", False, "Refused", refused)
    return Finding("Ready", True, "Governed", "The cluster is held to this budget.")


def _meters(snapshot: Snapshot, s: int) -> Finding:
    followed = [m for m in snapshot.site.scopes[s].budget.spec.meters if m.kind != "Virtual"]
    if not followed:
        return Finding("MetersHealthy", None, "NoMeters", "No meter is named; cards and nodes are summed.")
    age_s = {r.meter: r.age_s for r in snapshot.meters if r.scope == s and np.isfinite(r.power_w)}
    silent = [m.name for m in followed if age_s.get(m.name, np.inf) > m.stale_seconds + m.delay_seconds]
    if len(silent) == len(followed):
        return Finding("MetersHealthy", False, "Blind", f"No meter tells of now: {', '.join(silent)}.")
    if silent:
        return Finding("MetersHealthy", False, "SomeSilent", f"Stale or silent: {', '.join(silent)}.")
    return Finding("MetersHealthy", True, "Fresh", "All meters tell of now.")


def _at(column: Sequence[float], s: int) -> float:
    return float(column[s]) if s < len(column) else 0.0


def _within(scope: ScopePlan, missing_w: float, short_w: float) -> Finding:
    limit = f"{watts(scope.limit_w)} ({scope.text})"
    if missing_w > 1.0:
        told = f"{watts(missing_w)} of fallbacks and of nodes without a reporting agent do not fit under {limit}"
        return Finding("WithinLimit", False, "LimitCannotBeHeld", f"{told}; raise it, lower fallbacks, or see to them.")
    # below a ramp that has not come up to the limit yet, work may be short of the ramp and not of the limit
    if min(short_w, scope.planned_w - scope.limit_w) > FLOOR_FRAC * scope.limit_w:
        told = f"With all given up that can be, {watts(short_w)} too much are left under {limit}"
        return Finding("WithinLimit", False, "LimitCannotBeHeld", f"{told}; nothing here can meet this limit.")
    if scope.state == "blind":
        return Finding("WithinLimit", None, "Blind", f"No meter tells; every card counts at its worst under {limit}.")
    drawn = f"{watts(scope.draw_w)} drawn under {limit}."
    if scope.state == "over":
        return Finding("WithinLimit", False, "Over", drawn)
    return Finding("WithinLimit", True, "Within", drawn)


def _shedding(scope: ScopePlan) -> Finding:
    if scope.state in ("shedding", "over"):
        return Finding("Shedding", True, "Shedding", f"Work gives up watts: {scope.text}.")
    if scope.state == "releasing":
        return Finding("Shedding", True, "Releasing", "Watts come back step by step.")
    return Finding("Shedding", False, "NothingGivenUp", "No work gives up watts.")


def _fallback(site: Site, s: int, shortfall_w: float) -> Finding:
    spec, below = site.scopes[s].budget.spec, nodes_below(site, s)
    sum_w, assured_w = float(site.nodes.fallback_w[below].sum()), float(spec.assured_watts)
    short_w = max(sum_w - assured_w, shortfall_w)
    told = f"Fallbacks of {int(below.sum())} nodes sum to {watts(sum_w)}; {watts(assured_w)} are guaranteed"
    if short_w > 0.5:
        fix = "raise guaranteedWatts, or lower the nodes' fallbacks"
        return Finding("FallbackFits", False, "FallbackTooHigh", f"{told}, {watts(short_w)} too little; {fix}.")
    return Finding("FallbackFits", True, "Fits", f"{told}.")


def nodes_below(site: Site, s: int) -> Bools:
    """The nodes that draw through this scope."""
    inside = np.arange(len(site.scopes)) == s
    for child in range(s + 1, len(site.scopes)):  # parents come before their children
        parent = site.scopes[child].parent
        inside[child] |= parent != NONE and inside[parent]
    found: Bools = inside[site.nodes.scope]
    return found


def _shadow(mode: str) -> Finding:
    if mode == "Shadow":
        return Finding("Shadow", True, "Shadow", "What is decided is told, and nothing is touched.")
    return Finding("Shadow", False, "Enforce", "What is decided is done.")


def _columns(scope: ScopePlan) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "limitWatts": max(0, round(scope.limit_w)),
        "state": scope.state.capitalize(),
        "binding": scope.text[:253],
    }
    if scope.state == "blind":
        return columns
    return columns | {"drawWatts": round(scope.draw_w), "headroomWatts": round(scope.limit_w - scope.draw_w)}
