"""A cluster's part of a budget, leased from its facility: held like a node's grant, by the same words and laws.

Rule 1: what this controller grants its nodes sums to at most the leased watts, and no grant of a node outlives the
    lease (`Ledger.plan(until_s=...)`). When the lease runs out, what is guaranteed holds, from that moment on.
Rule 2: what is in force is what this controller's own ledger counts, and what draws at the feed beside the nodes, such
    as cooling: watts are returned once nodes have acknowledged less, not when less was planned.
Rule 3: the fallback that it reports is what would be drawn if it heard nothing more: what is guaranteed, or more while
    a silent node's caps may stay above its fallback.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import fsum
from pathlib import Path
from uuid import uuid4

from wattlease.core.actions import Plan
from wattlease.core.frontier import Frontier
from wattlease.core.lease import Grant, Holder, Ledger, with_fallback
from wattlease.core.leased import leased_window
from wattlease.core.model import Window
from wattlease.runtime.controller.lasting import Kept
from wattlease.runtime.controller.settings import ControllerSettings
from wattlease.runtime.controller.share_fallback import ShareFallback
from wattlease.runtime.controller.share_settings import ShareSettings
from wattlease.runtime.lease.client import Duties, LeaseClient
from wattlease.runtime.lease.clock import Now
from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.grantors import Grantors
from wattlease.runtime.lease.report import Hint, NodeReport, ShareReport
from wattlease.runtime.lease.said import Said
from wattlease.runtime.lease.tls import TlsFiles

LOOK_S = 0.1
"""How soon the lease is asked for when this controller comes to lead, and let go when it leads no more."""

OBEY_LOOK_S = 0.02
"""How often the own ledger is looked at while nodes come down to a lower share."""

SILENT_S = 3.0
"""A node that was not heard for so long may be dead, its caps as they were."""

ROUNDING_W = 1e-3
"""By how much less sums of thousands of nodes differ when their order does."""

log = logging.getLogger(__name__)


class Share:
    """The lease of one cluster. It asks while its own grantor leads; `on_news` holds the last plan to it, `beside_w`
    tells what draws beside the nodes."""

    def __init__(
        self,
        settings: ShareSettings,
        fallback: ShareFallback,
        grantor: Grantor,
        on_news: Callable[[], object],
        beside_w: Callable[[], float] = float,
    ) -> None:
        self._settings, self._fallback, self._grantor, self._on_news = settings, fallback, grantor, on_news
        self._beside_w = beside_w
        self._now: Now = grantor.now
        self._client: LeaseClient | None = None
        self._told: ShareReport | None = None
        self._obeyed = 0
        self._said = Said(log)

    # What holds

    def leased(self) -> tuple[float, float | None]:
        """The most that the cluster may draw at its feed now, and until when on the grantor's clock; None while what is
        guaranteed holds."""
        client, now_s = self._client, self._now()
        if client and now_s < client.holder.expires_s:
            return client.allowed_w(now_s), client.holder.expires_s
        return self._fallback.watts_w, None

    def window(self, now_s: float) -> Window:
        """The share as one limit among others, at unix time `now_s`."""
        watts_w, until_s = self.leased()
        name = "guaranteed" if until_s is None else "leased"
        return leased_window(name, watts_w, now_s)

    def tell(self, plan: Plan, of: Frontier) -> None:
        """What the facility is to know of a tick."""
        steps = zip(of.tier.tolist(), of.price.tolist(), of.freed_w.tolist(), strict=True)
        self._told = ShareReport(power_w=max(plan.scopes[0].draw_w, 0.0), top_w=max(of.top_w, 0.0), steps=tuple(steps))

    # The lease

    async def remember(self) -> None:
        """Take up what this or another process last promised to fall back to."""
        await asyncio.to_thread(self._fallback.load)

    async def run(self) -> None:
        """Hold the lease whenever the own grantor leads and knows what its nodes have, until cancelled."""
        while True:
            ledger = self._grantor.ledger
            if ledger and self._grantor.leads() and not ledger.waits(self._now()):
                await self._hold()
            await asyncio.sleep(LOOK_S)

    async def _hold(self) -> None:
        await self.remember()
        holder = Holder(self._settings.cluster, uuid4().hex, self._fallback.watts_w)
        duties = Duties(self._report, self._obey, _no_hints, self._fallback.save, lambda: self._told)
        self._client = client = LeaseClient(holder, self._grantors(), duties, self._now)
        renewing = asyncio.create_task(client.run())
        try:
            while self._grantor.leads() and not renewing.done():
                await asyncio.sleep(LOOK_S)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=not renewing.done())
            self._client, self._told = None, None

    def _grantors(self) -> Grantors:
        files = (self._settings.authority, self._settings.certificate, self._settings.key)
        return Grantors(self._settings.grantors, TlsFiles(*map(Path, files)))

    def _report(self) -> tuple[NodeReport | None, float]:
        """What is in force here; before it is told, the fallback is what it is by now."""
        ledger, client = self._grantor.ledger, self._client
        if ledger is None or client is None:
            return None, self._fallback.watts_w
        now_s = self._now()
        left_w = self._beside_w() + fsum(self._left_w(ledger, name, now_s) for name in ledger.accounts)
        self._warn(left_w)
        client.holder = with_fallback(client.holder, max(self._fallback.watts_w, left_w))
        self._on_news()  # the answer before may have made the lease last longer
        return None, max(0.0, self._committed_w() - ROUNDING_W)

    def _left_w(self, ledger: Ledger, name: str, now_s: float) -> float:
        """What a node draws once its grant has run out: its fallback, or all it has if nobody is there to lower it."""
        heard = self._grantor.reports.get(name)
        if heard and now_s - heard.heard_s < SILENT_S:
            return ledger.accounts[name].fallback_w()
        return ledger.liability_w(name, now_s)

    def _warn(self, left_w: float) -> None:
        over_w = left_w - self._fallback.watts_w
        if over_w > ROUNDING_W:
            text = (
                f"{over_w:.0f} W more than the {self._fallback.watts_w:.0f} W that are guaranteed stay drawn without it"
            )
            self._said.once(logging.WARNING, "share", text)
        else:
            self._said.forget("share")

    async def _obey(self, grant: Grant | None) -> None:
        """Grant by it at once, and wait until the nodes are down to it or another one has come."""
        self._obeyed += 1
        mine = self._obeyed
        self._on_news()
        limit_w = grant.watts_w if grant else self._fallback.watts_w
        while mine == self._obeyed and self._client and self._committed_w() > limit_w + ROUNDING_W:
            await asyncio.sleep(OBEY_LOOK_S)

    def _committed_w(self) -> float:
        ledger = self._grantor.ledger
        return self._beside_w() + ledger.committed_w(self._now()) if ledger else 0.0


def share_of(
    settings: ControllerSettings,
    kept: Kept,
    grantor: Grantor,
    on_news: Callable[[], object],
    beside_w: Callable[[], float] = float,
) -> Share | None:
    """The lease that a controller's settings speak of; `kept` is where its fallback lasts."""
    if settings.share is None:
        return None
    root = next(b for b in settings.budgets if b.spec.parent is None)
    return Share(settings.share, ShareFallback(kept, float(root.spec.assured_watts)), grantor, on_news, beside_w)


def _no_hints(_hints: tuple[Hint, ...]) -> None:
    """A cluster has no jobs at its facility."""
