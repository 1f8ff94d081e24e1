"""Caps stand still while nothing but the cards' noise changes: jobs whose watts cost the same do not swap them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wattlease.core.decide import decide
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import Floats, Snapshot
from wattlease.sim import instances
from wattlease.sim.instances import Shape
from wattlease.sim.plant import Plant
from wattlease.sim.scenario import Scenario

FEW_W = 10.0
COUNTS = pytest.mark.parametrize("counts", ["Limits", "Draw"])


def flips(caps_w: Floats) -> Floats:
    """How often each job's cap moved by more than a few watts one way and next time the other, [ticks, jobs]."""
    found = []
    for cap_w in caps_w.T:
        moves_w = np.diff(cap_w)
        way = np.sign(moves_w[np.abs(moves_w) > FEW_W])
        found.append(int((way[1:] != way[:-1]).sum()))
    return np.array(found)


def twins(counts: str) -> Scenario:
    """Two nodes with a job each, alike in all but the noise of their cards, under a limit that holds both back."""
    jobs = [
        {"name": n, "cluster": "c", "gpus": 8, "profile": "any", "running": True, "fullWattsPerGpu": 650} for n in "ab"
    ]
    overhead = {"floorWatts": 1700, "perItPercent": 14}
    node: dict[str, Any] = {"name": "n", "cluster": "c", "budget": "site", "nodes": 2, "gpusPerNode": 8}
    node |= {"gpuModel": "H100", "nodeNameplateWatts": 10_200, "overhead": overhead}
    spec = {"limitWatts": 13_000, "guaranteedWatts": 9_200, "scope": {"clusters": ["c"]}, "band": {"counts": counts}}
    return Scenario.model_validate(
        {
            "name": "twins",
            "start": "2026-01-05T08:00:00Z",
            "durationSeconds": 600,
            "groups": [node],
            "budgets": [{"metadata": {"name": "site"}, "spec": spec}],
            "profiles": [{"metadata": {"name": "any"}, "spec": {}}],
            "jobs": jobs,
            "noise": {"dipPercent": 0, "stallEverySeconds": 86_400},
        }
    )  # fmt: skip


@COUNTS
def test_two_jobs_that_are_alike_do_not_swap_their_caps_in_the_closed_loop(counts: str) -> None:
    plant, memory, caps_w = Plant(twins(counts), 3), FRESH, []
    for _ in range(270):
        plan, memory = decide(plant.observe(), memory)
        plant.act(plan)
        plant.advance(1.0)
        caps_w.append(plan.cap_w)
    held_w = np.array(caps_w[90:])  # draws and prices are known
    assert held_w.max() < 650.0
    assert flips(held_w).max() == 0


@COUNTS
@pytest.mark.parametrize("seed", range(5))
def test_with_nothing_but_noise_no_cap_goes_to_and_fro(seed: int, counts: str) -> None:
    """Jobs alike in all but the noise of their cards, seen uncapped for half a minute before the limit falls."""
    rng = np.random.default_rng(seed)
    snapshot = instances.snapshot(rng, Shape(running=8, limit_frac=1.0, counts=counts, sizes=(8,)))
    terms, full_w = snapshot.site.terms, snapshot.site.scopes[0].budget.spec.limit_watts
    alike = (terms[rng.integers(len(terms))],) * len(terms)
    snapshot = replace(snapshot, site=replace(snapshot.site, terms=alike))
    wants_w = np.full(len(snapshot.gpus.job), rng.uniform(450.0, 650.0))
    snapshot, memory, _ = after(rng, instances.limited(snapshot, 2.0 * full_w), FRESH, wants_w, ticks=30)
    low = instances.limited(snapshot, rng.uniform(0.7, 0.9) * full_w)
    low, memory, _ = after(rng, low, memory, wants_w, ticks=15)
    _, _, caps_w = after(rng, low, memory, wants_w, ticks=60)
    assert caps_w.min() < 450.0
    assert flips(caps_w).max() == 0
    assert (np.abs(np.diff(caps_w, axis=0)) > FEW_W).sum(axis=0).max() <= 2  # once, if it settles late


def after(
    rng: np.random.Generator, snapshot: Snapshot, memory: Memory, wants_w: Floats, ticks: int
) -> tuple[Snapshot, Memory, Floats]:
    """Some seconds later: what is seen, what is remembered, and the caps on the way, [ticks, jobs]."""
    caps_w = []
    for _ in range(ticks):
        plan, memory = decide(snapshot, memory)
        snapshot = instances.obeyed(snapshot, wants_w, plan.cap_w, 1.0)
        noisy_w = snapshot.gpus.power_w * rng.normal(1.0, 0.01, len(wants_w))
        snapshot = replace(snapshot, gpus=replace(snapshot.gpus, power_w=noisy_w))
        caps_w.append(plan.cap_w)
    return snapshot, memory, np.array(caps_w)
