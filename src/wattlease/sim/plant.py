"""The plant that closes the loop: it produces what shells would see, and obeys what they would order.

One tick: `observe` -> a policy decides -> `act` -> `advance`. The truth is in `advance`'s samples and in `tally`;
`observe` sees it through meters, agents and faults. The same scenario and seed with the same plans is the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wattlease.core.actions import Charge, Discharge, Downsize, Hold, Pause, Plan, Release, Restore, Resume
from wattlease.core.api import PowerBudget
from wattlease.core.errors import BudgetError
from wattlease.core.model import Bools, Floats, JobState, Prices, Snapshot
from wattlease.sim.agents import Agents, NodeAgents
from wattlease.sim.arrivals import Entry, arriving, entry_of, written
from wattlease.sim.battery import Batteries
from wattlease.sim.cards import Cards, Load
from wattlease.sim.demand import DrawTables
from wattlease.sim.faults import Faults
from wattlease.sim.feed import Meters, meters_of, passage_of
from wattlease.sim.layout import layout_of
from wattlease.sim.phases import Phases, stalls
from wattlease.sim.placement import Placement
from wattlease.sim.pricing import prices_of
from wattlease.sim.samples import Samples, Tally, joined
from wattlease.sim.scenario import Scenario
from wattlease.sim.scenario_work import JobSpec
from wattlease.sim.serving import Service, services
from wattlease.sim.tally import tally_of
from wattlease.sim.view import View
from wattlease.sim.waiting import Queue
from wattlease.sim.wiring import wiring_of
from wattlease.sim.work import KINDS, Work

ON_GPUS = (JobState.RUNNING, JobState.PAUSED)


class Plant:
    """A virtual site. `notes` says what stands in for what was not at hand."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.notes: list[str] = []
        self.now_s = scenario.start_s
        self.site = scenario.site(scenario.budgets)
        self.wiring = wiring_of(scenario, self.site)
        self.prices: Prices = prices_of(scenario, self.notes)
        self._chance(seed)
        self._state()
        self._begin()

    def observe(self) -> Snapshot:
        """What the shells would see now, through meters, agents and faults."""
        return self.view.snapshot(self)

    def act(self, plan: Plan) -> None:
        """Give the plan to agents, jobs and batteries; nothing arrives while the grantor is lost."""
        if self.faults.grantor_lost(self.now_s):
            return
        for action in plan.actions:
            self._obey(action)
        self.batteries.refresh(self.now_s)
        self.work.plan(self.view.live, plan.cap_w, plan.job_w)
        target_w = plan.grant_w if len(plan.grant_w) == len(self.site.nodes.id) else self.site.nodes.nameplate_w
        self.agents.order(target_w, self._reached(), self.now_s)

    def advance(self, dt_s: float) -> Samples:
        """Let the truth go on for `dt_s`, a whole number of steps."""
        parts = []
        left = round(dt_s / self.scenario.step_seconds)
        while left > 0:
            self._schedule()
            steps = min(left, self._steps_to_edge())
            parts.append(self._block(steps))
            left -= steps
        return joined(parts)

    def tally(self) -> Tally:
        """What became of each job until now."""
        return tally_of(self.work, self.services, self.now_s)

    def submit(self, spec: JobSpec) -> str:
        """A job is submitted now; returns its id. Names that are taken get a number."""
        taken = {e.id for e in self.work.entries}
        name = next(n for n in (spec.name, *(f"{spec.name}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)
        moved = spec.model_copy(update={"name": name, "submit_seconds": 0, "running": False})
        entry = replace(
            entry_of(moved, self.scenario, self.site, self.tables), submit_s=self.now_s - self.scenario.start_s
        )
        self._grow([entry])
        self.queue.enter(np.array([len(self.work.entries) - 1]))
        return name

    def set_budgets(self, budgets: Sequence[PowerBudget]) -> None:
        """New limits and events for the same scopes and batteries, from now on. BudgetError if they do not fit."""
        site = self.scenario.site(budgets)
        if [s.id for s in site.scopes] != [s.id for s in self.site.scopes]:
            raise BudgetError("budgets of a running plant keep their names and their order; change only their limits")
        self.site = replace(self.site, scopes=site.scopes)
        self.view.forget_windows()

    def _chance(self, seed: int) -> None:
        """Separate streams, so that what a policy does to one changes nothing in the others."""
        streams = np.random.SeedSequence(seed).spawn(4)
        self.rng_jobs, self.rng_cards, self.rng_phases, self.rng_word = map(np.random.default_rng, streams)

    def _state(self) -> None:
        s, site = self.scenario, self.site
        self.tables = DrawTables()
        entries = [
            *written(s, site, self.tables),
            *arriving(s, site, self.tables, self.rng_jobs, self.notes),
        ]
        entries.sort(key=lambda e: e.submit_s)
        self.curves = self.tables.frozen()
        self.work = Work(entries, site.terms, self.wiring.clusters, s.start_s)
        self.phases = Phases(s.noise, self._kinds(entries), self._every_s(entries), self.rng_phases)
        self.stalls = stalls(s.noise, s.start_s, s.duration_seconds, self.rng_phases)
        self.services = services(entries, s.data_folder)
        self.queue = Queue(self.work)
        self.placement = Placement(self.wiring, site.gpus.node)
        self.cards = Cards(self.rng_cards, s.step_seconds, self.wiring.idle_w, s.noise.fast_percent / 100)
        self.batteries = Batteries(site.storages, s.initial_charge_percent / 100, s.storage_reversion_seconds)
        self.passage = passage_of(site, self.wiring, s.losses)
        self.everywhere = np.ones(len(site.nodes.id), dtype=bool)
        self.series = tuple((c, k) for c in self.wiring.clusters for k in KINDS)
        meters = meters_of(site)
        of_plant = [fault for fault in s.faults if fault.kind != "lostShare"]  # a lease between clusters and facility
        self.faults = Faults(of_plant, s.start_s, site.nodes.id, [m.name for _, m in meters])
        self.view = View(site, s, self.wiring, self.rng_word)

    def _begin(self) -> None:
        """Jobs that ran before the scenario began have run for long, under the nameplate's grant and without caps."""
        agents = Agents(self.site, self.wiring, self.now_s)
        self.agents: NodeAgents = agents
        for job, entry in enumerate(self.work.entries):
            if entry.running:
                if not self.placement.put(job, entry.gpus, self.wiring.clusters.index(entry.cluster)):
                    text = f"jobs: '{entry.id}' is to run at the start and finds no {entry.gpus} GPUs free"
                    raise BudgetError(f"{text}; leave its running out, or ask for fewer")
                self._start(job)
        self._relay()
        busy = np.zeros(len(self.site.nodes.id), dtype=bool)
        busy[self.site.gpus.node[self.layout.busy]] = True
        agents.assume(busy, self.now_s)
        load = self._load(np.array([self.now_s]), 0.0)
        self.cards.settle(load, self._enforce(), self.curves)
        node_w = self.passage.node_w(self.cards.draw_w[None, :])
        feed_w = self.passage.feed_w(node_w, np.zeros((1, len(self.site.storages))))
        self.meters = Meters(meters_of(self.site), self.scenario.step_seconds, feed_w[0])
        self.node_w = node_w[0]

    def _obey(self, action: object) -> None:
        match action:
            case Discharge(storage, power_w):
                self.batteries.order(storage, power_w)
            case Charge(storage, power_w):
                self.batteries.order(storage, -power_w)
            case Hold(job) | Release(job) | Pause(job) | Resume(job) | Restore(job) | Downsize(job, _, _):
                self._tell(action, self.view.index.get(job))

    def _tell(self, action: object, job: int | None) -> None:
        """A job's own action; one that is over already takes no order."""
        if job is None:
            return
        match action:
            case Hold():
                self.work.hold(job, self.now_s)
            case Release():
                self.work.release(job, self.now_s)
            case Pause():
                self.work.pause(job, self.now_s)
            case Resume():
                self.work.resume(job, self.now_s)
            case Restore():
                self.work.restore(job, self.now_s)
            case Downsize(_, batch_frac, variant):
                self.work.downsize(job, self.now_s, batch_frac, variant)

    def _schedule(self) -> None:
        """What happens between blocks: arrivals, swaps that are ready, starts, stalls, and the agents' renewals."""
        self.queue.arrive(self.now_s)
        self.work.swapped(self.layout.jobs, self.now_s)
        reached = self._reached()
        for job in self.queue.starting(self.placement, self.scenario.drain_seconds, self.now_s):
            self._start(job)
            self._move_watts(job, reached)
        while self.stalls and self.stalls[0][0] <= self.now_s:
            self._stall(self.stalls.pop(0)[1])
        self.agents.renew(reached, self.now_s)
        if self.placement.version != self.laid:
            self._relay()

    def _start(self, job: int) -> None:
        self.work.start(job, self.now_s)
        self.phases.begin(job, self.now_s)

    def _move_watts(self, job: int, reached: Bools) -> None:
        """What the plan counted for a released job goes to the nodes on which it started."""
        planned_w = self.work.of["planned_w"][job]
        if np.isfinite(planned_w):
            nodes = self.site.gpus.node[self.placement.job == job]
            more_w = planned_w / len(nodes) * (1.0 + self.wiring.per_it_frac[nodes])
            self.agents.more(nodes, more_w, reached, self.now_s)

    def _stall(self, stall_s: float) -> None:
        """One of the largest jobs that checkpoint stands still."""
        jobs = self.layout.jobs[self.phases.of["dips"][self.layout.jobs]]
        jobs = jobs[self.work.is_in(jobs, JobState.RUNNING)]
        if len(jobs):
            gpus = self.work.of["gpus"][jobs]
            self.phases.stall(int(self.rng_phases.choice(jobs[gpus == gpus.max()])), self.now_s, stall_s)

    def _steps_to_edge(self) -> int:
        """Steps until something changes by itself: a fault, a stall, a grant that runs out, a raise that waits."""
        edges = [t for t in self.faults.edges_s() if t > self.now_s] + [t for t, _ in self.stalls[:1]]
        if not self._reached().all():
            edges += list(self.agents.expiring_s(self.now_s))
        if self.agents.pending:
            edges.append(self.now_s + 1.0)
        ahead_s = min((t for t in edges if t > self.now_s), default=np.inf) - self.now_s
        return 10**9 if np.isinf(ahead_s) else max(1, int(np.ceil(ahead_s / self.scenario.step_seconds - 1e-6)))

    def _block(self, steps: int) -> Samples:
        """Steps during which nothing is ordered and nobody comes or goes."""
        step_s = self.scenario.step_seconds
        at_s: Floats = self.now_s + step_s * np.arange(1, steps + 1, dtype=np.float64)
        lay, dt_s = self.layout, steps * step_s
        cap_w = self._enforce()
        draw_w = self.cards.run(self._load(at_s, dt_s), cap_w, self.curves)
        storage_w = self.batteries.run(self.now_s, dt_s, steps)
        node_w = self.passage.node_w(draw_w)
        feed_w = self.passage.feed_w(node_w, storage_w)
        self.work.of["energy_j"][lay.jobs] += lay.total(draw_w.sum(axis=0)) * step_s
        ahead_s = self._progress(cap_w, dt_s)
        work_gpu_s = float(ahead_s @ self.work.of["gpus"][lay.jobs])
        self.now_s = float(at_s[-1])
        self._close(feed_w, node_w)
        return Samples(
            at_s, feed_w, self.series, draw_w @ lay.member, storage_w, self.batteries.soc_frac, node_w.sum(axis=1),
            work_gpu_s,
        )  # fmt: skip

    def _progress(self, cap_w: Floats, dt_s: float) -> Floats:
        lay = self.layout
        of, jobs = self.work.of, lay.jobs
        full_w = np.maximum(of["full_w"][jobs] * of["draw_frac"][jobs], 1.0)
        pace = self.curves.pace(of["row"][jobs], lay.least(cap_w) / full_w)
        kept = pace.copy()
        for job, service in self._services_on():
            slot = int(np.searchsorted(jobs, job))
            gain = float(of["gain_frac"][job])
            speed = float(pace[slot]) * gain if of["state"][job] == JobState.RUNNING else 0.0
            served, latency = service.run(self.now_s - self.scenario.start_s, dt_s, speed)
            hurried = KINDS[of["kind"][job]] == "Interactive"
            pace[slot], kept[slot] = served / gain, (latency if hurried else served) / gain
        return self.work.progress(jobs, pace, kept, self.now_s, dt_s)

    def _close(self, feed_w: Floats, node_w: Floats) -> None:
        """The end of a block: meters, checkpoints, jobs that are done."""
        jobs = self.layout.jobs
        self.meters.note(feed_w)
        self.node_w = node_w[-1].copy()
        self.work.save(self.phases.ended(jobs, self.now_s))
        over = self.work.finish(jobs)
        if len(over):
            self.placement.take(over)
            self._relay()

    def _load(self, at_s: Floats, dt_s: float) -> Load:
        lay = self.layout
        level = self.work.level(lay.jobs, self.now_s) * self.phases.level(lay.jobs, dt_s)
        for job, service in self._services_on():
            slot = int(np.searchsorted(lay.jobs, job))
            speed = float(self.work.of["pace_frac"][job])
            level[slot] *= service.level(self.now_s - self.scenario.start_s, speed)
        return Load(lay.slot, lay.row, lay.full_w, level, self.phases.swing(lay.jobs, at_s))

    def _services_on(self) -> list[tuple[int, Service]]:
        return [(j, s) for j, s in self.services.items() if self.work.of["state"][j] in ON_GPUS]

    def _enforce(self) -> Floats:
        """Caps in force on every card."""
        lay = self.layout
        by_job = np.append(self.work.of["cap_w"][lay.jobs], np.nan)
        wanted_w = np.fmin(by_job[lay.slot], self.site.gpus.max_cap_w)
        alive = ~self.faults.hit("pausedAgent", self.now_s)
        return self.agents.enforce(wanted_w, lay.busy, alive, self.now_s)

    def _reached(self) -> Bools:
        """Nodes whose agents can renew now."""
        if not self.faults.spells:
            return self.everywhere
        if self.faults.grantor_lost(self.now_s):
            return np.zeros(len(self.site.nodes.id), dtype=bool)
        return ~(self.faults.hit("lostNode", self.now_s) | self.faults.hit("pausedAgent", self.now_s))

    def _relay(self) -> None:
        cluster = self.wiring.cluster[self.site.gpus.node]
        self.layout = layout_of(self.placement.job, self.work, cluster)
        self.laid = self.placement.version

    def _grow(self, entries: list[Entry]) -> None:
        self.work.append(entries)
        self.phases.append(self._kinds(entries), self._every_s(entries))
        self.curves = self.tables.frozen()
        first = len(self.work.entries) - len(entries)
        self.services.update({first + i: s for i, s in services(entries, self.scenario.data_folder).items()})

    def _kinds(self, entries: Sequence[Entry]) -> list[str]:
        return [self.site.terms[e.terms].kind for e in entries]

    def _every_s(self, entries: Sequence[Entry]) -> Floats:
        return np.array([self.site.terms[e.terms].checkpoint_every_s for e in entries], dtype=np.float64)
