"""The page's half hour behind and half hour ahead."""

from __future__ import annotations

from collections import deque

import numpy as np

from wattlease.core.actions import Plan
from wattlease.core.foresight import foresee
from wattlease.core.limits import Bound
from wattlease.core.memory import Memory
from wattlease.core.model import Floats, JobState, Snapshot
from wattlease.runtime.showing_jobs import drawn_w
from wattlease.runtime.view import Forecast, History, Series

SPAN_S = 1800.0
STEP_S = 30.0
OVERHEAD = ("site", "Overhead")
Key = tuple[str, str]


def storage_w(snapshot: Snapshot) -> float:
    """What all batteries give together, as far as anybody knows; negative while they take."""
    return float(sum(s.power_w for s in snapshot.storages if np.isfinite(s.power_w)))


def base_w(snapshot: Snapshot, plan: Plan) -> float:
    """Drawn whatever runs: overhead and cards at idle, before batteries help."""
    jobs = snapshot.jobs
    on = jobs.state == JobState.RUNNING
    idle_w = np.array([m.idle_w for m in snapshot.site.models])[jobs.model] * jobs.gpus
    return plan.scopes[0].draw_w + storage_w(snapshot) - float((drawn_w(snapshot) - idle_w)[on].sum())


class Past:
    """Rows of the last half hour."""

    def __init__(self) -> None:
        self.rows: deque[tuple[float, float, float, float, float, dict[Key, float]]] = deque()

    def take(self, snapshot: Snapshot, plan: Plan) -> None:
        """Keep this moment, forget what is older than half an hour."""
        root, soc = plan.scopes[0], [s.soc_frac for s in snapshot.storages]
        given_w = storage_w(snapshot)
        parts = _parts(snapshot)
        parts[OVERHEAD] = max(root.draw_w + given_w - sum(parts.values()), 0.0)
        charge = float(np.mean(soc)) if soc else float("nan")
        self.rows.append((snapshot.now_s, root.limit_w, root.draw_w, given_w, charge, parts))
        while self.rows[0][0] < snapshot.now_s - SPAN_S:
            self.rows.popleft()

    def history(self) -> History:
        """The rows as columns; a kind of work that did not run drew nothing."""
        t_s, limit_w, draw_w, given_w, soc = (np.array([row[i] for row in self.rows], float) for i in range(5))
        keys = sorted({key for row in self.rows for key in row[5]}, key=lambda k: (k == OVERHEAD, k))
        series = tuple(Series(_name(key), *key, np.array([row[5].get(key, 0.0) for row in self.rows])) for key in keys)
        stored = not np.isnan(soc).all()
        none: Floats = np.empty(0)
        return History(t_s, limit_w, draw_w, series, given_w if stored else none, soc if stored else none)


def _name(key: Key) -> str:
    return "overhead, idle cards" if key == OVERHEAD else " ".join(key)


def _parts(snapshot: Snapshot) -> dict[Key, float]:
    """What the jobs of each cluster and kind draw."""
    parts: dict[Key, float] = {}
    for j, watts in enumerate(drawn_w(snapshot).tolist()):
        if watts > 0:
            key = (snapshot.jobs.cluster[j], snapshot.site.terms[int(snapshot.jobs.terms[j])].kind)
            parts[key] = parts.get(key, 0.0) + watts
    return parts


def forecast(snapshot: Snapshot, plan: Plan, bound: Bound, memory: Memory) -> Forecast:
    """The draw through the next half hour, held under the limit and under the ramp of a release.

    It is the site's forecast where there is one, else what the known jobs will draw. p10 is as far below the expected
    draw as p90 is above it; `memory` is the one that the tick returned.
    """
    t_s = snapshot.now_s + np.arange(0.0, SPAN_S + 1.0, STEP_S)
    step = np.minimum(np.searchsorted(bound.ahead_t_s, t_s), len(bound.ahead_w) - 1)
    limit_w = bound.ahead_w[step]
    steered_w = _risen(snapshot, memory, limit_w)
    p50_w, p90_w = _told(snapshot, t_s) or foresee(snapshot, memory, base_w(snapshot, plan), t_s)
    p10_w, p50_w, p90_w = (np.clip(p, 0.0, steered_w) for p in (2 * p50_w - p90_w, p50_w, p90_w))
    return Forecast(t_s, p10_w, p50_w, p90_w, limit_w)


def _told(snapshot: Snapshot, t_s: Floats) -> tuple[Floats, Floats] | None:
    """Median and p90 at these times by the root's forecast; None where none was told."""
    told = next((one for one in snapshot.forecasts if one.scope == 0 and len(one.at_s)), None)
    if told is None:
        return None
    return np.interp(t_s, told.at_s, told.p50_w), np.interp(t_s, told.at_s, told.p90_w)


def _risen(snapshot: Snapshot, memory: Memory, limit_w: Floats) -> Floats:
    """What may be drawn at each step: the limit, but after a cut no steeper than the ramp of release."""
    spec = snapshot.site.scopes[0].budget.spec
    rise_w = spec.limit_watts * spec.ramp.release_percent_per_minute / 100 * STEP_S / 60
    allowed_w = np.minimum(limit_w, memory.scopes.allowed_w[0] if len(memory.scopes.allowed_w) else limit_w)
    for k in range(1, len(limit_w)):
        allowed_w[k] = min(limit_w[k], allowed_w[k - 1] + rise_w)
    return allowed_w
