"""A cluster under its limit: services, training and batch work, half of it through Kueue, and a limit that falls."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator

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


def named(pod: str) -> Iterator[str]:
    """The workload of a pod by the name of its work: a service's pods carry more after it."""
    yield "-".join(pod.split("-")[:3])


def stands(site: Site, load: Load) -> str:
    """Paused, held, queued or at work, as the objects have it."""
    if load.profile == "serve":
        return "at work" if load.name in at_work(site) else "waiting"
    body = site.plane.job(NAMESPACE, load.name)
    return "suspended" if body["spec"]["suspend"] else "at work"


@pytest.mark.timeout(1500)
def test_a_limit_that_falls_by_30_percent_is_kept_and_only_who_can_wait_waits(site: Site) -> None:
    sent = {load.name: load for load in loads(len(NODES))}
    site.plane.apply(*(load.manifest for load in sent.values()))
    site.until(lambda: at_work(site) == sent.keys(), "all work runs", 180.0)
    site.until(lambda: site.hardware.drawn_w() > 0.75 * FULL_W, "the site is busy", 120.0)
    time.sleep(60.0)  # jobs are known by then
    cut_s = time.monotonic()
    site.limit(CUT_FRAC * FULL_W)
    took_s = site.until(lambda: site.hardware.allowed_w() <= CUT_FRAC * FULL_W, "all limits together fit", TTL_S)
    print(f"limits fit {took_s:.1f} s after kubectl returned")
    missed: dict[str, int] = Counter()
    while time.monotonic() < cut_s + CUT_S:
        for name in sent.keys() - at_work(site):
            missed[name] += 1
        time.sleep(2.0)
    back_s = time.monotonic()
    site.limit(FULL_W)
    took_s = site.until(lambda: at_work(site) == sent.keys(), "all work runs again", 400.0)
    print(f"of {len(sent)} workloads {len(missed)} waited; all ran {took_s:.0f} s after the limit came back: {missed}")
    steps = [(site.hardware.samples[0].at_s, FULL_W), (cut_s, CUT_FRAC * FULL_W), (back_s, FULL_W)]
    print(picture(site.hardware, steps, "A limit that falls by 30 % for some minutes", "kube-cut"))

    assert not site.hardware.over(FULL_W)
    assert not site.hardware.over(CUT_FRAC * FULL_W, cut_s + TTL_S, back_s)
    samples = [s for s in site.hardware.samples if cut_s + TTL_S < s.at_s < back_s]
    assert not [s for s in samples if s.allowed_w > CUT_FRAC * FULL_W + 1.0]
    waited = {sent[name].profile for name in missed}
    assert "serve" not in waited
    assert "train" not in waited or {n for n, load in sent.items() if load.profile == "batch"} <= missed.keys()
    slots = [site.hardware._slots(pod) for pod in site.hardware.jobs.values() if pod.name.startswith("serve-")]
    serving = np.concatenate(slots)
    assert min(float(s.limits_w[serving].min()) for s in samples) >= SERVE_W
    assert not site.hardware.kubelets.overfull
