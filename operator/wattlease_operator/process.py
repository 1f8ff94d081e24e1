"""`wattlease operator run`: the shared loop over a cluster's objects, with what leads, lasts and tells in the cluster.

A life is one controller: it begins when there is a budget and a node with GPUs, follows the objects, and ends when
there is nothing to hold to, or when meters or batteries come into play that were not there before. Each life leads
under an epoch of its own, so that what the one before granted is fenced as after any restart.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from kubernetes.aio.client import Configuration

from wattlease.core.errors import WattleaseError
from wattlease.runtime.cli import Refusal
from wattlease.runtime.controller.controller import Controller
from wattlease.runtime.controller.process import first_of, holder, listening, log_plainly, recorder_of, until_told
from wattlease.runtime.controller.settings import ControllerSettings
from wattlease.runtime.controller.surroundings import speaks_of_surroundings, surroundings_of
from wattlease.runtime.files import load
from wattlease.runtime.garbage import collect_rarely
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.leadership import lead
from wattlease.runtime.notify import READY, notify
from wattlease.runtime.web import Page
from wattlease.runtime.web import serving as serving_page
from wattlease_operator.api import Api
from wattlease_operator.aside import Aside
from wattlease_operator.book import ConfigMapState
from wattlease_operator.cache import Cache, Ref
from wattlease_operator.connection import connection
from wattlease_operator.following import BUDGETS, PROFILES, Following
from wattlease_operator.identities import callers
from wattlease_operator.kinds import PODS, WATCHED
from wattlease_operator.leadership import LEASES, KubeLeadership
from wattlease_operator.reporting import Reporting, told_of
from wattlease_operator.settings import OperatorSettings
from wattlease_operator.state import ClusterFile, ClusterState
from wattlease_operator.telling import Telling, refs_of
from wattlease_operator.watching import Watching
from wattlease_operator.words import Cards
from wattlease_operator.workload import KubeWorkload

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""Between two looks at what the objects come to."""

LEASE_CALL_S = 2.0
"""The longest that a call for leadership takes: several fit into one time to live."""

FIELDS = {PODS: "status.phase!=Succeeded"}
"""What need not be watched: a pod that succeeded draws nothing and never will."""


def run(path: Path) -> None:
    """Run until Ctrl-C or SIGTERM. BudgetError for a mistake in the file, Refusal where it cannot listen."""
    log_plainly()
    logging.getLogger("kopf").setLevel(logging.ERROR)  # what it retries is told by what we make of it
    settings = load(path, OperatorSettings)
    collect_rarely()
    try:
        asyncio.run(until_told(_operate(settings)))
    except (OSError, ValueError) as error:
        raise Refusal(f"{path}: {error}") from error


async def _operate(settings: OperatorSettings) -> None:
    reached = await connection(settings.kubeconfig)
    cache = Cache()
    api, aside = Api(reached, cache.hear), Aside(reached, LEASE_CALL_S)
    try:
        operator = Operator(settings, reached, cache, api, aside)
        await first_of(operator.watch(), operator.tell(), operator.live())
    finally:
        await api.close()
        await asyncio.to_thread(aside.close)


class Operator:
    """One process: what it watches, and one life after another."""

    def __init__(
        self, settings: OperatorSettings, reached: Configuration, cache: Cache, api: Api, aside: Aside
    ) -> None:
        self._settings, self._reached = settings, reached
        self._cache, self._api, self._aside = cache, api, aside
        self._following = Following(settings, cache)
        self._telling = Telling(api, refs_of(cache))
        self._reporting = Reporting(api, cache, self._telling)
        self._state = ClusterState(aside, settings.namespace)

    async def watch(self) -> None:
        """Fill the cache."""
        await Watching(self._reached, self._api, self._cache, (BUDGETS, PROFILES, *WATCHED), FIELDS).run()

    async def tell(self) -> None:
        """Post events."""
        await self._telling.run()

    async def live(self) -> None:
        """Wait for something to hold to, hold to it, and so on."""
        while True:
            settings = await self._waited()
            try:
                await self._life(settings)
            except WattleaseError as mistake:
                log.error("cannot begin, tries again: %s", mistake)
                await asyncio.sleep(LOOK_S)

    async def _waited(self) -> ControllerSettings:
        """Serve an empty page until there is something to hold to; budgets are told why there is not."""
        shown = self._settings.page
        self._reporting.forget()
        async with serving_page(Page(), shown.host, shown.port, names=shown.names):
            notify(READY)
            while (site := self._following.look({})).settings is None:
                if told := told_of(site, None, self._cache):
                    await self._reporting.write(told, self._following.generations)
                await asyncio.sleep(LOOK_S)
        return site.settings

    async def _life(self, settings: ControllerSettings) -> None:
        config, namespace = self._settings, self._settings.namespace
        state = Path(config.state_folder)
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        cards = Cards(config.gpu_resource, config.product_label)
        book = ConfigMapState(self._api, namespace)
        workload = KubeWorkload(config.cluster, self._cache, self._api, book, cards)
        workload.agree(settings.profiles)
        surroundings = surroundings_of(settings.budgets, state)
        recorder = recorder_of(settings)
        control = Controller(settings, self._state, workload, surroundings, recorder, steady_s, self._kept)
        lease = Ref(LEASES, namespace, "wattlease-operator")
        leadership = KubeLeadership(self._aside, self._state, lease, holder(), steady_s, config.leadership_seconds)
        where = config.listen
        async with listening(control, where.host, where.port, config.page, *callers(where, self._api)):
            leading = lead(control.grantor, leadership, steady_s)
            await first_of(leading, control.run(), self._follow(control), self._report(control))

    def _kept(self, name: str) -> ClusterFile:
        return ClusterFile(self._aside, self._settings.namespace, f"wattlease-{name}")

    async def _follow(self, control: Controller) -> None:
        """Hold to what the objects come to; returns when this life cannot."""
        taken = control.settings
        while True:
            heard_s = {name: heard.heard_s for name, heard in control.grantor.reports.items()}
            site = self._following.look(heard_s)
            if site.settings is None:
                log.warning("nothing to hold to any more; the nodes' grants run out: %s", site.waits)
                return
            if site.settings is not taken:
                if _surrounded(site.settings) != _surrounded(taken):
                    log.info("meters, batteries or prices come into play; the loop begins anew")
                    return
                taken = site.settings
                control.change(taken)
                log.info("taken up: budgets=%d nodes=%d", len(taken.budgets), sum(g.nodes for g in taken.groups))
            await asyncio.sleep(LOOK_S)

    async def _report(self, control: Controller) -> None:
        """While it leads, write statuses and tell jobs what is done to them."""
        told_tick = None
        while True:
            await asyncio.sleep(LOOK_S)
            tick = control.newest
            if not control.grantor.leads():
                self._reporting.forget()
                continue
            if tick is not None and tick is not told_tick and tick.before is not tick.after:
                told_tick = tick
                if tick.snapshot.site.scopes[0].budget.spec.mode == "Enforce":
                    self._telling.tell_jobs(tick.plan)
            if told := told_of(self._following.site, control, self._cache):
                await self._reporting.write(told, self._following.generations)


def _surrounded(settings: ControllerSettings) -> bool:
    return any(speaks_of_surroundings(budget) for budget in settings.budgets)
