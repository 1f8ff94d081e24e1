"""A cluster under its limit: services, training and batch work, half of it through Kueue, and a limit that falls."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from kube_kueue import kueue, queue
from kube_kwok import GPUS, kwok
from kube_loads import CHECK, LIMIT_W_A_NODE, NAMESPACE, QUEUE, SERVE_W, WORKS, Load, admission_check, ground, loads
from kube_plane import ControlPlane
from kube_site import Site
from slurm_picture import picture

NODES = tuple(f"gpu-{i:02}" for i in range(int(os.environ.get("E2E_KUBE_NODES", "16"))))
FULL_W, CUT_FRAC, CUT_S = LIMIT_W_A_NODE * len(NODES), 0.7, 150.0
LATE = Load("batch-late-0", "batch", 2, queued=True)
"""Sent while watts are short."""
CALM_S, SAID_S = 30.0, 10.0
"""So long nobody may leave after all are back; a pause already ordered may take this long."""
TTL_S = 10.0
"""A grant lasts as long: by then every card's limit fits, whatever was lost on the way."""


@pytest.fixture
def site(new_plane: Callable[..., ControlPlane]) -> Iterator[Site]:
    plane = new_plane("limit")
    budget = {"ramp": {"releasePercentPerMinute": 60}, "dwell": {"pauseSeconds": 30, "holdSeconds": 5}}
    with kwok(plane, NODES), kueue(plane):
        site = Site(plane, NODES, WORKS, limit_w=FULL_W, budget=budget)
        plane.apply(*ground())
        plane.apply(admission_check())
        plane.apply(*queue(len(NODES) * GPUS, name=QUEUE, namespace=NAMESPACE, checks=(CHECK,)))
        with site.running():
            yield site


def at_work(site: Site) -> set[str]:
    """The workloads that hold cards."""
    return {next(load for load in named(pod.name)) for pod in site.hardware.jobs.values()}


def departures(site: Site, from_s: float, until_s: float = float("inf")) -> Counter[str]:
    """How often each workload lost all its cards in a span."""
    looks = [look for look in site.hardware.looks if from_s <= look.at_s < until_s]
    names = [{name for pod in look.jobs for name in named(pod.name)} for look in looks]
    return Counter(name for before, after in pairwise(names) for name in before - after)


def named(pod: str) -> Iterator[str]:
    """The workload of a pod by the name of its work: a service's pods carry more after it."""
    yield "-".join(pod.split("-")[:3])


def all_at_work(site: Site, sent: Mapping[str, Load]) -> None:
    """Send it by size: the scheduler spreads, and a node that small work has begun on has no room for eight GPUs."""
    for gpus in sorted({load.gpus for load in sent.values()}, reverse=True):
        site.plane.apply(*(load.manifest for load in sent.values() if load.gpus == gpus))
        names = {load.name for load in sent.values() if load.gpus >= gpus}
        site.until(partial(lambda names: at_work(site) == names, names), f"work of {gpus} GPUs runs", 180.0)


def missing(site: Site, names: AbstractSet[str], until_s: float) -> Counter[str]:
    """Who was seen without cards until then, and how often."""
    missed = Counter[str]()
    while time.monotonic() < until_s:
        missed.update(names - at_work(site))
        time.sleep(2.0)
    return missed


@pytest.mark.timeout(1500)
def test_a_limit_that_falls_by_30_percent_is_kept_and_only_who_can_wait_waits(site: Site) -> None:
    sent, plane, hardware = {load.name: load for load in loads(len(NODES))}, site.plane, site.hardware
    all_at_work(site, sent)
    site.until(lambda: hardware.drawn_w() > 0.75 * FULL_W, "the site is busy", 120.0)
    time.sleep(60.0)  # jobs are known by then
    cut_s = time.monotonic()
    site.limit(CUT_FRAC * FULL_W)
    took_s = site.until(lambda: hardware.allowed_w() <= CUT_FRAC * FULL_W, "all limits together fit", TTL_S)
    print(f"limits fit {took_s:.1f} s after kubectl returned")
    plane.apply(LATE.manifest)
    missed = missing(site, sent.keys(), cut_s + CUT_S)
    assert LATE.name not in at_work(site)
    plane.kubectl("delete", "job", LATE.name, "-n", NAMESPACE)
    back_s = time.monotonic()
    site.limit(FULL_W)
    took_s = site.until(lambda: at_work(site) == sent.keys(), "all work runs again", 400.0)
    time.sleep(CALM_S)
    print(f"of {len(sent)} workloads {len(missed)} waited; all ran {took_s:.0f} s after the limit came back: {missed}")
    steps = [(hardware.samples[0].at_s, FULL_W), (cut_s, CUT_FRAC * FULL_W), (back_s, FULL_W)]
    print(picture(hardware, steps, "A limit that falls by 30 % for some minutes", "kube-cut"))

    assert not hardware.over(FULL_W)
    assert not hardware.over(CUT_FRAC * FULL_W, cut_s + TTL_S, back_s)
    samples = [s for s in hardware.samples if cut_s + TTL_S < s.at_s < back_s]
    assert not [s for s in samples if s.allowed_w > CUT_FRAC * FULL_W + 1.0]
    waited = {sent[name].profile for name in missed}
    assert "batch" in waited
    assert "serve" not in waited
    assert "train" not in waited or {n for n, load in sent.items() if load.profile == "batch"} <= missed.keys()
    assert set(departures(site, cut_s, back_s).values()) == {1}
    assert not departures(site, back_s + SAID_S)
    slots = [hardware._slots(pod) for pod in hardware.jobs.values() if pod.name.startswith("serve-")]
    serving = np.concatenate(slots)
    assert min(float(s.limits_w[serving].min()) for s in samples) >= SERVE_W
    assert not hardware.kubelets.overfull
