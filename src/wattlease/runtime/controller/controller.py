"""One controller of nodes: hears agents, decides each second, and lets the ledger grant what the plan wishes.

The decision runs beside the event loop: a renewal never waits for it. A controller that does not lead decides nothing;
when it comes to lead, its memory begins anew but for what lasts on disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wattlease.core.actions import Plan
from wattlease.core.decide import decide
from wattlease.core.frontier import frontier
from wattlease.core.kept_overhead import kept, resumed
from wattlease.core.lease import Refused, Target
from wattlease.core.leased import risen
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import Site, Snapshot
from wattlease.runtime.controller.act import NodeWatts, beside_w, hints, supply_w, targets, unlimited
from wattlease.runtime.controller.lasting import KeptOf, Lasting, files_in
from wattlease.runtime.controller.observe import Observer
from wattlease.runtime.controller.settings import ControllerSettings
from wattlease.runtime.controller.share import share_of
from wattlease.runtime.controller.surroundings import Surroundings
from wattlease.runtime.controller.workload import Workload
from wattlease.runtime.job_accounts import JobAccounts
from wattlease.runtime.job_book import JobBook
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.said import Said
from wattlease.runtime.lease.store import RosterStore
from wattlease.runtime.lease.terms import GrantTerms
from wattlease.runtime.notify import ALIVE, notify
from wattlease.runtime.record import Recorder
from wattlease.runtime.showing import Showing
from wattlease.runtime.site import membership_of, shadows
from wattlease.runtime.waiting import set_within
from wattlease.runtime.web import Page

log = logging.getLogger(__name__)

EARLY_S = 0.25
"""Two ticks are never closer, however much work comes."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick knew, decided, and remembered from before and for after."""

    snapshot: Snapshot
    plan: Plan
    before: Memory
    after: Memory


class Controller:
    """The loop and what it speaks to: the grantor for agents, the page for people, the record for replays."""

    def __init__(
        self,
        settings: ControllerSettings,
        store: RosterStore,
        workload: Workload,
        surroundings: Surroundings | None = None,
        recorder: Recorder | None = None,
        now: Now = steady_s,
        kept_of: KeptOf | None = None,
    ) -> None:
        self.workload, self.surroundings = workload, surroundings
        self._recorder, self._now = recorder, now
        self._said = Said(log)
        kept_of = kept_of or files_in(Path(settings.state_folder))
        self._lasting = Lasting(kept_of("learned"))
        self._accounts = JobAccounts(Path(settings.state_folder) / "jobs.jsonl")
        self._book = JobBook(self._accounts)
        self.page = Page(self._book)
        self._hold(settings, Observer(settings, workload, surroundings))
        self._coming: tuple[ControllerSettings, Observer] | None = None
        self._showing, self._memory = Showing(), FRESH
        self.grantor = Grantor(terms_of(settings, self._observer.site), membership_of(self._observer.site), store, now)
        self.share = share_of(settings, kept_of("share"), self.grantor, self._hold_to_share, lambda: self._beside_w)
        self._supply_w = self._beside_w = 0.0
        self._asleep: frozenset[str] = frozenset()
        self.newest: Tick | None = None
        self.missing_w = 0.0

    def _hold(self, settings: ControllerSettings, observer: Observer) -> None:
        self.settings, self._observer = settings, observer
        self._node_watts = NodeWatts(settings.groups)

    def change(self, settings: ControllerSettings) -> None:
        """Hold to other budgets and nodes from the next tick on; grants' length and the share change at a restart.

        BudgetError where they do not fit together; then the old ones hold.
        """
        self._coming = settings, Observer(settings, self.workload, self.surroundings)

    def _take_up(self) -> None:
        """What was changed counts between two ticks: each tick is of one site."""
        if self._coming is None:
            return
        (settings, observer), self._coming = self._coming, None
        before = self._scopes()
        self.workload.agree(settings.profiles)
        self._hold(settings, observer)
        if before != self._scopes():  # what was learned of scopes stands in their order
            scopes = resumed(self._scopes(), kept(before, self._memory.scopes))
            self._memory = replace(self._memory, scopes=scopes, storage_plans=())
        self.grantor.assure(terms_of(settings, observer.site).guaranteed_w)
        self._enlist()

    def _scopes(self) -> tuple[str, ...]:
        return tuple(scope.id for scope in self._observer.site.scopes)

    def _enlist(self) -> None:
        """Tell the grantor who is a member; a node that its scheduler switched off counts for less."""
        self._asleep = self.workload.asleep
        self.grantor.change(membership_of(self._observer.site, self._asleep))

    async def run(self) -> None:
        """Look at the work and what lies around it, and decide every tick until cancelled; while another leads, wait.

        Raises what any of these raised: one that has ended ends all.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.workload.run())
            if self.surroundings:
                tasks.create_task(self.surroundings.run())
            if self.share:
                tasks.create_task(self.share.run())
            tasks.create_task(self._decide())

    async def _decide(self) -> None:
        leads = False
        while True:
            begun_s = self._now()
            self._take_up()
            leads, led = self.grantor.leads(), leads
            if leads and not led:
                self._memory = await asyncio.to_thread(self._lasting.load, self._scopes())
                if self.share:
                    await self.share.remember()
                self.workload.begin()
            if leads:
                await self._tick()
            notify(ALIVE)
            await self._rest(begun_s)

    async def _rest(self, begun_s: float) -> None:
        """Until the next tick is due, or work has come that none has seen."""
        await asyncio.sleep(max(EARLY_S - (self._now() - begun_s), 0.0))
        await set_within(self.workload.came, max(self.settings.tick_seconds - (self._now() - begun_s), 0.0))
        self.workload.came.clear()

    async def _tick(self) -> None:
        ledger = self.grantor.ledger
        if ledger is None:
            return
        if self.workload.asleep != self._asleep:
            self._enlist()
        now_s = time.time()
        leased = (self.share.window(now_s),) if self.share else ()
        snapshot = self._observer.snapshot(self.grantor.reports, ledger, self._now(), now_s, leased)
        before = risen(self._memory, snapshot) if self.share else self._memory
        plan, after = await asyncio.to_thread(decide, snapshot, before)
        if self.share:
            self.share.tell(plan, await asyncio.to_thread(frontier, snapshot, before))
        self._memory = after
        if self.surroundings:
            self.surroundings.note(snapshot, plan, after)
        self._act(snapshot, plan, after)
        self.newest = Tick(snapshot, plan, before, after)
        await self._report(self.newest)

    def _act(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Grant by the plan, and tell the workload and the surroundings; in shadow mode the plan is only shown."""
        if shadows(snapshot.site):
            self._let_go(snapshot, plan, after)
            return
        self.workload.act(snapshot, plan, after)
        if self.surroundings:
            self.surroundings.act(snapshot, plan)
        self._beside_w = beside_w(snapshot, after.scopes, self._node_watts)
        wished = targets(snapshot, plan, after.scopes, self._node_watts, self._beside_w)
        missing_w = self._grant(wished, supply_w(snapshot, plan))
        if isinstance(missing_w, Refused):
            return
        self.missing_w = missing_w
        if missing_w > 0.0:
            text = f"{missing_w:.0f} W of fallbacks and silent nodes do not fit under {plan.scopes[0].limit_w:.0f} W"
            self._said.once(logging.ERROR, "limit cannot be held", text)
        else:
            self._said.forget("limit cannot be held")
        for node, told in hints(snapshot, plan, self.workload.asks).items():
            self.grantor.set_hints(node, told)

    def _grant(self, wished: Mapping[str, Target], supply_w: float) -> float | Refused:
        """Grant what is wished, within what is leased where that is a share; return the watts that cannot fit."""
        self._supply_w = supply_w
        return self.grantor.plan(wished, *self._of_nodes())

    def _of_nodes(self) -> tuple[float, float | None]:
        """What of the limit, and of the share, is the nodes' own, and until when it is."""
        if self.share is None:
            return max(self._supply_w - self._beside_w, 0.0), None
        leased_w, until_s = self.share.leased()
        return max(min(self._supply_w, leased_w) - self._beside_w, 0.0), until_s

    def _hold_to_share(self) -> None:
        """The share is another, or lasts longer: what was planned is held to it at once."""
        if self.share and not shadows(self._observer.site):
            self.grantor.hold_to(*self._of_nodes())

    def _let_go(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Hold nothing: jobs go on, hints are taken back, and nodes may draw all they can."""
        self.workload.let_go(snapshot, plan, after)
        self.grantor.plan(unlimited(snapshot), float(snapshot.site.nodes.nameplate_w.sum()))
        self.missing_w = 0.0
        for node in snapshot.site.nodes.id:
            self.grantor.set_hints(node, ())

    async def _report(self, tick: Tick) -> None:
        if self._recorder:
            await asyncio.to_thread(self._recorder.write, tick.snapshot, tick.plan, tick.before)
        if self._lasting.due(self._now()):
            await asyncio.to_thread(self._lasting.save, tick.after, [s.id for s in tick.snapshot.site.scopes])
        if ended := self._book.note(tick.snapshot, tick.plan):
            await asyncio.to_thread(self._accounts.write, ended)
        self._showing.note(tick.snapshot, tick.plan, tick.after)
        self.page.publish(self._showing.view(tick.snapshot, tick.plan, tick.before, tick.after))


def terms_of(settings: ControllerSettings, site: Site) -> GrantTerms:
    """What the ledger holds to; in shadow mode all that the nodes may draw is theirs."""
    assured_w = float(site.scopes[0].budget.spec.assured_watts)
    guaranteed_w = max(assured_w, float(site.nodes.nameplate_w.sum())) if shadows(site) else assured_w
    return GrantTerms(guaranteed_w=guaranteed_w, ttl_s=settings.grant_seconds)
