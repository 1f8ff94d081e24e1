"""Follows every service that may change its model: looks, takes the next step, and tells people of it.

Each is looked at by itself, so that one that hangs holds up no other, and nobody waits for any of them. Whoever leads
renews what is wanted with each plan; what nobody renews is not done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from wattlease.core.api import PowerProfile
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.said import Said
from wattlease_operator.api import Api, Trouble, Why
from wattlease_operator.gathering import StandIns, Top
from wattlease_operator.hands import LAST_S
from wattlease_operator.swap import OWN, Course, Move, home, serving, step
from wattlease_operator.swap_deeds import do
from wattlease_operator.swap_look import Counted, Sight, look
from wattlease_operator.swap_servers import Servers
from wattlease_operator.swaps import Swap, swaps_of
from wattlease_operator.words import CARDS, Cards

log = logging.getLogger(__name__)

LOOK_S, REST_S = 1.0, 15.0
"""Between two looks at a service on its way, and at one that rests with its own model."""

IDLE_S = 0.5

REFUSED_S, MOST_REFUSED_S = 600.0, 21_600.0
"""A smaller model that failed is not tried again for so long; twice as long after each further time."""

FAILED = frozenset({"SwapFailed", "SwapStuck"})
"""Events that are warnings."""


@dataclass(slots=True)
class Followed:
    """One service as it is known now."""

    swap: Swap
    course: Course = field(default_factory=Course)
    sight: Sight | None = None
    begun: list[Counted | None] = field(default_factory=list)
    seen_s: float = float("-inf")
    serves: int = OWN
    refused_until_s: float = float("-inf")
    refused_s: float = REFUSED_S
    blocked: str = ""

    @property
    def away(self) -> bool:
        """A smaller model has requests, as far as is known."""
        return self.sight is not None and not home(self.sight.models)


class Swapping:
    """All services that may change their models; `declare`, `want` and `settle` never wait."""

    def __init__(self, api: Api, now: Now = steady_s, cards: Cards = CARDS, servers: Servers | None = None) -> None:
        self._api, self._now, self._cards, self._servers = api, now, cards, servers or Servers()
        self.followed: dict[str, Followed] = {}
        self._wanted: Mapping[str, tuple[str, str]] = {}
        self._wanted_s = float("-inf")
        self._under_way: set[str] = set()
        self._said = Said(log)

    def declare(self, profiles: Iterable[PowerProfile]) -> None:
        """Follow these from now on; what is known of one that is declared as before is kept."""
        swaps = swaps_of(profiles)
        known = self.followed
        self.followed = {
            job: known[job] if job in known and known[job].swap == swap else Followed(swap)
            for job, swap in swaps.items()
        }

    def want(self, wanted: Mapping[str, tuple[str, str]]) -> None:
        """By job, the variant that is to serve (empty: the own model), and the sentence that says why."""
        self._wanted, self._wanted_s = dict(wanted), self._now()

    def forget(self) -> None:
        """Somebody else led meanwhile: begin from what stands."""
        self._wanted_s = float("-inf")
        self.followed = {job: Followed(f.swap) for job, f in self.followed.items()}

    def serves(self, job: str) -> str:
        """The variant that serves alone, empty for the own model."""
        found = self.followed[job]
        return found.swap.names[found.serves]

    def refused(self, job: str) -> bool:
        """Whether no smaller model is to be had for now: one failed, or what was declared cannot be used."""
        found = self.followed[job]
        return bool(found.blocked or found.course.failed) or self._now() < found.refused_until_s

    def stand_ins(self, wanted: Mapping[str, str]) -> StandIns:
        """Whose pods count as whose while models change, by what is `wanted` and seen."""
        tops: dict[Top, Top] = {}
        asleep: set[Top] = set()
        gpus: dict[Top, int] = {}
        for job, found in self.followed.items():
            own = _top(found.swap, OWN)
            if found.sight is not None:
                gpus[own] = found.sight.gpus
                asleep |= _asleep(found.swap, found.sight)
            if found.away or wanted.get(job):
                tops |= {_top(found.swap, i): own for i in range(1, len(found.swap.servings))}
        return StandIns({top: own for top, own in tops.items() if top != own}, frozenset(asleep), gpus)

    async def run(self) -> None:
        """Follow them until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    for job, found in self.followed.items():
                        if job not in self._under_way and self._now() - found.seen_s >= self._every_s(job, found):
                            self._under_way.add(job)
                            tasks.create_task(self._follow(job, found))
                    await asyncio.sleep(IDLE_S)
        finally:
            await self._servers.close()

    def _every_s(self, job: str, found: Followed) -> float:
        rests = not (found.away or self._variant(job) or found.course.target != OWN or _owes(found))
        return REST_S if rests and found.seen_s > float("-inf") else LOOK_S

    def _variant(self, job: str) -> str:
        return self._wanted.get(job, ("", ""))[0]

    async def _follow(self, job: str, found: Followed) -> None:
        try:
            swap, wanted = found.swap, found.swap.place(self._variant(job))
            found.begun = found.begun or [None] * len(swap.servings)
            away = wanted != OWN or found.course.target != OWN or _owes(found)
            sight = await look(self._api, self._servers, swap, found.begun, away, self._cards)
            if isinstance(sight, Trouble):
                if sight.why in (Why.GONE, Why.REFUSED):  # else it may be there all the same
                    found.blocked = str(sight)
                self._said.once(logging.WARNING, f"cannot swap: {job}", str(sight))
                return
            found.blocked, found.sight, found.serves = "", sight, serving(sight.models)
            self._said.forget(f"cannot swap: {job}")
            found.begun = [
                None if not m.weight else b or c
                for m, b, c in zip(sight.models, found.begun, sight.counted, strict=True)
            ]
            if self._now() - self._wanted_s <= LAST_S:
                await self._step(job, found, sight, wanted)
        finally:
            found.seen_s = self._now()
            self._under_way.discard(job)

    async def _step(self, job: str, found: Followed, sight: Sight, wanted: int) -> None:
        before, swap = found.course, found.swap
        rules = replace(swap.rules, grain=sight.route.grain)
        found.course, deed = step(sight.models, before, wanted, self._now(), rules)
        if found.course.failed and not before.failed:
            found.refused_until_s = self._now() + found.refused_s
            found.refused_s = min(2 * found.refused_s, MOST_REFUSED_S)
        await self._tell(job, before, found, sight)
        if deed is None:
            return
        trouble = await do(self._api, self._servers, swap, sight, deed)
        if trouble:
            self._said.once(logging.WARNING, f"swap not done: {job}", trouble)
            if isinstance(deed, Move):  # nobody fought us: it was never written
                found.course = replace(found.course, share_frac=float("nan"))
        else:
            self._said.forget(f"swap not done: {job}")
            log.info("swap: job=%s deed=%s", job, deed)

    async def _tell(self, job: str, before: Course, found: Followed, sight: Sight) -> None:
        """An event on the Deployment of the own model for each turn of the course, and for each arrival."""
        told = _told(before, found, sight, self._wanted.get(job, ("", ""))[1])
        if told is None:
            return
        reason, text = told
        log.info("%s: job=%s %s", reason, job, text)
        about = sight.ref(found.swap.servings[OWN].deployment)
        await self._api.event(about, reason, text, warning=reason in FAILED)


def _told(before: Course, found: Followed, sight: Sight, why: str) -> tuple[str, str] | None:
    """Reason and sentence, where there is news."""
    course, swap = found.course, found.swap
    if course.failed and not before.failed:
        name = swap.names[before.target]
        return "SwapFailed", f"given up: the smaller model {name}: {course.failed}; the own model serves on"
    if course.target != before.target:
        if course.target != OWN:
            name = swap.names[course.target]
            return "SwapBegun", f"{why or 'a smaller model is wanted'}; the smaller model {name} is woken"
        return "SwapBack", why if why.startswith("restored") else "the own model is to serve again"
    full = course.full_s == course.full_s and before.full_s != before.full_s
    if full and course.moved_s > float("-inf"):  # not after a swap that ended before it moved anything
        name = swap.names[course.target] or "the own model"
        return "Swapped", f"all requests of route {sight.route.ref.name} go to {name}"
    return None


def _owes(found: Followed) -> bool:
    """Whether something that we woke or put to sleep is not put back yet."""
    return found.sight is not None and any(m.ours for m in found.sight.models)


def _top(swap: Swap, i: int) -> Top:
    return "Deployment", swap.namespace, swap.servings[i].deployment


def _asleep(swap: Swap, sight: Sight) -> set[Top]:
    """Deployments with pods of which none serves: all of their models sleep."""
    up = {_top(swap, i) for i, model in enumerate(sight.models) if model.up}
    sleeps = {_top(swap, i) for i, serving in enumerate(swap.servings) if serving.sleep == "Sleep"}
    return sleeps - up
