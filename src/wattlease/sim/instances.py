"""Random sites and snapshots of any size, for property tests and benchmarks: nothing of them is measured.

Every job has its own cards in one piece; draws, terms and ages are drawn from `rng`, so a seed gives the same site.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wattlease.core.api import PowerBudget
from wattlease.core.model import (
    NONE,
    CardModel,
    Floats,
    GpuReadings,
    Gpus,
    Ints,
    Jobs,
    JobState,
    NodeReadings,
    Nodes,
    Scope,
    Site,
    Snapshot,
    Terms,
)

NOON_S = 1_767_268_800.0
A100 = CardModel("A100", 400.0, 100.0, 55.0)
H100 = CardModel("H100", 700.0, 200.0, 75.0)
GPUS_PER_NODE = 8


@dataclass(frozen=True, slots=True)
class Shape:
    """What to make: running, waiting and paused jobs, their sizes in GPUs, and the limit as a share of full draw."""

    running: int = 20
    waiting: int = 0
    paused: int = 0
    sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    limit_frac: float = 0.8
    racks: int = 1
    counts: str = "Draw"


def terms(rng: np.random.Generator, count: int = 24) -> tuple[Terms, ...]:
    """A few dozen contracts: some tolerate nothing, some may be paused, one in eight is protected."""
    kinds = ("Training", "Inference", "Generation", "Batch", "Interactive")
    return tuple(
        Terms(
            name=f"class-{k}",
            kind=kinds[k % len(kinds)],
            value_per_gpu_h=float(rng.uniform(0.5, 6.0)),
            max_slowdown_frac=float(rng.choice([0.0, 0.1, 0.25, 0.5, 1.0, 1.0])),
            pausable=bool(rng.random() < 0.7),
            protected=k % 8 == 7,
        )
        for k in range(count)
    )


def snapshot(rng: np.random.Generator, shape: Shape) -> Snapshot:
    """A site in which `shape.running` jobs draw what they like, seen for the first time and uncapped."""
    total = shape.running + shape.waiting + shape.paused
    gpus = rng.choice(np.array(shape.sizes), total)
    state = np.repeat(
        [JobState.RUNNING, JobState.PAUSED, JobState.HELD], [shape.running, shape.paused, shape.waiting]
    ).astype(np.int64)
    placed = int(gpus[state != JobState.HELD].sum())
    free = int(gpus[state == JobState.HELD].sum())
    nodes = -(-(placed + free) // GPUS_PER_NODE)
    cards = nodes * GPUS_PER_NODE
    job = np.full(cards, NONE, np.int64)
    job[:placed] = np.repeat(np.arange(total)[state != JobState.HELD], gpus[state != JobState.HELD])
    jobs = _jobs(rng, gpus, state)
    running = np.append(state == JobState.RUNNING, False)[job]
    wants_w = np.append(rng.uniform(0.55, 0.98, total), 0.0)[job] * H100.rated_w
    power_w = np.where(running, wants_w * rng.normal(1.0, 0.03, cards), H100.idle_w * rng.normal(1.0, 0.02, cards))
    site = _site(rng, nodes, float(np.where(running, wants_w, H100.idle_w).sum()), shape)
    readings = GpuReadings(np.minimum(power_w, H100.rated_w), np.full(cards, 0.5), np.full(cards, H100.rated_w), job)
    heard = NodeReadings(np.full(nodes, np.nan), np.full(nodes, 0.5), np.full(nodes, 8 * H100.rated_w + 2400.0))
    return Snapshot(NOON_S, site, readings, heard, jobs)


def _jobs(rng: np.random.Generator, gpus: Ints, state: Ints) -> Jobs:
    total = len(gpus)
    nothing, unknown = np.zeros(total, np.int64), np.full(total, np.nan)
    names = tuple(f"job-{k:06d}" for k in rng.permutation(total))
    return Jobs(
        id=names,
        name=names,
        owner=tuple(f"user{k}" for k in rng.integers(0, 40, total)),
        cluster=("hall",) * total,
        terms=rng.integers(0, 24, total),
        state=state,
        gpus=gpus,
        model=nothing,
        rank=rng.permutation(total),
        submitted_s=NOON_S - rng.uniform(0, 40_000, total),
        since_s=np.full(total, NOON_S - 7200.0),
        left_s=unknown,
        checkpoint_age_s=rng.uniform(0, 3600, total),
        speed_frac=unknown,
        batch_frac=np.ones(total),
        variant=np.full(total, NONE, np.int64),
    )


def _site(rng: np.random.Generator, nodes: int, draw_w: float, shape: Shape) -> Site:
    overhead_w = 2400.0
    full_w = draw_w + nodes * overhead_w
    scopes = [Scope("hall", NONE, budget("hall", full_w * shape.limit_frac, shape.counts))]
    for r in range(shape.racks if shape.racks > 1 else 0):
        rack_w = full_w / shape.racks * rng.uniform(0.75, 1.2)
        scopes.append(Scope(f"rack-{r}", 0, budget(f"rack-{r}", rack_w, shape.counts, "hall")))
    leaf = (np.arange(nodes) % (len(scopes) - 1) + 1) if len(scopes) > 1 else np.zeros(nodes, np.int64)
    cards = nodes * GPUS_PER_NODE
    return Site(
        name="instance",
        scopes=tuple(scopes),
        models=(H100,),
        nodes=Nodes(
            id=tuple(f"n{k}" for k in range(nodes)),
            scope=leaf.astype(np.int64),
            cluster=("hall",) * nodes,
            nameplate_w=np.full(nodes, 10_200.0),
            overhead_w=np.full(nodes, overhead_w),
            fallback_w=np.full(nodes, overhead_w + 8 * H100.min_cap_w),
        ),
        gpus=Gpus(
            node=np.repeat(np.arange(nodes), GPUS_PER_NODE),
            model=np.zeros(cards, np.int64),
            min_cap_w=np.full(cards, H100.min_cap_w),
            max_cap_w=np.full(cards, H100.rated_w),
        ),
        terms=terms(rng),
    )


def budget(name: str, limit_w: float, counts: str = "Draw", parent: str | None = None) -> PowerBudget:
    """A budget of nothing but a limit."""
    spec = {"limitWatts": max(1, int(limit_w)), "parent": parent, "band": {"counts": counts, "marginPercent": 0}}
    return PowerBudget.model_validate({"metadata": {"name": name}, "spec": spec})


def limited(seen: Snapshot, limit_w: float) -> Snapshot:
    """The same snapshot under another limit at the root."""
    root = seen.site.scopes[0]
    counts = root.budget.spec.band.counts
    scopes = (replace(root, budget=budget(root.id, limit_w, counts)), *seen.site.scopes[1:])
    return replace(seen, site=replace(seen.site, scopes=scopes))


def obeyed(seen: Snapshot, wants_w: Floats, cap_w: Floats, dt_s: float) -> Snapshot:
    """The snapshot `dt_s` later, when every card draws what it wants under the cap of its job."""
    caps_w = np.clip(np.append(cap_w, H100.min_cap_w)[seen.gpus.job], H100.min_cap_w, H100.rated_w)
    works = np.append(seen.jobs.state == JobState.RUNNING, False)[seen.gpus.job]
    alive = 1.0 + 1e-4 * np.sin(seen.now_s + np.arange(len(caps_w)))  # a sensor whose digits rest is taken for dead
    drawn_w = np.where(works, np.minimum(wants_w, 0.97 * caps_w), H100.idle_w) * alive
    gpus = replace(seen.gpus, power_w=drawn_w, cap_w=caps_w)
    return replace(seen, now_s=seen.now_s + dt_s, gpus=gpus)
