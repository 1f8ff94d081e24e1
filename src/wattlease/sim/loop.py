"""One closed-loop run: the plant shows itself, a policy decides, the plant obeys; tick after tick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from wattlease.core import explain
from wattlease.core.actions import Charge, Discharge, Plan
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import Floats, JobState, Snapshot
from wattlease.sim.plant import Plant
from wattlease.sim.policies import POLICIES
from wattlease.sim.run import Event, JobRow, Run, Series, Speed, Tariff
from wattlease.sim.samples import Samples, Tally
from wattlease.sim.scenario import Scenario
from wattlease.sim.shares import SharedSite

FEW_JOBS = 16
"""Runs of no more jobs than this keep a speed curve for each."""

BREACH_S, BREACH_FRAC = 60.0, 0.01
"""A contract is broken when its speed was not kept for more than a minute and more than 1 % of the job's running time:
while a job starts, or wakes, its draw is learned."""

Watcher = Callable[[Snapshot, Plan, Memory], None]
"""Sees what was known, what was decided, and the memory with which the tick began: what a record holds."""

Progress = Callable[[float], None]


@dataclass(slots=True)
class _Columns:
    """What is kept of every tick, grown as the run goes."""

    t_s: list[float] = field(default_factory=list)
    feed_w: list[float] = field(default_factory=list)
    limit_w: list[float] = field(default_factory=list)
    planned_w: list[float] = field(default_factory=list)
    throughput: list[float] = field(default_factory=list)
    it_w: list[Floats] = field(default_factory=list)
    storage_w: list[float] = field(default_factory=list)
    soc_frac: list[float] = field(default_factory=list)
    price: list[float] = field(default_factory=list)
    carbon: list[float] = field(default_factory=list)
    speeds: list[Floats] = field(default_factory=list)


def run(
    scenario: Scenario,
    policy: str,
    seed: int,
    *,
    watch: Watcher | None = None,
    progress: Progress | None = None,
    shared: SharedSite | None = None,
) -> Run:
    """Run the scenario under a policy; `watch` sees every tick, `progress` is told the simulated seconds done.

    `shared` are the clusters under the policy `shares`, where the caller is to look at them afterwards.
    """
    plant = Plant(scenario, seed)
    if policy == "shares":
        shared = shared or SharedSite(scenario)
    decide, memory = shared.decide if shared else POLICIES[policy], FRESH
    kept, events, costs = _Columns(), _Events(scenario), _Costs()
    over_s = 0.0
    ends_s = scenario.start_s + scenario.duration_seconds
    few = scenario.arrivals is None and len(scenario.jobs) <= FEW_JOBS
    while plant.now_s < ends_s - 1e-6:
        snapshot = plant.observe()
        before = memory
        plan, memory = decide(snapshot, before)
        if watch:
            watch(snapshot, plan, before)
        plant.act(plan)
        samples = plant.advance(scenario.tick_seconds)
        events.note(snapshot, plan)
        costs.note(snapshot, plan, scenario.tick_seconds)
        over_s += _over_s(samples, plan, scenario.step_seconds)
        _keep(kept, snapshot, plan, samples, scenario, plant if few else None)
        if progress:
            progress(plant.now_s - scenario.start_s)
    tally = plant.tally()
    facts: dict[str, float | str] = {"seconds over, each step by itself": round(over_s, 1)}
    facts |= shared.facts() if shared else {}
    facts |= {f"note {i + 1}": note for i, note in enumerate(plant.notes)}
    return _run(scenario, policy, seed, kept, plant, tally, events, costs, facts)


def _over_s(samples: Samples, plan: Plan, step_s: float) -> float:
    """Seconds of single steps over the root's limit: stricter than any meter's window."""
    return float((samples.feed_w[:, 0] > plan.scopes[0].limit_w).sum()) * step_s


def _keep(
    kept: _Columns, snapshot: Snapshot, plan: Plan, samples: Samples, scenario: Scenario, plant: Plant | None
) -> None:
    root = plan.scopes[0]
    kept.t_s.append(snapshot.now_s)
    kept.feed_w.append(_mean(samples.feed_w[:, 0]))
    kept.limit_w.append(root.limit_w)
    kept.planned_w.append(root.planned_w)
    gpus = float(snapshot.jobs.gpus @ (snapshot.jobs.state == int(JobState.RUNNING)))
    kept.throughput.append(samples.work_gpu_s / (gpus * scenario.tick_seconds) if gpus else np.nan)
    kept.it_w.append(samples.it_w.sum(axis=0) / len(samples.it_w))
    kept.storage_w.append(_mean(samples.storage_w.sum(axis=1)) if samples.storage_w.size else 0.0)
    kept.soc_frac.append(_mean(samples.soc_frac) if samples.soc_frac.size else np.nan)
    now = int(np.searchsorted(snapshot.prices.at_s, snapshot.now_s, side="right")) - 1
    kept.price.append(float(snapshot.prices.energy_per_kwh[now]) if now >= 0 else np.nan)
    kept.carbon.append(float(snapshot.prices.carbon_g_per_kwh[now]) if now >= 0 else np.nan)
    if plant is not None:
        kept.speeds.append(_speeds(plant))


def _mean(column: Floats) -> float:
    return float(column.sum()) / len(column)


def _speeds(plant: Plant) -> Floats:
    """Speed x quality of every job now, NaN where it does not run."""
    of = plant.work.of
    return np.where(of["state"] == int(JobState.RUNNING), of["pace_frac"] * of["quality_frac"], np.nan)


@dataclass(slots=True)
class _Costs:
    """What the plans cost each job's owner, and the last sentence each job was told."""

    money: dict[str, float] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def note(self, snapshot: Snapshot, plan: Plan, dt_s: float) -> None:
        for j in np.flatnonzero(plan.cost_per_h > 0):
            name = snapshot.jobs.id[j]
            self.money[name] = self.money.get(name, 0.0) + float(plan.cost_per_h[j]) * dt_s / 3600.0
        for action, why in zip(plan.actions, plan.why, strict=True):
            if job := getattr(action, "job", ""):
                self.said[job] = why


class _Events:
    """Lines for the report: grid events as spans, faults, and what was done to jobs (not what their caps did)."""

    MOST = 400

    def __init__(self, scenario: Scenario) -> None:
        start_s = scenario.start_s
        self.lines = [
            Event(e.start.timestamp(), f"event {e.name}: {explain.watts(e.limit_watts)}", e.end.timestamp())
            for b in scenario.budgets
            for e in b.spec.demand_response
        ]
        self.lines += [
            Event(start_s + f.at_seconds, f"fault: {f.kind} {f.target}", start_s + f.at_seconds + f.seconds)
            for f in scenario.faults
        ]
        self.state = ""

    def note(self, snapshot: Snapshot, plan: Plan) -> None:
        state = plan.scopes[0].state
        if state != self.state and len(self.lines) < self.MOST:
            self.lines.append(Event(snapshot.now_s, f"{plan.scopes[0].scope}: {state}"))
        self.state = state
        for action, why in zip(plan.actions, plan.why, strict=True):
            if not isinstance(action, Charge | Discharge) and len(self.lines) < self.MOST:
                self.lines.append(Event(snapshot.now_s, why))


def _run(
    scenario: Scenario, policy: str, seed: int, kept: _Columns, plant: Plant, tally: Tally, events: _Events,
    costs: _Costs, facts: dict[str, float | str],
) -> Run:  # fmt: skip
    spec = plant.site.scopes[0].budget.spec
    it_w = np.array(kept.it_w)
    storages = plant.site.storages
    speeds = np.array(kept.speeds)
    demand = spec.demand_charge.price_per_kilowatt if spec.demand_charge else spec.tariff.demand_price_per_kilowatt
    window_s = float(spec.band.window_seconds or max((m.window_seconds for m in spec.meters), default=60))
    return Run(
        name=scenario.name,
        policy=policy,
        seed=seed,
        t_s=np.array(kept.t_s),
        feed_w=np.array(kept.feed_w),
        limit_w=np.array(kept.limit_w),
        planned_w=np.array(kept.planned_w),
        throughput_frac=np.array(kept.throughput),
        series=tuple(
            Series(cluster, kind, it_w[:, k]) for k, (cluster, kind) in enumerate(plant.series) if it_w[:, k].any()
        ),
        speeds=tuple(Speed(e.name, speeds[:, k]) for k, e in enumerate(plant.work.entries)) if speeds.size else (),
        storage_w=np.array(kept.storage_w) if storages else np.empty(0),
        soc_frac=np.array(kept.soc_frac) if storages else np.empty(0),
        reserve_frac=max((u.reserve_frac for u in storages), default=0.0),
        energy_per_kwh=_known(kept.price, spec.tariff.price_per_kilowatt_hour),
        carbon_g_per_kwh=_known(kept.carbon, spec.tariff.carbon_grams_per_kilowatt_hour),
        tariff=Tariff(demand, spec.tariff.carbon_price_per_tonne),
        meter_window_s=window_s,
        ramp_w_per_s=spec.ramp.release_percent_per_minute / 100 * spec.limit_watts / 60,
        jobs=tuple(_rows(plant, tally, costs)),
        events=tuple(sorted(events.lines, key=lambda e: e.t_s)),
        facts=facts,
    )


def _known(column: list[float], fallback: float) -> Floats:
    values = np.array(column)
    return np.where(np.isnan(values), fallback, values)


def _rows(plant: Plant, tally: Tally, costs: _Costs) -> list[JobRow]:
    loss = {t.name: t.max_slowdown_frac for t in plant.site.terms}
    return [
        JobRow(
            name=name,
            job_class=tally.profile[k],
            gpus=int(tally.gpus[k]),
            loss_frac=loss[tally.profile[k]],
            submitted_s=float(tally.submitted_s[k]),
            started_s=float(tally.started_s[k]),
            finished_s=float(tally.finished_s[k]),
            work_gpu_h=float(tally.work_gpu_h[k]),
            speed_frac=float(1.0 / tally.slowdown[k]) if tally.slowdown[k] > 0 else float("nan"),
            energy_j=float(tally.energy_j[k]),
            wait_s=float(tally.wait_s[k]),
            slowdown=float(tally.slowdown[k]),
            breaches=int(tally.breach_s[k] > max(BREACH_S, BREACH_FRAC * tally.running_s[k])),
            cost=costs.money.get(name, 0.0),
            sentence=costs.said.get(name, ""),
        )
        for k, name in enumerate(tally.id)
    ]
