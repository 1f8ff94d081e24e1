"""Shadow mode in a cluster: what was held is let go, what was lowered is given back, and nothing else is touched."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "bodies"))  # bodies are shared with the other tests of the operator

from api_door import until
from kube_bench import OURS, RUNS, Bench, Shelf, bench, service
from kube_bodies import check, hpa, job, node, pod, workload

from wattlease.core.actions import Downsize, Pause
from wattlease_operator.labels import GRANTED
from wattlease_operator.ordering import STRANGE_S
from wattlease_operator.workload import STALE_S

PAUSED = {f"{OURS}paused-by": "wattlease"}
HELD = {f"{OURS}held-by": "wattlease"}


async def let_go(at: Bench, name: str) -> list[Any]:
    """Act as in shadow mode until an object of this name was written; all that was written of it."""
    before = len(at.of(name))

    def done() -> bool:
        at.now_s += 0.01
        at.let_go()
        return len(at.of(name)) > before

    await until(done)
    await asyncio.sleep(0.1)
    return at.of(name)


async def untouched(at: Bench) -> bool:
    before = len(at.door.asked)
    for _ in range(3):
        at.let_go()
        await asyncio.sleep(0.1)
    return len(at.door.asked) == before


async def test_a_workload_that_waits_for_our_check_gets_its_word() -> None:
    waits = workload("job-a", ("Job", "a"))
    queue = {"kueue.x-k8s.io/queue-name": "gpus"}
    async with bench(jobs=[job("a", suspend=True, labels=queue)], workloads=[waits], admissionchecks=[check()]) as at:
        entry = (await let_go(at, "job-a"))[-1]["status"]["admissionChecks"][0]
        assert (entry["name"], entry["state"]) == ("power", "Ready")
        assert at.of("power")[-1]["status"]["conditions"][0]["type"] == "Active"


async def test_a_workload_of_a_kind_that_nobody_here_knows_gets_its_word_too() -> None:
    waits = workload("set-a", ("AppWrapper", "a"))
    async with bench(workloads=[waits], admissionchecks=[check()]) as at:
        assert (await let_go(at, "set-a"))[-1]["status"]["admissionChecks"][0]["state"] == "Ready"


async def test_a_workload_without_an_owner_gets_its_word_too() -> None:
    waits = workload("group-a", ("Pod", "a"))
    del waits["metadata"]["ownerReferences"]
    async with bench(workloads=[waits], admissionchecks=[check()]) as at:
        assert (await let_go(at, "group-a"))[-1]["status"]["admissionChecks"][0]["state"] == "Ready"


async def test_in_enforce_mode_a_workload_that_nobody_here_knows_waits_for_a_minute_and_no_longer() -> None:
    async with bench(workloads=[workload("set-a", ("AppWrapper", "a"))], admissionchecks=[check()]) as at:
        assert await at.asked("power")
        assert not at.of("set-a")
        at.now_s = STRANGE_S
        at.cache.hear()
        assert (await at.asked("set-a"))["status"]["admissionChecks"][0]["state"] == "Ready"


async def test_in_enforce_mode_a_workload_whose_job_was_not_told_of_yet_waits_for_it() -> None:
    async with bench(workloads=[workload("job-a", ("Job", "a"))], admissionchecks=[check()]) as at:
        assert await at.asked("power")
        at.now_s = 2 * STRANGE_S
        at.cache.hear()
        at.act()
        await asyncio.sleep(0.2)
        assert not at.of("job-a")


async def test_a_workload_that_we_had_paused_gets_its_word_and_our_mark_goes() -> None:
    waits = workload("job-a", ("Job", "a"), annotations=PAUSED)
    async with bench(jobs=[job("a", suspend=True)], workloads=[waits], admissionchecks=[check()]) as at:
        written = await let_go(at, "job-a")
        assert all("annotations" not in body["metadata"] for body in written)
        assert written[-1]["status"]["admissionChecks"][0]["state"] == "Ready"


async def test_a_gated_pod_loses_our_gate() -> None:
    async with bench(pods=[pod("p", gates=("theirs", f"{OURS}power"))]) as at:
        assert (await let_go(at, "p"))[-1][-1] == {"op": "remove", "path": "/spec/schedulingGates/1"}


@pytest.mark.parametrize(("marks", "value"), [(PAUSED, None), (HELD, False)])
async def test_a_job_that_we_suspended_or_that_was_made_to_wait_runs(marks: dict[str, str], value: bool | None) -> None:
    async with bench(jobs=[job("a", suspend=True, annotations=marks)]) as at:
        written = (await let_go(at, "a"))[-1]
        assert written.get("spec") == (None if value is None else {"suspend": value})


async def test_what_others_suspended_or_run_is_left_as_it_is() -> None:
    jobs = [job("theirs", suspend=True), job("runs")]
    pods = [pod("runs-1", owner=("Job", "runs"), **RUNS), *service(2)]
    scalers = [hpa("h", 9, least=2)]
    async with bench(jobs=jobs, pods=pods, horizontalpodautoscalers=scalers, nodes=[node("n1"), node("n2")]) as at:
        assert await untouched(at)


async def test_a_pause_that_is_under_way_is_called_off() -> None:
    can_save = {f"{OURS}checkpoint-seconds": "60"}
    running = [pod("a-1", owner=("Job", "a"), **RUNS)]
    async with bench(jobs=[job("a", annotations=can_save)], pods=running) as at:
        asked = (await at.asked("a", Pause("ml/a")))["metadata"]["annotations"]
        assert f"{OURS}checkpoint-requested" in asked
        at.put("jobs", job("a", annotations=can_save | asked))
        at.let_go()
        assert not at.work.asks["ml/a"].pause
        assert "checkpoint-requested" not in str((await let_go(at, "a"))[-1])


async def test_a_ceiling_that_we_lowered_is_what_it_was() -> None:
    lowered = {f"{OURS}max-replicas-before": "9", f"{OURS}max-replicas": "4"}
    async with bench(pods=service(4), horizontalpodautoscalers=[hpa("h", 4, least=2, annotations=lowered)]) as at:
        assert (await let_go(at, "h"))[0]["spec"] == {"maxReplicas": 9}


async def test_a_smaller_batch_is_asked_for_no_more_and_the_book_says_so() -> None:
    shelf = Shelf()
    async with bench(shelf, jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        at.act(Downsize("ml/a", 0.5, ""))
        await until(lambda: "ml/a" in shelf.data)
        at.let_go()
        assert at.work.asks["ml/a"].batch_frac == 1.0
        await until(lambda: "ml/a" not in shelf.data)


async def test_nodes_no_longer_show_a_grant_that_was_narrower() -> None:
    shown = node("n1")
    shown["metadata"]["annotations"] = {GRANTED: "4000"}
    async with bench(nodes=[shown, node("n2")]) as at:
        assert "annotations" not in (await let_go(at, "n1"))[-1]["metadata"]
        assert not at.of("n2")


async def test_while_the_api_server_is_silent_nothing_is_let_go() -> None:
    async with bench(pods=[pod("p", gates=(f"{OURS}power",))]) as at:
        at.now_s += STALE_S + 1.0
        assert await untouched(at)


async def test_in_enforce_mode_what_holds_no_gpu_is_let_go_at_once() -> None:
    queue = {"kueue.x-k8s.io/queue-name": "gpus"}
    small = job("cpu", 0, suspend=True, labels=queue)
    waits = workload("job-cpu", ("Job", "cpu"))
    gated = pod("small", 0, gates=(f"{OURS}power",))
    async with bench(jobs=[small], pods=[gated], workloads=[waits], admissionchecks=[check()]) as at:
        assert (await at.asked("job-cpu"))["status"]["admissionChecks"][0]["state"] == "Ready"
        assert (await at.asked("small"))[-1]["op"] == "remove"
