"""The operator's work as the loop sees it: jobs in columns, plans that become writes, and nothing while unsure."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "bodies"))  # bodies are shared with the other tests of the operator

from api_door import until
from kube_bench import OURS, RUNS, Shelf, bench, service
from kube_bodies import RESOURCES, check, hpa, job, meta, node, pod, workload

from wattlease.core.actions import Downsize, Hold, Pause, Release, Restore, Resume
from wattlease.core.api import PowerProfile
from wattlease.core.model import JobState
from wattlease.runtime.controller.act import hints
from wattlease_operator.cache import Cache
from wattlease_operator.ordering import RAISE_S
from wattlease_operator.words import LEFT_ALONE, PAUSED_BY, US
from wattlease_operator.workload import LOOK_S, STALE_S, KubeWorkload


async def test_a_job_is_paused_by_its_switch_and_its_pods_are_told_before() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        written = await at.asked("a", Pause("ml/a"))
        assert written["spec"] == {"suspend": True}
        ask = at.work.asks["ml/a"]
        assert (ask.parts, ask.checkpoint, ask.pause) == ((("n1", "ml/a-1"),), True, True)
        at.put("jobs", job("a", suspend=True, annotations=written["metadata"]["annotations"]))
        assert at.states() == {"ml/a": JobState.RUNNING}  # its pod is still there
        at.cache.drop(RESOURCES["pods"], pod("a-1"))
        assert at.states() == {"ml/a": JobState.PAUSED}
        assert await at.quiet()
        resumed = await at.asked("a", Resume("ml/a"))
        assert "spec" not in resumed
        assert "annotations" not in resumed["metadata"]


async def test_a_job_that_is_resumed_before_its_pods_are_gone_is_left_alone_too() -> None:
    """Whoever applies `suspend: false` every two seconds is faster than a pod that writes its checkpoint."""
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        marks = (await at.asked("a", Pause("ml/a")))["metadata"]["annotations"]
        assert marks == {PAUSED_BY: US}
        at.put("jobs", job("a", suspend=True, annotations=marks))
        at.act()
        assert at.states() == {"ml/a": JobState.RUNNING}
        at.put("jobs", job("a", annotations=marks))
        written = await at.asked("a")
        assert written["metadata"]["annotations"] == {LEFT_ALONE: "true"}
        assert not at.work.asks["ml/a"].pause


async def test_every_pod_of_a_job_is_told_by_the_name_that_its_own_node_knows() -> None:
    pods = [
        pod(f"a-{i}", 2, owner=("Job", "a"), node=on, phase="Running") for i, on in ((1, "n1"), (2, "n2"), (3, "n2"))
    ]
    async with bench(jobs=[job("a", 2, pods=3)], pods=pods) as at:
        snapshot, plan, after = at.tick()
        at.work.act(snapshot, replace(plan, actions=(Pause("ml/a"),)), after)
        told = hints(snapshot, plan, at.work.asks)
        assert {name: [hint.job for hint in found] for name, found in told.items()} == {
            "n1": ["ml/a-1"],
            "n2": ["ml/a-2", "ml/a-3"],
        }
        assert all(hint.checkpoint and hint.pause for found in told.values() for hint in found)


async def test_a_gated_pod_is_held_and_let_go() -> None:
    async with bench(pods=[pod("p", gates=(f"{OURS}power",))]) as at:
        assert at.states() == {"pod/ml/p": JobState.HELD}
        assert await at.quiet(Hold("pod/ml/p"))
        assert (await at.asked("p", Release("pod/ml/p")))[-1] == {"op": "remove", "path": "/spec/schedulingGates/0"}


async def test_a_workload_of_kueue_that_waits_for_our_word_calls_for_a_tick_once() -> None:
    async with bench(jobs=[job("a", suspend=True)], admissionchecks=[check()]) as at:
        assert not at.work.came.is_set()
        at.put("workloads", workload("w", ("Job", "a"), reserved=False))
        await asyncio.sleep(2 * LOOK_S)
        assert not at.work.came.is_set()
        at.put("workloads", workload("w", ("Job", "a")))
        await until(at.work.came.is_set)
        assert at.states() == {"ml/a": JobState.HELD}
        at.work.came.clear()
        at.put("workloads", workload("w", ("Job", "a"), annotations={"any": "thing"}))
        await asyncio.sleep(2 * LOOK_S)
        assert not at.work.came.is_set()


async def test_while_the_api_server_is_silent_nothing_is_changed_and_jobs_stand_as_they_were_seen() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        before = at.states()
        at.now_s += STALE_S + 1.0
        assert at.states() == before
        assert await at.quiet(Pause("ml/a"))
        at.cache.hear()
        assert await at.asked("a", Pause("ml/a"))


async def test_what_was_wanted_while_the_api_server_was_silent_is_done_once_it_speaks() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        at.now_s += STALE_S + 1.0
        assert await at.quiet(Resume("ml/a"), Pause("ml/a"))
        at.cache.hear()
        assert (await at.asked("a"))["spec"] == {"suspend": True}


async def test_what_a_new_leader_wants_before_it_has_read_the_book_is_done_once_it_has() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        at.work.begin()
        at.act(Pause("ml/a"))
        assert not at.work._intents.wanted
        assert (await at.asked("a"))["spec"] == {"suspend": True}


async def test_what_the_core_no_longer_waits_for_is_not_done_late() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        dwell = at.site.scopes[0].budget.spec.dwell
        at.now_s += STALE_S + 1.0
        at.act(Pause("ml/a"))
        at.now_s += max(dwell.pause_seconds, dwell.downsize_seconds)
        at.cache.hear()
        assert await at.quiet()


async def test_until_pods_nodes_and_jobs_are_listed_nothing_is_changed() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        at.cache.leave_out(RESOURCES["nodes"])
        assert await at.quiet(Pause("ml/a"))


async def test_who_comes_to_lead_wants_nothing_of_what_was_wanted_before() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        at.door.open.clear()
        at.act(Pause("ml/a"))
        assert at.work._intents.wanted == {"ml/a": JobState.PAUSED}
        at.work.begin()
        assert not at.work._intents.wanted
        at.door.open.set()


async def test_a_smaller_batch_is_asked_for_until_it_is_given_back_and_a_successor_knows_of_it() -> None:
    steps = {"batchSteps": [{"batchPercent": 50, "drawPercent": 70, "speedPercent": 80}]}
    profile = {"metadata": {"name": "p", "namespace": "ml"}, "spec": {"selector": {"names": ["a"]}, **steps}}
    objects: dict[str, list[Any]] = {"jobs": [job("a")], "pods": [pod("a-1", owner=("Job", "a"), **RUNS)]}
    shelf = Shelf()
    async with bench(shelf, **objects) as at:
        at.work.agree((PowerProfile.model_validate(profile),))
        at.act(Downsize("ml/a", 0.5, ""))
        assert at.work.asks["ml/a"].batch_frac == 0.5
        assert at.tick()[0].jobs.batch_frac.tolist() == [0.5]
        await until(lambda: "ml/a" in shelf.data)
        async with bench(shelf, **objects) as after:
            assert after.tick()[0].jobs.batch_frac.tolist() == [0.5]
        at.act(Restore("ml/a"))
        assert at.work.asks["ml/a"].batch_frac == 1.0


async def test_a_service_grows_no_further_while_watts_are_short_and_has_its_ceiling_back_after() -> None:
    async with bench(pods=service(4), horizontalpodautoscalers=[hpa("h", 9, least=2)]) as at:
        assert await at.quiet()
        lowered = await at.asked("h", state="shedding")
        assert lowered["spec"] == {"maxReplicas": 4}
        at.put("horizontalpodautoscalers", hpa("h", 4, least=2, annotations=lowered["metadata"]["annotations"]))
        assert await at.quiet(state="shedding")
        assert await at.quiet(state="within")  # not at once: what is left over moves with every tick
        at.now_s += RAISE_S
        at.cache.hear()
        restored = await at.asked("h", state="within")
        assert restored["spec"] == {"maxReplicas": 9}
        assert "annotations" not in restored["metadata"]


async def test_scaling_out_is_paused_for_a_minute_at_least_however_what_is_left_over_moves() -> None:
    body = {"metadata": meta("so"), "spec": {"maxReplicaCount": 9, "scaleTargetRef": {"name": "chat"}}}
    async with bench(pods=service(4), scaledobjects=[body]) as at:
        marks = (await at.asked("so", state="shedding"))["metadata"]["annotations"]
        at.put("scaledobjects", {**body, "metadata": meta("so", annotations=marks)})
        assert await at.quiet(state="shedding")
        assert await at.quiet(state="within")
        at.now_s += RAISE_S
        at.cache.hear()
        assert "annotations" not in (await at.asked("so", state="within"))["metadata"]


async def test_a_service_shrinks_to_what_its_owner_allows_and_no_further() -> None:
    async with bench(pods=service(4), horizontalpodautoscalers=[hpa("h", 9, least=2)]) as at:
        written = await at.asked("h", Downsize("deployment/ml/chat", 0.5, ""), state="shedding")
        assert written["spec"] == {"maxReplicas": 2}


async def test_nodes_that_are_said_to_be_off_are_asleep_and_others_that_are_silent_are_not() -> None:
    off = "node.cloudprovider.kubernetes.io/shutdown"
    silent = node("n2", "node.kubernetes.io/unreachable", ready=False)
    async with bench(nodes=[node("n1", off, ready=False), silent]) as at:
        assert at.work.asleep == {"n1"}


async def test_nodes_show_what_they_may_draw() -> None:
    async with bench(nodes=[node("n1"), node("n2")], jobs=[job("a")]) as at:
        written = await at.asked("n1")
        assert int(written["metadata"]["annotations"][f"{OURS}granted-watts"]) > 0
        assert set(written) == {"apiVersion", "kind", "metadata"}


async def test_terms_are_the_same_tuple_until_something_in_them_changes() -> None:
    async with bench(jobs=[job("a")], pods=[pod("a-1", owner=("Job", "a"), **RUNS)]) as at:
        at.tick()
        before = at.work.terms
        at.tick()
        assert at.work.terms is before
        at.put("pods", pod("bare", **RUNS))
        at.tick()
        assert at.work.terms is not before


@pytest.mark.parametrize(("marks", "age_s"), [({}, 100.0), ({f"{OURS}checkpoint-seconds": "60"}, 0.0)])
async def test_a_pause_loses_what_was_done_since_the_last_save(marks: dict[str, str], age_s: float) -> None:
    pods = [pod("a-1", owner=("Job", "a"), **RUNS)]
    async with bench(jobs=[job("a", annotations=marks)], pods=pods) as at:
        at.now_s = 100.0
        assert at.tick()[0].jobs.checkpoint_age_s.tolist() == [age_s]
        at.now_s = 1900.0  # it saves itself every half hour, as its profile says by default
        assert at.tick()[0].jobs.checkpoint_age_s.tolist() == [age_s]


def test_an_empty_cache_is_a_cluster_without_jobs() -> None:
    work = KubeWorkload("c1", Cache(), None, Shelf())  # type: ignore[arg-type]
    assert not work.asleep
