"""Writes the status of each PowerBudget by whoever leads: when something changed, and else once a minute."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from wattlease.runtime.controller.controller import Controller
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.said import Said
from wattlease_operator.api import Api, Why
from wattlease_operator.cache import Body, Cache, ref_of
from wattlease_operator.following import BUDGETS, refused_budgets
from wattlease_operator.site_of_cluster import ClusterSite
from wattlease_operator.statuses import Lacks, Told, changed, governed, is_bad, status_of, ungoverned
from wattlease_operator.telling import Telling

log = logging.getLogger(__name__)

EVERY_S = 60.0
"""Between two writes of a status where nothing is news."""

SOON_S = 5.0
"""Between two writes of one status, whatever changed: a state that flickers shall not keep an API server busy."""

MOVED_S, MOVED_FRAC = 15.0, 0.02
"""Watts that moved by this share of the limit are written after this long."""


@dataclass(frozen=True, slots=True)
class _Written:
    """What was last written of a budget, and when."""

    told: Told
    generation: int
    at_s: float


class Reporting:
    """Knows what it wrote; `forget` when another may have written since."""

    def __init__(self, api: Api, cache: Cache, telling: Telling, now: Now = steady_s) -> None:
        self._api, self._cache, self._telling, self._now = api, cache, telling, now
        self._written: dict[str, _Written] = {}
        self._said = Said(log)

    def forget(self) -> None:
        """Another leads: what stands there is theirs."""
        self._written.clear()

    async def write(self, told: Mapping[str, Told], generations: Mapping[str, int]) -> None:
        """Tell of each budget that is there, where it is time to; `generations` are those that `told` is of."""
        bodies = {name: body for (_, name), body in self._cache.of(BUDGETS).items()}
        self._written = {name: written for name, written in self._written.items() if name in bodies}
        for name, body in bodies.items():
            if name in told and name in generations and self._due(told[name], generations[name], name):
                await self._write(body, told[name], generations[name])

    def _due(self, told: Told, generation: int, name: str) -> bool:
        was = self._written.get(name)
        if was is None:
            return True
        age_s = self._now() - was.at_s
        if (told.gist, generation) != (was.told.gist, was.generation):
            return age_s >= SOON_S or generation != was.generation
        return age_s >= EVERY_S or (age_s >= MOVED_S and _moved(told.columns, was.told.columns))

    async def _write(self, body: Body, told: Told, generation: int) -> None:
        ref = ref_of(BUDGETS, body)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = status_of(told, generation, body, now)
        trouble = await self._api.apply(ref, {"status": status}, subresource="status", force=True)
        if trouble is None:
            self._said.forget("status not written")
            self._written[ref.name] = _Written(told, generation, self._now())
            for finding in changed(told, body):
                self._telling.tell(ref, finding.reason, finding.message, warning=is_bad(finding))
        elif trouble.why is not Why.GONE:
            self._said.once(logging.WARNING, "status not written", str(trouble))


def told_of(site: ClusterSite, control: Controller | None, cache: Cache) -> dict[str, Told] | None:
    """What is to be told of every budget now; None until a tick has held to the newest of them."""
    refused, found = refused_budgets(site), {}
    if control is not None and site.settings is not None:
        tick, ledger = control.newest, control.grantor.ledger
        held = {scope.id: scope.budget for scope in tick.snapshot.site.scopes} if tick else {}
        if tick is None or ledger is None or any(held.get(b.name) is not b for b in site.settings.budgets):
            return None
        short_w = tick.after.scopes.short_w.tolist()
        lacks = Lacks(short_w, control.missing_w, ledger.fallback_shortfall_w())
        found = governed(tick.snapshot, tick.plan, lacks, refused)
    for (_, name), body in cache.of(BUDGETS).items():
        if name not in found:
            mode = str((body.get("spec") or {}).get("mode", "Enforce"))
            found[name] = ungoverned(*_why(name, site, refused), mode)
    return found


def _why(name: str, site: ClusterSite, refused: Mapping[str, str]) -> tuple[str, str]:
    if name in refused:
        return "Refused", refused[name]
    if site.settings is None:
        return "Waiting", site.waits
    return "NotOurs", f"It does not stand below '{site.settings.budgets[0].name}', on which this cluster hangs."


def _moved(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    least_w = MOVED_FRAC * float(now.get("limitWatts", 0)) + 1.0
    return any(abs(now.get(k, 0) - before.get(k, 0)) >= least_w for k in ("drawWatts", "headroomWatts"))
