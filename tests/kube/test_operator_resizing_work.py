"""Fewer GPUs as the loop sees them: plans that become writes, refusals, pauses in between, and Shadow mode."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "bodies"))  # bodies are shared with the other tests of the operator

from api_door import until
from kube_bench import OURS, RUNS, Bench, bench
from kube_bodies import RESOURCES, job, pod

from wattlease.core.actions import Downsize, Pause, Restore
from wattlease.core.model import JobState
from wattlease_operator.hands import RETRY_S

BEFORE, NOW = f"{OURS}gpus-per-pod-before", f"{OURS}gpus-per-pod"
SUSPENDED = {"conditions": [{"type": "Suspended", "status": "True"}]}
ASKS = {f"{OURS}least-gpus-per-pod": "2"}


def shown(at: Bench, suspend: bool, gpus: int, status: Any = None, **marks: str) -> None:
    """What the API server tells of the Job now."""
    at.put("jobs", job("a", gpus, suspend=suspend, annotations=ASKS | marks) | {"status": status or {}})


def runs(gpus: int) -> dict[str, Any]:
    return pod("a-1", gpus, owner=("Job", "a"), **RUNS)


async def suspended(at: Bench, gpus: int, *actions: Any, **marks: str) -> dict[str, str]:
    """Act until the Job is suspended and its pod is gone; what is written on it then."""
    written = await at.asked("a", *actions)
    assert written["spec"] == {"suspend": True}
    assert at.work.asks["ml/a"].pause
    on_it = written["metadata"]["annotations"]
    shown(at, True, gpus, SUSPENDED, **on_it)
    at.cache.drop(RESOURCES["pods"], runs(gpus))
    return dict(on_it)


async def later(at: Bench) -> None:
    """When the hands try again."""
    await asyncio.sleep(0.1)
    at.now_s += RETRY_S + 1.0
    at.cache.hear()


async def test_a_plan_that_shrinks_a_job_and_one_that_restores_it_are_carried_out() -> None:
    async with bench(jobs=[job("a", 4, annotations=ASKS)], pods=[runs(4)]) as at:
        [variant] = next(terms for terms in at.tick()[0].site.terms if terms.variants).variants
        on_it = await suspended(at, 4, Downsize("ml/a", 1.0, variant.name))
        count = len(at.of("a"))
        await at.asked("a")
        await until(lambda: len(at.of("a")) == count + 4)
        marks, change, resumed = at.of("a")[-3:]
        assert marks["metadata"]["annotations"] == on_it | {BEFORE: "4", NOW: "2"}
        assert change[-1]["value"] == "2"
        assert resumed["metadata"]["annotations"] == {BEFORE: "4", NOW: "2"}
        shown(at, False, 2, **{BEFORE: "4", NOW: "2"})
        at.put("pods", pod("a-2", 2, owner=("Job", "a"), **RUNS))
        jobs = at.tick()[0].jobs
        assert (jobs.gpus.tolist(), jobs.variant.tolist(), jobs.state.tolist()) == ([4], [0], [int(JobState.RUNNING)])
        await later(at)
        assert await at.quiet()
        written = await at.asked("a", Restore("ml/a"))
        assert written["metadata"]["annotations"][BEFORE] == "4"


async def test_what_an_older_server_refuses_has_the_job_resumed_as_it_was_and_its_people_told() -> None:
    async with bench(jobs=[job("a", 4, annotations=ASKS)], pods=[runs(4)]) as at:
        on_it = await suspended(at, 4, Downsize("ml/a", 1.0, "2 of 4 GPUs a pod"))
        at.door.status["a"] = 422
        await at.asked("a")
        await until(lambda: any("events" in path for _, path, _ in at.door.asked))
        [event] = [body for _, path, body in at.door.asked if "events" in path]
        assert (event["reason"], event["type"], event["regarding"]["name"]) == ("ResizeRefused", "Warning", "a")
        assert "runs on with 4 a pod" in event["note"]
        at.door.status.clear()
        shown(at, True, 4, SUSPENDED, **on_it)
        await later(at)
        resumed = await at.asked("a")
        assert "spec" not in resumed
        assert "annotations" not in resumed["metadata"]
        shown(at, False, 4)
        at.put("pods", pod("a-2", 4, owner=("Job", "a"), **RUNS))
        snapshot = at.tick()[0]
        assert not snapshot.site.terms[snapshot.jobs.terms[0]].variants
        assert await at.quiet(Downsize("ml/a", 1.0, "2 of 4 GPUs a pod"))


async def test_a_pause_takes_the_place_of_a_change_that_is_under_way() -> None:
    async with bench(jobs=[job("a", 4, annotations=ASKS)], pods=[runs(4)]) as at:
        await suspended(at, 4, Downsize("ml/a", 1.0, "2 of 4 GPUs a pod"))
        assert await at.quiet(Pause("ml/a"))


async def test_a_smaller_batch_in_place_of_fewer_gpus_is_on_all_of_them() -> None:
    marks = {BEFORE: "4", NOW: "2"}
    async with bench(jobs=[job("a", 2, annotations=ASKS | marks)], pods=[runs(2)]) as at:
        on_it = await suspended(at, 2, Downsize("ml/a", 0.5, ""))
        assert on_it[BEFORE] == "4"
        await at.asked("a")
        await until(lambda: len(at.of("a")) >= 3)
        assert at.of("a")[1][-1]["value"] == "4"


async def test_shadow_mode_gives_the_gpus_back() -> None:
    marks = {BEFORE: "4", NOW: "2"}
    async with bench(jobs=[job("a", 2, annotations=ASKS | marks)], pods=[runs(2)]) as at:

        def paused() -> bool:
            at.now_s += 0.01
            at.let_go()
            return bool(at.of("a"))

        await until(paused)
        assert at.of("a")[-1]["metadata"]["annotations"] == marks | {f"{OURS}paused-by": "wattlease"}
        shown(at, True, 2, SUSPENDED, **marks, **{f"{OURS}paused-by": "wattlease"})
        at.cache.drop(RESOURCES["pods"], runs(2))
        at.now_s += 10.0
        at.cache.hear()

        def given_back() -> bool:
            at.now_s += 0.01
            at.let_go()
            return len(at.of("a")) >= 3

        await until(given_back)
        change, resumed = at.of("a")[1:3]
        assert change[-1]["value"] == "4"
        assert "annotations" not in resumed["metadata"]
