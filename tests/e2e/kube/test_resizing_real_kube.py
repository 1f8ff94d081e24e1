"""A Job on fewer GPUs while watts are short, on a real control plane: the lever, and the operator that uses it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kube_ground import Ground, managers, own
from kube_kwok import kwok
from kube_plane import WITHOUT, ControlPlane
from kube_site import Site
from kube_work import job
from slurm_work import Work

from wattlease.core.model import JobState
from wattlease_operator.resizing import least_gpus, own_gpus
from wattlease_operator.words import GPUS_BEFORE, GPUS_NOW, LEAST_GPUS

NODES, NAMESPACE = ("gpu-1",), "team"
HIGH_W, LOW_W = 7_000.0, 3_600.0
"""Above what eight busy cards draw; and less than they do, with their node's overhead, at half of their rated power."""

BUSY_W, TTL_S = 650.0, 10.0
SOON_S = 120.0
"""A decision, a checkpoint, a pod that goes and one that comes, on a machine that does other work too."""

pytestmark = pytest.mark.timeout(900)


async def test_a_job_runs_on_fewer_gpus_and_then_on_its_own_and_is_as_its_owner_made_it(ground: Ground) -> None:
    body = job("train", 4, ground.namespace, pods=2)
    body["metadata"]["annotations"] = {LEAST_GPUS: "2"}
    ground.plane.apply(body)
    await ground.until(lambda: ground.running() == 2, "both pods run")
    before, name = ground.get("job", "train"), f"{ground.namespace}/train"
    found = await ground.job(name)
    assert found is not None
    await ground.size(name, least_gpus(found))
    shrunk = await ground.job(name)
    assert shrunk is not None
    assert (sum(p.gpus for p in shrunk.placed), shrunk.gpus, shrunk.shrunk_from) == (4, 8, 4)
    assert wattleases(ground.get("job", "train")) == {
        "f:metadata": {"f:annotations": {f"f:{GPUS_BEFORE}": {}, f"f:{GPUS_NOW}": {}}},
        "f:limits": {"f:nvidia.com/gpu": {}},
        "f:requests": {"f:nvidia.com/gpu": {}},
    }
    await ground.bring(name, JobState.PAUSED)  # a pause, and a resumption, leave it as small as it is
    assert ground.get("job", "train")["metadata"]["annotations"][GPUS_BEFORE] == "4"
    await ground.bring(name, JobState.RUNNING)
    await ground.until(lambda: ground.running() == 2, "both pods run again")
    assert {p.gpus for p in (await ground.job(name) or found).alive} == {2}
    await ground.size(name, own_gpus(shrunk))
    await ground.until(lambda: "wattlease" not in managers(ground.get("job", "train")), "nothing is ours any more")
    assert own(ground.get("job", "train")) == own(before)


@contextmanager
def at_work(plane: ControlPlane) -> Iterator[Site]:
    """A site of one node whose eight cards one Job holds; it can save itself, and can do with half of them."""
    dwell = {"pauseSeconds": 20, "holdSeconds": 5, "downsizeSeconds": 20}
    budget = {"ramp": {"releasePercentPerMinute": 100}, "dwell": dwell, "band": {"counts": "Draw"}}
    body = job("train", 8, NAMESPACE, ends="1s", labels={"profile": "train"})
    body["metadata"]["annotations"] = {LEAST_GPUS: "4", "wattlease.io/checkpoint-seconds": "5"}
    terms = {"selector": {"matchLabels": {"profile": "train"}}, "checkpoint": {"restartSeconds": 10}}
    meta = {"metadata": {"name": "train", "namespace": NAMESPACE}, "spec": terms}
    with kwok(plane, NODES):
        site = Site(plane, NODES, (Work("train*", BUSY_W),), limit_w=HIGH_W, budget=budget)
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        plane.until(lambda: plane.furnished(NAMESPACE), "the namespace is set up")
        plane.apply({"apiVersion": "wattlease.io/v1alpha1", "kind": "PowerProfile", **meta})
        with site.running():
            plane.apply(body)
            site.until(lambda: cards(site) == [8], "the Job runs", SOON_S)
            site.until(lambda: site.hardware.drawn_w() > 0.8 * HIGH_W, "it is at work", SOON_S)
            time.sleep(15.0)  # its draw is known by then
            yield site


def cards(site: Site) -> list[int]:
    """How many each pod that computes holds."""
    return [len(pod.cards) for pod in site.hardware.jobs.values() if pod.computes]


def written(site: Site) -> Any:
    return site.plane.get("job", "train", "-n", NAMESPACE, "--show-managed-fields")


def events(site: Site) -> dict[str, str]:
    """What people are told of the Job, by reason."""
    found = site.plane.get("events.v1.events.k8s.io", "-n", NAMESPACE)["items"]
    return {e["reason"]: e.get("note", "") for e in found if e["regarding"]["kind"] == "Job"}


def test_a_job_gives_up_gpus_while_watts_are_short_and_has_them_back(new_plane: Callable[..., ControlPlane]) -> None:
    with at_work(new_plane("resizes")) as site:
        before, cut_s = written(site), time.monotonic()
        site.limit(LOW_W)
        took_s = site.until(lambda: cards(site) == [4], "it runs on half of its GPUs", SOON_S)
        print(f"on four cards {took_s:.0f} s after the limit fell")
        site.until(lambda: site.hardware.drawn_w() < LOW_W, "the site is under its limit", TTL_S)
        time.sleep(TTL_S)
        assert cards(site) == [4]
        assert "4 of 8 GPUs a pod" in events(site)["Downsized"]
        assert written(site)["metadata"]["annotations"][GPUS_BEFORE] == "8"
        assert not site.hardware.over(LOW_W, cut_s + TTL_S)
        site.limit(HIGH_W)
        took_s = site.until(lambda: cards(site) == [8], "it has all of them back", SOON_S)
        print(f"on eight cards {took_s:.0f} s after the limit rose")
        site.until(lambda: "wattlease" not in managers(written(site)), "nothing is ours any more", TTL_S)
        assert own(written(site)) == own(before)
        assert not site.hardware.over(HIGH_W)


def test_a_server_that_refuses_has_the_job_resumed_as_it_was_and_says_why(
    new_plane: Callable[..., ControlPlane],
) -> None:
    gates = f"--feature-gates={WITHOUT},MutablePodResourcesForSuspendedJobs=false"
    with at_work(new_plane("refuses", api_flags=(gates,))) as site:
        before = written(site)
        site.limit(LOW_W)
        site.until(lambda: "ResizeRefused" in events(site), "its people are told", SOON_S)
        assert "runs on with 8 a pod: this API server lets nobody change" in events(site)["ResizeRefused"]
        site.limit(HIGH_W)
        site.until(lambda: cards(site) == [8], "it runs with all of its GPUs", SOON_S)
        site.until(lambda: "wattlease" not in managers(written(site)), "nothing is ours any more", TTL_S)
        assert own(written(site)) == own(before)


def wattleases(body: Any) -> dict[str, Any]:
    """The fields that are ours, those of the container's resources by themselves."""
    found: dict[str, Any] = {}
    for entry in body["metadata"]["managedFields"]:
        fields = dict(entry["fieldsV1"]) if entry["manager"] == "wattlease" else {}
        below = {"f:spec": fields.pop("f:spec")} if "f:spec" in fields else {}
        for name in ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"main"}', "f:resources"):
            below = below.get(name, below)  # where more than that is ours it shows
        found |= fields | below
    return found
