"""The holder's side of the wire: asks every second, obeys what it is granted, and never dies of trouble.

One request is open at a time, and it waits at the grantor for about a second: so the grantor hears every second, and
news finds an open request at any moment. After news the holder asks again at once, so that watts which it returned
reach the others without waiting for the next second.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wattlease.core.lease import Grant, Holder, Refused, allowed_w, ask, hear, with_fallback
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.grantors import Grantors
from wattlease.runtime.lease.report import Hint, NodeReport, Renewal, Reply, ShareReport
from wattlease.runtime.lease.said import Said

PERIOD_S = 1.0
OBEY_S = 1.0
BREATH_S = 0.02
"""Between an answer that was news and the next request: answers that never cease shall not fill a core."""

log = logging.getLogger(__name__)


def _no_cluster() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Duties:
    """What a holder does around its lease. None of it may block the loop.

    `report` tells the newest readings and the watts in force as read back from the hardware. `on_grant` makes a grant
    hold (`None`: the grant ran out, the fallback holds) and returns once it was read back; if the hardware is slow it
    may be called again meanwhile. The next request is made when it returns, or `OBEY_S` later, and acknowledges a lower
    grant only if `report` then says that it is in force. `save_fallback` keeps the fallback on disk; it is called in a
    thread and raises OSError. `share` is what a cluster tells of itself.
    """

    report: Callable[[], tuple[NodeReport | None, float]]
    on_grant: Callable[[Grant | None], Awaitable[None]]
    on_hints: Callable[[tuple[Hint, ...]], None]
    save_fallback: Callable[[float], None]
    share: Callable[[], ShareReport | None] = _no_cluster


class LeaseClient:
    """One holder. `run` renews until cancelled; `allowed_w` tells at any time what may be drawn."""

    def __init__(
        self, holder: Holder, grantors: Grantors, duties: Duties, now: Now = steady_s, period_s: float = PERIOD_S
    ) -> None:
        self.holder = holder
        self.renewals = self.failures = 0
        self.trouble = ""
        self._grantors, self._duties = grantors, duties
        self._now, self._period_s = now, period_s
        self._hints: tuple[Hint, ...] = ()
        self._in_force: tuple[float, tuple[float, ...]] | None = None
        self._lapse: asyncio.TimerHandle | None = None
        self._obeying: asyncio.Future[None] | None = None
        self._said = Said(log)
        self._failed_in_a_row = 0

    def allowed_w(self, now_s: float | None = None) -> float:
        """The most it may draw now, or will at a time on its clock if nothing more is heard."""
        return allowed_w(self.holder, self._now() if now_s is None else now_s)

    async def run(self) -> None:
        """Renew until cancelled."""
        try:
            while True:
                asked_s, wait_s = self._now(), self._period_s * random.uniform(0.9, 1.1)
                news = await self._renew(wait_s)
                await asyncio.sleep(self._pause_s(asked_s + wait_s - self._now(), news))
        finally:
            if self._lapse:
                self._lapse.cancel()
            await self._grantors.close()

    def _pause_s(self, left_s: float, news: bool) -> float:
        """How long to rest: hardly after news, the rest of the period else; after failures, when all were asked."""
        if self._failed_in_a_row == 0:
            return BREATH_S if news else max(0.0, left_s)
        if self._failed_in_a_row % len(self._grantors.addresses):
            return BREATH_S
        return self._period_s * random.uniform(0.2, 1.0)

    async def _renew(self, wait_s: float) -> bool:
        (report, in_force_w), share = self._duties.report(), self._duties.share()
        self.holder, request = ask(self.holder, self._now(), in_force_w)
        reply = await self._grantors.call(Renewal(request=request, report=report, share=share, wait_s=wait_s))
        if isinstance(reply, Refused):
            self._fail(reply.reason)
            return False
        epoch = self.holder.epoch
        self.holder, refused = hear(self.holder, reply.answer)
        if refused:
            self._fail(refused.reason)
            return False
        self._succeed()
        return await self._obey(reply) or epoch != self.holder.epoch

    async def _obey(self, reply: Reply) -> bool:
        """Do what the answer says; say whether any of it was news."""
        told = reply.hints != self._hints
        if told:
            self._hints = reply.hints
            self._duties.on_hints(reply.hints)
        grant = reply.answer.grant
        if grant is None:
            return told
        self._watch_for_the_end()
        granted = (grant.watts_w, grant.caps_w)
        changed = granted != self._in_force and self._now() < self.holder.expires_s
        if changed:
            self._in_force = granted
            await self._make_hold(grant)
        await self._keep_fallback(grant.fallback_w)
        return told or changed

    async def _make_hold(self, grant: Grant) -> None:
        """Wait until the grant is in force, unless that takes long: then a later request acknowledges it."""
        self._obeying = asyncio.ensure_future(self._duties.on_grant(grant))
        done, _ = await asyncio.wait({self._obeying}, timeout=OBEY_S)
        for task in done:
            task.result()

    async def _keep_fallback(self, fallback_w: float) -> None:
        if fallback_w == self.holder.fallback_w:
            return
        try:
            await asyncio.to_thread(self._duties.save_fallback, fallback_w)
        except OSError as trouble:
            self._said.once(logging.ERROR, "fallback not saved", f"{trouble}; the old one holds")
        else:
            self._said.forget("fallback not saved")
            self.holder = with_fallback(self.holder, fallback_w)

    def _watch_for_the_end(self) -> None:
        if self._lapse:
            self._lapse.cancel()
        left_s = max(0.0, self.holder.expires_s - self._now())
        self._lapse = asyncio.get_running_loop().call_later(left_s, self._end)

    def _end(self) -> None:
        if self._now() < self.holder.expires_s:
            self._watch_for_the_end()  # the loop's clock is bent, and ran ahead
            return
        self._in_force = None
        log.warning("grant ran out: fallback_w=%g trouble=%s", self.holder.fallback_w, self.trouble)
        self._obeying = asyncio.ensure_future(self._duties.on_grant(None))

    def _fail(self, reason: str) -> None:
        self.failures += 1
        self._failed_in_a_row += 1
        self.trouble = reason
        self._said.once(logging.WARNING, "not renewed", reason)

    def _succeed(self) -> None:
        self.renewals += 1
        self._failed_in_a_row = 0
        self.trouble = ""
        if self._said.forget("not renewed"):
            log.info("renewed again: grantor=%s", self._grantors.address)
