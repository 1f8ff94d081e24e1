"""The process on a GPU node: to the fallback first, then leased; whatever ends it, the limits stay as they are.

The lease is kept by `keeper`'s threads; the event loop here only talks: renews, reports, hints, answers probes. If
any part of either dies, so does the process, and the next one begins at its fallback.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from threading import Timer
from uuid import uuid4

from wattlease.agent import assembly
from wattlease.agent.cards import Trouble
from wattlease.agent.grant_log import GrantLog
from wattlease.agent.hands import Outcome
from wattlease.agent.hinting import Hinting
from wattlease.agent.hints import HintFolder
from wattlease.agent.keeper import Keeper
from wattlease.agent.meters import NodeMeters
from wattlease.agent.originals import Originals
from wattlease.agent.reporting import reporter
from wattlease.agent.settings import AgentSettings
from wattlease.agent.state_folder import AgentFolder
from wattlease.agent.tenants import Tenants
from wattlease.core.errors import MeterError
from wattlease.core.lease import Grant, Holder
from wattlease.runtime.lease.client import Duties, LeaseClient
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.notify import ALIVE, READY, STOPPING, notify, watchdog_s

PULSE_S = 1.0
STOP_S = 3.0
LAST_S = 5
"""Past this the kernel ends a process in which not even a thread can run any more."""

BLIND_S = 0.5
"""A driver that does not tell its cards is asked again after this long."""

log = logging.getLogger(__name__)


class Agent:
    """One node. Its folder is held by the caller for as long as this lives."""

    def __init__(self, settings: AgentSettings, folder: AgentFolder) -> None:
        self.settings, self.folder = settings, folder
        self.hands = assembly.hands(settings, Originals(folder.originals))
        self.tenants, self.meters = Tenants(settings.jobs), NodeMeters(settings)
        self._grant_log = GrantLog()
        self.client: LeaseClient | None = None
        self.keeper: Keeper | None = None
        self._hinting = Hinting(
            HintFolder(settings.hints_folder, shared=self.tenants.has_pods), self.tenants, self.is_granted
        )

    def is_granted(self) -> bool:
        """Whether a grant is running."""
        return self.client is not None and steady_s() < self.client.holder.expires_s

    def why_unready(self) -> str:
        """Why it is not within a lease or its fallback; empty if it is."""
        keeper, client = self.keeper, self.client
        if keeper is None or client is None or self.hands.blind:
            return "the driver has not told which cards there are"
        if dead := keeper.why_dead():
            return dead
        allowed_w, in_force_w = client.allowed_w(), self.hands.in_force_w
        if in_force_w > allowed_w + 1e-6:
            return f"{in_force_w:.0f} W are in force, {allowed_w:.0f} W are allowed"
        return ""

    async def run(self) -> None:
        """Keep the lease until cancelled. Raises MeterError when a thread that keeps it has died."""
        grantors = assembly.grantors(self.settings)
        fallback_w, first = await self._go_to_fallback()
        holder = Holder(self.settings.node, uuid4().hex, fallback_w)
        self.client = client = LeaseClient(holder, grantors, self._duties(), period_s=self.settings.renew_seconds)
        self.keeper = keeper = self._keeper(client)
        keeper.start(first)
        try:
            async with asyncio.TaskGroup() as group:
                for part in (self.meters.run, self.tenants.run, self._hinting.run, self._show, self._pulse):
                    group.create_task(part())
                group.create_task(self._renew(client))
        finally:
            notify(STOPPING)
            keeper.stop()

    async def _go_to_fallback(self) -> tuple[float, Outcome]:
        """Before anything else: to the saved fallback, the configured one, or every card's least limit."""
        saved = self.folder.fallback_w()
        if isinstance(saved, Trouble):
            log.error("fallback: %s", saved.text)
        known_w = saved if saved is not None else self.settings.fallback_watts
        wanted_w = None if isinstance(known_w, Trouble) else known_w
        outcome = await asyncio.to_thread(self.hands.fall, wanted_w or 0.0)
        notify(READY)
        while wanted_w is None and self.hands.blind:
            await asyncio.sleep(BLIND_S)
            outcome = await asyncio.to_thread(self.hands.fall, 0.0)
        fallback_w = self.hands.floor_w if wanted_w is None else wanted_w
        if wanted_w is None:
            outcome = await asyncio.to_thread(self.hands.fall, fallback_w)  # else the guard would hold the node to 0 W
        log.info("start node=%s fallback_w=%.0f in_force_w=%.0f", self.settings.node, fallback_w, outcome.in_force_w)
        if outcome.shortfall_w > 0.0 and wanted_w is not None:
            log.warning("the cards cannot be brought below the fallback by shortfall_w=%.0f", outcome.shortfall_w)
        return fallback_w, outcome

    async def _renew(self, client: LeaseClient) -> None:
        while self.hands.blind and self.settings.nameplate_watts is None:
            await asyncio.sleep(BLIND_S)
        await client.run()

    async def _show(self) -> None:
        if self.settings.listen:
            from wattlease.agent.metrics import show  # a node without metrics loads no server for them

            await show(self, self.settings.listen)

    async def _pulse(self) -> None:
        """Tell systemd that all are alive, or end for good where one is not."""
        every_s = min(PULSE_S, watchdog_s() or PULSE_S)
        while True:
            if self.keeper and (dead := self.keeper.why_dead()):
                raise MeterError(f"{dead}; the agent ends, limits stay as they are")
            notify(ALIVE)
            await asyncio.sleep(every_s)

    def _keeper(self, client: LeaseClient) -> Keeper:
        return Keeper(
            self.hands,
            lambda: client.holder,
            assembly.reaction_s(self.settings),
            look_s=self.settings.look_seconds,
            guard_s=self.settings.guard_seconds,
            node_w=self.meters.fresh_w,
        )

    def _duties(self) -> Duties:
        report = reporter(self.hands, self.tenants, self.meters, self.settings.nameplate_watts)
        return Duties(report, self._obey, self._hinting.tell, self.folder.save_fallback)

    async def _obey(self, grant: Grant | None) -> None:
        self._grant_log.note(grant)
        if self.keeper:
            await asyncio.wrap_future(self.keeper.obey())


def _end_anyway() -> None:
    """A file or a card that hangs holds up no stop: an orderly end and an abrupt one leave the same limits."""
    last = Timer(STOP_S, os._exit, (0,))
    last.daemon = True
    last.start()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LAST_S)


async def until_told_to_stop(work: Callable[[], Awaitable[None]]) -> None:
    """Run until SIGTERM or SIGINT, or until the work fails."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    working, stopping = asyncio.ensure_future(work()), asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        log.info("told to stop; limits stay as they are")
        _end_anyway()
        working.cancel()
    await asyncio.gather(working, return_exceptions=stop.is_set())
