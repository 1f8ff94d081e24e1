"""A cluster's jobs for the shared loop: what its objects say becomes columns, what the plan says becomes writes."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping

from wattlease.core.actions import Plan
from wattlease.core.api import PowerProfile
from wattlease.core.memory import Memory
from wattlease.core.model import NONE, Floats, Ints, Jobs, Site, Snapshot, Terms
from wattlease.runtime.controller.missed import Missed
from wattlease.runtime.controller.workload import Ask
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.report import CardReport
from wattlease.runtime.lease.said import Said
from wattlease_operator.agreements import Agreements
from wattlease_operator.api import Api, Trouble
from wattlease_operator.bodies import node_of
from wattlease_operator.book import Book, State
from wattlease_operator.cache import Cache, Ref
from wattlease_operator.columns import Columns, state_of
from wattlease_operator.gathering import Gathering, KubeJob
from wattlease_operator.hands import Hands
from wattlease_operator.intents import Intents
from wattlease_operator.kinds import ALWAYS, NODES
from wattlease_operator.labels import told, untold
from wattlease_operator.ordering import (
    GROW,
    SHRINK,
    Order,
    Urgency,
    check_orders,
    job_orders,
    orphan_orders,
    scaler_orders,
    stranger_orders,
)
from wattlease_operator.parsed import Parsed
from wattlease_operator.resizing import Refusals, named, why_refused
from wattlease_operator.suspend import saves
from wattlease_operator.swapping import Swapping
from wattlease_operator.telling import Telling, refs_of
from wattlease_operator.words import CARDS, Cards, KubeNode, asked_s, save_s, saved_s
from wattlease_operator.writes import Write
from wattlease_operator.yielding import Yielding, why_left

log = logging.getLogger(__name__)

STALE_S = 60.0
"""A cache older than this is no reason to change anything in the cluster; jobs stand as they were last seen."""

SAVE_S = 5.0
"""Between two looks whether the book has changed."""

LOOK_S = 0.2
"""Between two looks whether a workload of Kueue newly waits for our word."""

NODES_S = 30.0
"""Between two rounds of telling nodes' grants."""


class KubeWorkload:
    """The jobs of one Kubernetes cluster."""

    def __init__(
        self, cluster: str, cache: Cache, api: Api, state: State, cards: Cards = CARDS, now: Now = steady_s
    ) -> None:
        """`state` keeps the book beyond this process; `book.ConfigMapState` is one."""
        self.came = asyncio.Event()
        self._cluster, self._cache, self._now = cluster, cache, now
        self._gathering = Gathering(cache, cards)
        self._nodes = Parsed(cache, NODES, node_of)
        self._book = Book(state)
        self._api, self._hands = api, Hands(api, now, self._refused)
        self._agreements, self._refusals = Agreements(), Refusals(now)
        self._intents, self._missed = Intents(self._book, self._refusals.hold), Missed()
        self._swapping, self._yielding = Swapping(api, now, cards), Yielding(now)
        self._telling = Telling(api, refs_of(cache))
        self._columns: tuple[Site, Columns] | None = None
        self._nodes_s = float("-inf")
        self._why: dict[str, str] = {}
        self._said = Said(log)

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
        """Nodes that a cloud or a person says are shut down, and that do not answer. One that is only cordoned, not
        ready or deleted may draw all it can."""
        return frozenset(node.ref.name for node in self._nodes().values() if node.off)

    def agree(self, profiles: tuple[PowerProfile, ...]) -> None:
        """Hold to these profiles from now on."""
        self._agreements.agree(profiles)
        self._swapping.declare(profiles)

    def begin(self) -> None:
        """Take up the book; what the plan of a former leader wanted is over."""
        self._book.read = False
        self._intents.clear()
        self._missed.forget()
        self._swapping.forget()
        self._yielding.forget()

    def jobs(self, site: Site, cards: list[CardReport | None], power_w: Floats, now_s: float) -> tuple[Jobs, Ints]:
        """The jobs that watts concern, and each card's place among them."""
        standing = _Standing(self._agreements, self._book, self._swapping, now_s)
        self._gathering.stand_in(self._swapping.stand_ins(self._variants()))
        jobs = self._gathering.jobs().values()
        swaps_refused = filter(self._swapping.refused, self._swapping.followed)
        unbound = frozenset(job.id for job in jobs if job.scaler and self._yielding.yields(job.scaler))
        self._agreements.withhold(self._refusals.among(jobs) | frozenset(swaps_refused), unbound)
        ours = [job for job in jobs if state_of(job) is not None]
        self._agreements.take(self._agreements.of(job) for job in ours)
        return self._placed(site).place(ours, cards, power_w, standing)

    def _placed(self, site: Site) -> Columns:
        if self._columns is None or self._columns[0].nodes is not site.nodes:
            self._columns = site, Columns(site, self._cluster)
        return self._columns[1]

    def act(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Take this plan in place of the one before."""
        if not self._sure():
            self._missed.keep(plan)
            return
        jobs, now_s = self._gathering.jobs(), snapshot.now_s
        self._note_saves(jobs, now_s)
        self._intents.take(self._missed.made_up(snapshot, plan), jobs)
        self._yield()
        self._swap(plan)
        self._hands.order(
            (
                *job_orders(jobs, self._intents, now_s),
                *scaler_orders(jobs, self._intents, self._agreements, self._yielding, snapshot, plan, after),
                *stranger_orders(self._gathering, now_s),
                *orphan_orders(self._gathering, jobs, self._yielding),
                *check_orders(self._gathering, now_s),
                *self._node_orders(lambda nodes: told(nodes, _granted_w(snapshot, plan))),
            )
        )

    def let_go(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Give back all that is held, and hold nothing more."""
        self._missed.forget()
        if not self._sure():
            return
        jobs, now_s = self._gathering.jobs(), snapshot.now_s
        self._intents.let_go(jobs)
        self._swap(plan)
        self._hands.order(
            (
                *job_orders(jobs, self._intents, now_s),
                *stranger_orders(self._gathering, now_s, least_age_s=0.0),
                *orphan_orders(self._gathering, {}, self._yielding),
                *check_orders(self._gathering, now_s),
                *self._node_orders(untold),
            )
        )

    def _variants(self) -> Mapping[str, str]:
        return {job: self._book.of(job).variant for job in self._swapping.followed}

    def _swap(self, plan: Plan) -> None:
        """Have the models serve that are wanted; of one that failed nobody wants a smaller one any more."""
        why = {getattr(a, "job", ""): text for a, text in zip(plan.actions, plan.why, strict=False)}
        for job in self._swapping.followed:
            if self._book.of(job).variant and self._swapping.refused(job):
                self._book.write(job, variant="")
            self._why[job] = why.get(job) or self._why.get(job, "")
        self._swapping.want({job: (name, self._why[job]) for job, name in self._variants().items()})

    def _yield(self) -> None:
        """Leave to others what they undid, and tell them for how long and what would end it."""
        for scaler in self._yielding.look(self._gathering.scalers):
            text = why_left(scaler, self._yielding.left_s(scaler))
            self._telling.tell(scaler.ref, "CeilingOverruled", text, warning=True)

    def _sure(self) -> bool:
        """Whether what is known of the cluster, and of what was done to it, is good enough to change anything."""
        age_s, missing = self._cache.age_s(), [r.plural for r in ALWAYS if not self._cache.complete(r)]
        if missing or age_s > STALE_S or not self._book.read:
            why = f"not listed yet: {', '.join(missing)}" if missing else "the API server is silent, or the book unread"
            self._said.once(logging.WARNING, "nothing is changed in the cluster", why)
            return False
        self._said.forget("nothing is changed in the cluster")
        return True

    def _note_saves(self, jobs: Mapping[str, KubeJob], now_s: float) -> None:
        """Remember when jobs were last saved: by their own word, or as they had the time to."""
        for name, job in jobs.items():
            had_time_s = asked_s(job.annotations) + save_s(job.annotations)
            done_s = saved_s(job.annotations)
            if not saves(job, now_s) and had_time_s <= now_s:
                done_s = max(done_s, had_time_s) if not math.isnan(done_s) else had_time_s
            if done_s > self._book.of(name).saved_s and done_s <= now_s:
                self._book.write(name, saved_s=done_s)

    def _node_orders(self, writes_of: Callable[[Mapping[str, KubeNode]], Mapping[str, Write]]) -> tuple[Order, ...]:
        if self._now() - self._nodes_s < NODES_S:
            return ()
        self._nodes_s = self._now()
        nodes = {node.ref.name: node for node in self._nodes().values()}
        return tuple(Order(f"node/{name}", "tell", Urgency.NOTE, (write,)) for name, write in writes_of(nodes).items())

    async def _refused(self, order: Order, trouble: Trouble) -> bool:
        """A Job whose GPUs cannot be changed runs on with those that it has, and its people are told why."""
        job = self._gathering.jobs().get(order.about) if order.what in (SHRINK, GROW) else None
        if job is None or job.work is None or job.work.holder is None:
            return False
        self._refusals.take(job.id, trouble)
        self._intents.give_up(job.id)
        text = f"its GPUs cannot be changed, it runs on with {job.work.holder.gpus} a pod: {why_refused(trouble)}"
        await self._api.event(job.work.ref, "ResizeRefused", text, warning=True)
        return True

    async def run(self) -> None:
        """Work on the orders, and keep the book, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hands.run())
            tasks.create_task(self._keep_book())
            tasks.create_task(self._hear_of_work())
            tasks.create_task(self._swapping.run())
            tasks.create_task(self._telling.run())

    async def _hear_of_work(self) -> None:
        known: frozenset[Ref] = frozenset()
        while True:
            asking = self._gathering.asking
            if asking - known:
                self.came.set()
            known = asking
            await asyncio.sleep(LOOK_S)

    async def _keep_book(self) -> None:
        while True:
            await (self._book.save() if self._book.read else self._book.load())
            await asyncio.sleep(SAVE_S if self._book.read else 1.0)


def _granted_w(snapshot: Snapshot, plan: Plan) -> Mapping[str, float]:
    return dict(zip(snapshot.site.nodes.id, plan.grant_w.tolist(), strict=True))


class _Standing:
    """What the columns ask of the operator, at one tick."""

    def __init__(self, agreements: Agreements, book: Book, swapping: Swapping, now_s: float) -> None:
        self._agreements, self._book, self._swapping, self._now_s = agreements, book, swapping, now_s
        self._places: dict[int, tuple[Terms, int]] = {}

    def terms(self, job: KubeJob) -> int:
        """Its place in `Site.terms`."""
        terms = self._agreements.of(job)
        if id(terms) not in self._places:  # thousands of jobs share few: looked up once
            self._places[id(terms)] = terms, self._agreements.place(terms)
        return self._places[id(terms)][1]

    def saved_age_s(self, job: KubeJob) -> float:
        """The work that it has done since it was last saved: none, where it saves itself when asked."""
        if save_s(job.annotations) > 0.0:
            return 0.0
        since_s = max(self._now_s - max(job.started_s, self._book.of(job.id).saved_s), 0.0)
        every_s = self._agreements.of(job).checkpoint_every_s
        return since_s % every_s if every_s > 0 else since_s

    def batch_frac(self, job: KubeJob) -> float:
        """The batch that it was asked to run with."""
        return self._book.of(job.id).batch_frac

    def variant(self, job: KubeJob) -> int:
        """The smaller model that it was asked to run with; of one that swaps behind a route, that which serves."""
        name = self._now_with(job)
        names = [variant.name for variant in self._agreements.of(job).variants] if name else []
        return names.index(name) if name in names else NONE

    def _now_with(self, job: KubeJob) -> str:
        if job.shrunk_from:
            return named(job)
        swaps = job.id in self._swapping.followed
        return self._swapping.serves(job.id) if swaps else self._book.of(job.id).variant
