"""The facility's loop: hears clusters, decides each second what a watt is worth, and leases each its share.

It is a controller's loop with clusters in place of nodes. What lies around them (meters, batteries, prices, events)
is asked and ordered as any controller does; what a cluster does with its watts is its own affair.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from wattlease.core.decide_shares import Shared, Wish, decide_shares
from wattlease.core.frontier import Frontier
from wattlease.core.kept_overhead import kept, resumed
from wattlease.core.lease import Refused, Target
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import NodeReadings, Site, Snapshot
from wattlease.core.shares_site import NO_JOBS, readings_of_shares, site_of_shares
from wattlease.facility.shares.settings import FacilitySettings
from wattlease.runtime.controller.act import beside_w, lent_w, supply_w
from wattlease.runtime.controller.lasting import KeptFile, Lasting
from wattlease.runtime.controller.surroundings import Surroundings, surrounded
from wattlease.runtime.job_accounts import JobAccounts
from wattlease.runtime.job_book import JobBook
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.report import ShareReport
from wattlease.runtime.lease.said import Said
from wattlease.runtime.lease.store import RosterStore
from wattlease.runtime.lease.terms import GrantTerms
from wattlease.runtime.notify import ALIVE, notify
from wattlease.runtime.showing import Showing
from wattlease.runtime.site import membership_of, scopes_of, shadows, storages_of
from wattlease.runtime.web import Page

NEWS_FRAC = 5e-4
"""A cluster is woken for a cut or a raise of this share of the limit; of a smaller one it hears within a second."""

log = logging.getLogger(__name__)


class Facility:
    """One site's loop, and what it speaks to: the grantor for clusters, the page for people."""

    def __init__(
        self, settings: FacilitySettings, store: RosterStore, surroundings: Surroundings | None, now: Now = steady_s
    ) -> None:
        self.surroundings, self._now = surroundings, now
        self._said = Said(log)
        self.page = Page(JobBook(JobAccounts(Path(settings.state_folder) / "jobs.jsonl")))
        self._memory, self._showing = FRESH, Showing()
        self._lasting = Lasting(KeptFile(Path(settings.state_folder) / "learned.json"))
        self.settings, self._site = settings, site_of(settings)
        self._coming: tuple[FacilitySettings, Site] | None = None
        self.grantor = Grantor(terms_of(settings, self._site), membership_of(self._site, lapses=True), store, now)

    def change(self, settings: FacilitySettings) -> None:
        """Hold to other budgets and shares from the next tick on; the length of leases changes at a restart."""
        self._coming = settings, site_of(settings)

    def _take_up(self) -> None:
        """What was changed counts between two ticks: each tick is of one site."""
        if self._coming is None:
            return
        before, (self.settings, self._site), self._coming = self._site, self._coming, None
        if _names(before) != _names(self._site):  # what was learned of scopes stands in their order
            scopes = resumed(_names(self._site), kept(_names(before), self._memory.scopes))
            self._memory = replace(self._memory, scopes=scopes, storage_plans=())
        self.grantor.assure(terms_of(self.settings, self._site).guaranteed_w)
        self.grantor.change(membership_of(self._site, lapses=True))

    async def run(self) -> None:
        """Look around and decide every tick until cancelled; while another leads, wait. Raises what either raised."""
        async with asyncio.TaskGroup() as tasks:
            if self.surroundings:
                tasks.create_task(self.surroundings.run())
            tasks.create_task(self._decide())

    async def _decide(self) -> None:
        leads = False
        while True:
            begun_s = self._now()
            self._take_up()
            leads, led = self.grantor.leads(), leads
            if leads and not led:
                self._memory = await asyncio.to_thread(self._lasting.load, _names(self._site))
            if leads:
                await self._tick()
            notify(ALIVE)
            await asyncio.sleep(max(self.settings.tick_seconds - (self._now() - begun_s), 0.0))

    async def _tick(self) -> None:
        snapshot, wishes = self._snapshot(time.time()), self._wishes()
        before = self._memory
        shared, after = await asyncio.to_thread(decide_shares, snapshot, wishes, before)
        self._memory = after
        if self.surroundings:
            self.surroundings.note(snapshot, shared.plan, after)
        self._act(snapshot, shared, after)
        if self._lasting.due(self._now()):
            await asyncio.to_thread(self._lasting.save, after, _names(snapshot.site))
        self._showing.note(snapshot, shared.plan, after)
        self.page.publish(self._showing.view(snapshot, shared.plan, before, after))

    # What is known

    def _snapshot(self, now_s: float) -> Snapshot:
        site, steady, ledger = self._site, self._now(), self.grantor.ledger
        told = [self.grantor.shares.get(name) for name in site.nodes.id]
        enrolled = ledger.accounts if ledger else {}
        granted_w = [
            ledger.liability_w(name, steady) if ledger and name in enrolled else float(most_w)
            for name, most_w in zip(site.nodes.id, site.nodes.nameplate_w, strict=True)
        ]
        nothing = np.full(len(told), np.nan)
        known = Snapshot(
            now_s=now_s,
            site=site,
            gpus=readings_of_shares(
                [heard.report.power_w if heard else np.nan for heard in told],
                [steady - heard.heard_s if heard else np.inf for heard in told],
                granted_w,
            ),
            nodes=NodeReadings(nothing, np.full(len(told), np.inf), np.array(granted_w)),
            jobs=NO_JOBS,
        )
        return surrounded(known, self.surroundings)

    def _wishes(self) -> tuple[Wish, ...]:
        """What each cluster asks for; one whose lease has run out is not heard."""
        steady, shares = self._now(), self.grantor.shares
        recent = {n: h.report for n, h in shares.items() if steady - h.heard_s < self.settings.grant_seconds}
        priority = {share.spec.cluster: share.spec.priority for share in self.settings.shares}
        return tuple(Wish(_frontier(recent, name), priority[name]) for name in self._site.nodes.id)

    # What is done

    def _act(self, snapshot: Snapshot, shared: Shared, after: Memory) -> None:
        """Lease by the plan and order the batteries; in shadow mode each cluster has all that it may ever have."""
        nodes, plan = snapshot.site.nodes, shared.plan
        if shadows(snapshot.site):
            self.grantor.plan(_targets(nodes.id, nodes.nameplate_w.tolist()), float(nodes.nameplate_w.sum()))
            return
        if self.surroundings:
            self.surroundings.act(snapshot, plan)
        cooling_w = beside_w(snapshot, after.scopes)
        wished = _targets(nodes.id, lent_w(snapshot, plan, after.scopes, plan.grant_w, cooling_w).tolist())
        missing_w = self.grantor.plan(wished, max(supply_w(snapshot, plan) - cooling_w, 0.0))
        if isinstance(missing_w, Refused):
            return
        if missing_w > 0.0:
            text = f"{missing_w:.0f} W of guarantees and silent clusters do not fit under {plan.scopes[0].text}"
            self._said.once(logging.ERROR, "limit cannot be held", text)
        else:
            self._said.forget("limit cannot be held")


def site_of(settings: FacilitySettings) -> Site:
    """The site as the core sees it. Raises BudgetError where the budgets do not fit together."""
    scopes = scopes_of(settings.budgets)
    return site_of_shares(settings.name, scopes, tuple(storages_of(scopes)), settings.shares)


def _names(site: Site) -> tuple[str, ...]:
    return tuple(scope.id for scope in site.scopes)


def terms_of(settings: FacilitySettings, site: Site) -> GrantTerms:
    """What the ledger holds to; in shadow mode all that clusters may ever have is theirs."""
    root = site.scopes[0].budget.spec
    assured_w, news_w = float(root.assured_watts), NEWS_FRAC * root.limit_watts
    guaranteed_w = max(assured_w, float(site.nodes.nameplate_w.sum())) if shadows(site) else assured_w
    return GrantTerms(guaranteed_w=guaranteed_w, ttl_s=settings.grant_seconds, raise_news_w=news_w, cut_news_w=news_w)


def _targets(names: tuple[str, ...], watts_w: list[float]) -> Mapping[str, Target]:
    return {name: Target(w) for name, w in zip(names, watts_w, strict=True)}


def _frontier(told: Mapping[str, ShareReport], name: str) -> Frontier | None:
    report = told.get(name)
    if report is None:
        return None
    tier, price, freed_w = zip(*report.steps, strict=True) if report.steps else ((), (), ())
    return Frontier(report.top_w, np.array(tier, np.int64), np.array(price, float), np.array(freed_w, float))
