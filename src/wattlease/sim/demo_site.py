"""The virtual site behind `wattlease demo`: plant, decision and page in one, and what a person may do to it."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, get_args

import numpy as np

from wattlease.core import explain
from wattlease.core.actions import Plan
from wattlease.core.api import PowerBudget
from wattlease.core.api_profile import WorkKind
from wattlease.core.decide import decide
from wattlease.core.errors import WattleaseError
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import NONE, Snapshot
from wattlease.runtime.files import load
from wattlease.runtime.job_accounts import JobAccounts
from wattlease.runtime.job_book import JobBook
from wattlease.runtime.showing import Showing
from wattlease.runtime.showing_time import storage_w
from wattlease.runtime.view import SiteView
from wattlease.runtime.web_controls import Refusal
from wattlease.sim.agents import Agents
from wattlease.sim.demo_nodes import DemoAgents, DemoNodes
from wattlease.sim.plant import Plant
from wattlease.sim.scenario import Scenario
from wattlease.sim.scenario_work import JobSpec

LEAD_S = 1800.0
"""The site has run for so long when the demo's clock meets the clock on the wall: the page's past is full then."""

ROW_S = 5.0
"""Spacing of the page's history."""

JOB_S = 1800
"""How long a job runs that a person submits."""


class DemoSite:
    """Ticks the virtual site; not safe for two threads at once: `sim.demo` holds a lock around every call."""

    def __init__(self) -> None:
        self.nodes: DemoNodes | None = None
        with as_file(files("wattlease.sim") / "static" / "demo.yaml") as path:
            self.written = load(path, Scenario)
        self.reset()

    def reset(self) -> None:
        """Begin anew, half an hour ago."""
        start = datetime.fromtimestamp(time.time() - LEAD_S, UTC).replace(microsecond=0)
        self.scenario = self.written.model_copy(update={"start": start})
        self.plant = Plant(self.scenario, self.scenario.seed)
        self.memory: Memory = FRESH
        self.showing = Showing()
        self.book = JobBook(JobAccounts(Path(os.devnull)))  # a demo's jobs are written down nowhere
        self.events = 0
        self.shown_s = -np.inf
        self.handed_over = False
        self.view = self.advance(1)

    @property
    def behind(self) -> bool:
        """Whether the first half hour is still to be made up."""
        return self.plant.now_s < self.scenario.start_s + LEAD_S

    @property
    def limit_range_w(self) -> tuple[float, float]:
        """From what the site keeps on its worst day to the nameplate of all nodes."""
        nameplate_w = float(self.plant.site.nodes.nameplate_w.sum())
        return float(self._budget.spec.assured_watts), nameplate_w

    @property
    def gpus_max(self) -> int:
        """GPUs of the largest cluster."""
        return max(g.nodes * g.gpus_per_node for g in self.scenario.groups)

    def advance(self, ticks: int) -> SiteView:
        """Decide and obey so many ticks; the newest document."""
        for _ in range(ticks):
            before, snapshot = self.memory, self.plant.observe()
            plan, self.memory = decide(snapshot, before)
            self.showing.note(snapshot, plan, self.memory)
            self.book.note(snapshot, plan)
            if snapshot.now_s - self.shown_s >= ROW_S - 1e-6:
                self.view = self.showing.view(snapshot, plan, before, self.memory)
                self.shown_s = snapshot.now_s
            self.plant.act(plan)
            self.plant.advance(self.scenario.tick_seconds)
            if self.nodes:
                self._keep_up(self.nodes, snapshot, plan)
        return self.view

    def _keep_up(self, nodes: DemoNodes, snapshot: Snapshot, plan: Plan) -> None:
        """Let the real agents know what was drawn and what may be; they take over once they stand where the plant's
        own agents do."""
        nodes.limit_w = plan.scopes[0].limit_w + max(storage_w(snapshot), 0.0)
        nodes.draw_w = self.plant.cards.draw_w
        if self.handed_over or not isinstance(self.plant.agents, Agents):
            return
        nodes.target_w, nodes.caps_w = self.plant.agents.held_w, self.plant.agents.cap_w
        if not self.behind and nodes.ready():
            self.plant.agents = DemoAgents(nodes)
            self.handed_over = True
            self._tell("agents", f"{len(nodes.states)} agents hold the nodes' limits from here on")

    def set_limit(self, limit_w: float) -> Refusal | None:
        """Hold the site under another limit from now on."""
        refused = self._change("limit_w", limitWatts=round(limit_w))
        if refused is None:
            self._tell("limit", f"a person set the limit to {explain.watts(limit_w)}")
        return refused

    def start_event(self, depth_frac: float, duration_s: float, ramp_s: float) -> Refusal | None:
        """A grid event begins now: so much less than is drawn, reached over the ramp."""
        if ramp_s > duration_s:
            return Refusal("the ramp is longer than the event", "ramp_s", f"send at most {duration_s:.0f} s")
        self.events += 1
        start = datetime.fromtimestamp(self.plant.now_s, UTC)
        drawn_w = self.view.draw_w or self.view.limit_w
        event = {
            "name": f"order-{self.events}",
            "start": start,
            "end": start + timedelta(seconds=duration_s),
            "limitWatts": max(round(drawn_w * (1.0 - depth_frac)), 1),
            "rampSeconds": round(ramp_s),
        }
        spec = self._budget.model_dump(by_alias=True)["spec"]
        refused = self._change("depth_frac", demandResponse=[*self._lasting(spec["demandResponse"]), event])
        if refused is None:
            text = f"a person started event {event['name']}: {depth_frac:.0%} less for {explain.span(duration_s)}"
            self._tell("event", text)
        return refused

    def submit_job(self, gpus: int, kind: str) -> Refusal | None:
        """A job is submitted to the cluster with the most free GPUs that is large enough."""
        profile = next(p.name for p in self.scenario.profiles if p.spec.kind == kind)
        cluster = self._freest(gpus)
        name = f"{'huge' if gpus >= 32 else 'new'}-{kind.lower()}"
        spec = JobSpec(name=name, owner="you", cluster=cluster, gpus=gpus, profile=profile, duration_seconds=JOB_S)
        self._tell("job", f"a person submitted {self.plant.submit(spec)}: {gpus} GPUs in {cluster}")
        return None

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of work that a person may submit."""
        offered = {p.spec.kind for p in self.scenario.profiles}
        return tuple(kind for kind in get_args(WorkKind) if kind in offered)

    @property
    def _budget(self) -> PowerBudget:
        return self.plant.site.scopes[0].budget

    def _change(self, field: str, **spec: Any) -> Refusal | None:
        """New words in the budget; what must hold on the worst day follows from them."""
        raw = self._budget.model_dump(by_alias=True)
        raw["spec"] |= {"guaranteedWatts": None} | spec
        try:
            self.plant.set_budgets([PowerBudget.model_validate(raw)])
        except (WattleaseError, ValueError) as error:
            return Refusal(str(error), field, "send a value that the budget allows")
        return None

    def _lasting(self, events: Any) -> list[Any]:
        """Events that are not over yet, so that the budget does not grow for ever."""
        return [e for e in events if e["end"].timestamp() > self.plant.now_s]

    def _freest(self, gpus: int) -> str:
        """The cluster with the most GPUs without a job, of those that have enough at all."""
        wiring, site = self.plant.wiring, self.plant.site
        cluster = wiring.cluster[site.gpus.node]
        large = np.bincount(cluster) >= gpus
        free = np.bincount(cluster[self.plant.placement.job == NONE], minlength=len(wiring.clusters))
        return wiring.clusters[int(np.argmax(np.where(large, free, -1)))]

    def _tell(self, kind: str, text: str) -> None:
        self.showing.tell(self.plant.now_s, kind, text)
