"""Events: people who look at a job or a budget read there what was done and why, once for each change of state."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable

from wattlease.core.actions import Cap, Charge, Discharge, Plan
from wattlease.runtime.lease.said import Said
from wattlease_operator.api import Api, Why
from wattlease_operator.cache import Cache, Ref, Resource, uid_of
from wattlease_operator.kinds import KINDS, PODS

log = logging.getLogger(__name__)

WAITING_MAX = 500
"""Events that wait for an API server that is slow; the oldest are dropped."""

KNOWN_MAX = 20_000
"""Jobs of which it is remembered what they were told."""

DONE = {
    "Pause": "Paused",
    "Resume": "Resumed",
    "Hold": "Held",
    "Release": "Released",
    "Downsize": "Downsized",
    "Restore": "Restored",
}

_RESOURCES: dict[str, Resource] = {kind.name.lower(): kind.resource for kind in KINDS} | {"pod": PODS}


class Telling:
    """Posts events one by one; `tell` and `tell_jobs` never wait."""

    def __init__(self, api: Api, ref_of: Callable[[str], Ref | None]) -> None:
        self._api, self._ref_of = api, ref_of
        self._said = Said(log)
        self._told: OrderedDict[str, str] = OrderedDict()
        self._waiting: deque[tuple[Ref, str, str, bool]] = deque(maxlen=WAITING_MAX)
        self._news = asyncio.Event()

    def tell(self, about: Ref, reason: str, text: str, *, warning: bool = False) -> None:
        """Post an event soon."""
        self._waiting.append((about, reason, text, warning))
        self._news.set()

    def tell_jobs(self, plan: Plan) -> None:
        """What the plan does to jobs, but for what they were told last."""
        for action, why in zip(plan.actions, plan.why, strict=True):
            if isinstance(action, Cap | Charge | Discharge):
                continue
            done = DONE[type(action).__name__]
            if self._told.get(action.job) == done:
                continue
            self._told[action.job] = done
            self._told.move_to_end(action.job)
            if len(self._told) > KNOWN_MAX:
                self._told.popitem(last=False)
            if about := self._ref_of(action.job):
                self.tell(about, done, why)

    async def run(self) -> None:
        """Post until cancelled. An event that cannot be posted is lost: what it told is in the status too."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                about, reason, text, warning = self._waiting.popleft()
                trouble = await self._api.event(about, reason, text, warning=warning)
                if trouble and trouble.why is not Why.GONE:
                    self._said.once(logging.WARNING, "event not posted", str(trouble))


def refs_of(cache: Cache) -> Callable[[str], Ref | None]:
    """Finds the object of a job by its id: `namespace/name` of a Job, else `kind/namespace/name`."""

    def ref_of(job: str) -> Ref | None:
        kind, namespace, name = ["job", *job.split("/")][-3:] if job.count("/") in (1, 2) else ("", "", "")
        resource = _RESOURCES.get(kind)
        body = cache.of(resource).get((namespace, name)) if resource else None
        return Ref(resource, namespace, name, uid_of(body)) if resource and body else None

    return ref_of
