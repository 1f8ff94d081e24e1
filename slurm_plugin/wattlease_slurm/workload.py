"""Slurm's jobs for the shared loop: what the queue says becomes columns, what the plan says becomes orders."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from wattlease.core.actions import Plan
from wattlease.core.api import PowerProfile
from wattlease.core.memory import Memory
from wattlease.core.model import Floats, Ints, Jobs, Site, Snapshot, Terms
from wattlease.runtime.controller.missed import Missed
from wattlease.runtime.controller.workload import Ask
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.report import CardReport
from wattlease.runtime.lease.said import Said
from wattlease_slurm.agreements import Agreements, Standing
from wattlease_slurm.backend import Backend
from wattlease_slurm.book import Book
from wattlease_slurm.columns import Columns, state_of, whole
from wattlease_slurm.hands import Hands
from wattlease_slurm.intents import Intents
from wattlease_slurm.ordering import Ordering
from wattlease_slurm.settings import SlurmSettings
from wattlease_slurm.verdicts import Verdicts
from wattlease_slurm.words import Config, Queue, SlurmJob, SlurmNode, Trouble

log = logging.getLogger(__name__)

STALE_S = 60.0
"""A queue older than this is no reason to change anything in Slurm; the last reservation stands."""

CONFIG_S = 60.0
"""Between two looks at Slurm's configuration."""

NODES_S = 10.0
"""Between two looks at its nodes."""

ASLEEP = frozenset({"POWERED_DOWN", "POWERING_UP"})


class SlurmWorkload:
    """The jobs of one Slurm cluster."""

    def __init__(self, settings: SlurmSettings, backend: Backend) -> None:
        self.came = asyncio.Event()  # never set: the queue is read about as often as the loop ticks
        self._settings, self._backend = settings, backend
        slurm = settings.slurm
        self._book = Book(Path(settings.state_folder) / "slurm.json")
        self._hands = Hands(backend, self._book, slurm.licence, slurm.reservation)
        self._agreements = Agreements(slurm.tables)
        self._intents, self._missed = Intents(self._book, self._agreements), Missed()
        self._verdicts = Verdicts(settings)
        self._queue = Queue((), float("-inf"))
        self._jobs: dict[str, SlurmJob] = {}
        self._config: Config | None = None
        self._nodes: tuple[SlurmNode, ...] = ()
        self._columns: tuple[Site, Columns] | None = None
        self._said = Said(log)
        self.agree(settings.profiles)

    @property
    def terms(self) -> tuple[Terms, ...]:
        """What owners agreed to."""
        return self._agreements.terms

    @property
    def asks(self) -> Mapping[str, Ask]:
        """What hints ask of jobs."""
        return self._intents.asks

    @property
    def asleep(self) -> frozenset[str]:
        """Nodes that Slurm's power saving has switched off, or switches on and has not heard of yet."""
        return frozenset(node.name for node in self._nodes if node.flags & ASLEEP)

    def agree(self, profiles: tuple[PowerProfile, ...]) -> None:
        """Hold to these profiles from now on."""
        self._agreements.agree(profiles)

    def begin(self) -> None:
        """Take up the book; what the plan of a former leader wanted is over."""
        self._book.load()
        self._intents.clear()
        self._missed.forget()

    def jobs(self, site: Site, cards: list[CardReport | None], power_w: Floats, now_s: float) -> tuple[Jobs, Ints]:
        """The jobs that watts concern, and each card's place among them."""
        standing = Standing(self._agreements, self._book, self._intents.released, now_s)
        ours = [job for job in self._jobs.values() if state_of(job, standing) is not None]
        self._agreements.take(standing.of(job) for job in ours)
        return self._placed(site).place(ours, cards, standing)

    def _placed(self, site: Site) -> Columns:
        if self._columns is None or self._columns[0].nodes is not site.nodes:
            self._columns = site, Columns(site, self._settings.slurm.gpu_models)
        return self._columns[1]

    def act(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Take this plan in place of the one before."""
        self._verdicts.learn(snapshot, after)
        if self._config is None or snapshot.now_s - self._queue.read_s > STALE_S:
            self._missed.keep(plan)
            return
        self._intents.take(self._missed.made_up(snapshot, plan), self._jobs)
        self._hands.order(self._ordering().orders(snapshot, plan, after, self._jobs, self._config))

    def let_go(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Give back all that is held, and hold nothing more. Licences stay: slurm.conf has enough for all cards."""
        self._verdicts.learn(snapshot, after)
        self._missed.forget()
        if snapshot.now_s - self._queue.read_s > STALE_S:
            return
        self._intents.let_go(self._jobs)
        self._hands.order(self._ordering().let_go(snapshot, plan, after, self._jobs))

    def _ordering(self) -> Ordering:
        return Ordering(self._settings, self._agreements, self._book, self._intents, self._hands.lately_told)

    async def run(self) -> None:
        """Look at Slurm and work on the orders until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hands.run())
            tasks.create_task(self._look())
            tasks.create_task(self._ask_config())
            tasks.create_task(self._verdicts.run())

    async def _look(self) -> None:
        while True:
            queue = await self._backend.queue()
            if isinstance(queue, Trouble):
                self._said.once(logging.WARNING, "queue not read", f"the last reservation stands: {queue.text}")
            else:
                self._said.forget("queue not read")
                self._take(queue)
            await asyncio.sleep(self._settings.slurm.poll_seconds)

    def _take(self, queue: Queue) -> None:
        self._queue = queue
        self._book.compare(queue, self._settings.slurm.licence, self._hands.under_way)
        self._jobs = {job.id: job for job in whole(queue.jobs)}

    async def _ask_config(self) -> None:
        """Ask for what Slurm runs with, and now and then for its nodes."""
        asked_s = float("-inf")
        while True:
            if steady_s() - asked_s >= CONFIG_S and isinstance(config := await self._backend.config(), Config):
                self._config, asked_s = config, steady_s()
                self._check(config)
            nodes = await self._backend.nodes()
            if self._config is not None and not isinstance(nodes, Trouble):
                self._nodes = nodes
                self._verdicts.configure(self._config, nodes)
            await asyncio.sleep(NODES_S if self._config else self._settings.slurm.poll_seconds)

    def _check(self, config: Config) -> None:
        licence = self._settings.slurm.licence
        if licence not in config.licences:
            told = f"slurm.conf has no Licenses={licence}:<watts>, so Slurm starts jobs without asking for watts"
            self._said.once(logging.ERROR, "licence missing", f"{told}; `wattlease slurm install --check` says more")
        else:
            self._said.forget("licence missing")
