"""The jobs of a run before it starts: those written out, and those that a trace or chance brings."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wattlease.core.errors import BudgetError
from wattlease.core.model import Floats, Ints, Site
from wattlease.sim.demand import DrawTables
from wattlease.sim.scenario import Scenario
from wattlease.sim.scenario_work import Arrivals, JobSpec, Serving, Share
from wattlease.sim.traces import PhillyJobs, data_folder, philly

DAY_S = 86_400.0
USUAL_FRAC = 0.85
"""Uncapped draw of a training card against its rating where a scenario says nothing."""

SIZES = ((1, 0.9317, 6.72, 1.97), (2, 0.0221, 4.52, 3.27), (4, 0.0227, 9.11, 2.78), (8, 0.0200, 9.65, 2.79))
SIZES_LARGE = ((16, 0.0026, 9.27, 3.34), (32, 0.0009, 8.83, 2.47))
"""Philly's GPUs of a job, their share, and mean and deviation of the logarithm of seconds (82,247 jobs)."""

PHILLY_PER_DAY = 1460.0
"""Philly's arrivals a day in its busiest ten weeks."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A job as it will be submitted. `duration_s` is infinite where it runs past the end.

    Its user asks for `asked_frac` times that, which is all that a scheduler knows.
    """

    id: str
    name: str
    owner: str
    cluster: str
    gpus: int
    terms: int
    row: int
    submit_s: float
    duration_s: float
    full_w: float
    asked_frac: float = 1.0
    running: bool = False
    on_signal: bool = False
    reports: bool = True
    serving: Serving | None = None


def written(scenario: Scenario, site: Site, tables: DrawTables) -> Iterator[Entry]:
    """The jobs that the scenario writes out."""
    for spec in scenario.jobs:
        yield entry_of(spec, scenario, site, tables)


def entry_of(spec: JobSpec, scenario: Scenario, site: Site, tables: DrawTables) -> Entry:
    """A written job; its card model is that of its cluster's first group."""
    terms = [t.name for t in site.terms].index(spec.profile)
    group = next(g for g in scenario.groups if g.cluster == spec.cluster)
    rated_w = next(m.rated_w for m in site.models if m.name == group.gpu_model)
    swept_w = spec.sweep[-1].draw_watts if spec.sweep else rated_w * USUAL_FRAC
    return Entry(
        id=spec.name,
        name=spec.name,
        owner=spec.owner,
        cluster=spec.cluster,
        gpus=spec.gpus,
        terms=terms,
        row=tables.row(group.gpu_model, site.terms[terms], spec.sweep),
        submit_s=float(spec.submit_seconds),
        duration_s=float(spec.duration_seconds or np.inf),
        full_w=spec.full_watts_per_gpu or swept_w,
        running=spec.running,
        on_signal=spec.checkpoint_on_signal,
        serving=spec.serving,
    )


def arriving(
    scenario: Scenario, site: Site, tables: DrawTables, rng: np.random.Generator, notes: list[str]
) -> Iterator[Entry]:
    """The jobs that a trace brings, dealt to profiles by the mix; those larger than the cluster are left out."""
    spec = scenario.arrivals
    if spec is None:
        return
    groups = [g for g in scenario.groups if g.cluster == spec.cluster]
    capacity = sum(g.nodes * g.gpus_per_node for g in groups)
    jobs = _loaded(_slice(scenario, spec, rng, notes), spec, capacity, scenario.duration_seconds, rng)
    model = groups[0].gpu_model
    rated_w = next(m.rated_w for m in site.models if m.name == model)
    names = [t.name for t in site.terms]
    dealt = rng.choice(len(spec.mix), size=len(jobs.gpus), p=[s.percent / 100 for s in spec.mix])
    asked = 1.0 + 2.0 * rng.random(len(jobs.gpus))
    waver = 1.0 + 0.02 * rng.standard_normal(len(jobs.gpus))
    for i, deal in enumerate(dealt):
        share = spec.mix[deal]
        terms = names.index(share.profile)
        owner, gpus = jobs.owner[i], int(jobs.gpus[i])
        if gpus > capacity:
            continue
        yield Entry(
            id=f"job-{i + 1:05d}",
            name=f"{share.profile}-{gpus}g",
            owner=owner,
            cluster=spec.cluster,
            gpus=gpus,
            terms=terms,
            row=tables.row(model, site.terms[terms], ()),
            submit_s=float(jobs.submit_s[i]),
            duration_s=float(jobs.duration_s[i]),
            full_w=rated_w * _usual_frac(share, owner, gpus) * float(waver[i]),
            asked_frac=float(asked[i]),
            on_signal=share.checkpoint_on_signal,
            reports=share.reports_speed,
        )


def _usual_frac(share: Share, owner: str, gpus: int) -> float:
    """Draw that owner, profile and size have in common, so that a job's past says something about the next."""
    low, high = share.watts_percent
    place = zlib.crc32(f"{owner}/{share.profile}/{gpus}".encode()) / 2**32
    return (low + (high - low) * place) / 100


def _slice(scenario: Scenario, spec: Arrivals, rng: np.random.Generator, notes: list[str]) -> PhillyJobs:
    """Jobs with submit times from the scenario's start on; the backlog was submitted at 0."""
    if spec.trace == "philly":
        try:
            jobs = philly(data_folder(scenario.data_folder))
        except BudgetError as missing:
            if not spec.or_synthetic:
                raise
            notes.append(f"arrivals are synthetic, with Philly's sizes and lengths: {missing}")
        else:
            return jobs.between((spec.from_day - spec.backlog_days) * DAY_S, spec.from_day * DAY_S, spec.to_day * DAY_S)
    return _synthetic(spec, rng)


def _synthetic(spec: Arrivals, rng: np.random.Generator) -> PhillyJobs:
    days = spec.to_day - spec.from_day + spec.backlog_days
    count = int(rng.poisson(PHILLY_PER_DAY * days))
    sizes, shares, mean, spread = (np.array(c) for c in zip(*(SIZES + SIZES_LARGE), strict=True))
    kind = rng.choice(len(sizes), size=count, p=shares / shares.sum())
    duration_s = np.clip(np.exp(mean[kind] + spread[kind] * rng.standard_normal(count)), 10.0, 60 * DAY_S)
    submit_s = np.sort(rng.uniform(-spec.backlog_days * DAY_S, (spec.to_day - spec.from_day) * DAY_S, count))
    owner = tuple(f"team-{o}" for o in rng.integers(1, 16, count))
    return PhillyJobs(np.maximum(submit_s, 0.0), duration_s, sizes[kind].astype(np.int64), owner)


def _loaded(jobs: PhillyJobs, spec: Arrivals, capacity: int, duration_s: float, rng: np.random.Generator) -> PhillyJobs:
    """Thin out or repeat the jobs until they ask for `loadPercent` of the cluster's GPU-time."""
    if spec.load_percent is None:
        return jobs
    asked = float(np.sum(jobs.gpus * np.minimum(jobs.duration_s, duration_s)))
    times = spec.load_percent / 100 * capacity * duration_s / max(asked, 1.0)
    copies = np.floor(times) + (rng.random(len(jobs.gpus)) < times % 1.0)
    return jobs.taken(np.repeat(np.arange(len(jobs.gpus)), copies.astype(np.int64)))


def columns_of(entries: list[Entry], field: str) -> Floats:
    """One number of every entry, as a column."""
    return np.array([getattr(e, field) for e in entries], dtype=np.float64)


def indices_of(entries: list[Entry], field: str) -> Ints:
    """One whole number of every entry, as a column."""
    return np.array([getattr(e, field) for e in entries], dtype=np.int64)
