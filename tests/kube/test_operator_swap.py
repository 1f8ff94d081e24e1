"""A change of models as the operator sees and does it: what objects and servers say, and what is written on them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent / "bodies"))  # bodies are shared with the other tests of the operator

from kube_bodies import Server, cluster, meta, pod, pod_spec

from wattlease.core.api import PowerProfile
from wattlease.core.model import JobState
from wattlease_operator.agreements import Agreements
from wattlease_operator.columns import state_of
from wattlease_operator.gathering import Gathering, StandIns
from wattlease_operator.swap import Model
from wattlease_operator.swap_deeds import scaling
from wattlease_operator.swap_look import Sight
from wattlease_operator.swap_route import Route, route_of
from wattlease_operator.swap_servers import Servers
from wattlease_operator.swapping import Swapping
from wattlease_operator.swaps import Swap, swaps_of

RUNS = {"node": "n1", "phase": "Running"}
OWN, SMALL = ("Deployment", "ml", "large"), ("Deployment", "ml", "small")
JOB = "deployment/ml/large"


def profile(**swap: Any) -> PowerProfile:
    serving = {"service": "small", "deployment": "small", "replicas": 2}
    variant = {"name": "8b", "drawPercent": 25, "speedPercent": 100, "qualityPercent": 80, "serving": serving}
    own = {"service": "large", "deployment": "large"}
    spec = {
        "selector": {"matchLabels": {"app": "chat"}},
        "variants": [variant],
        "swap": {"route": "r", "own": own, **swap},
    }
    return PowerProfile.model_validate({"metadata": {"name": "p", "namespace": "ml"}, "spec": spec})


def declared() -> Swap:
    return swaps_of([profile()])[JOB]


def deployment(name: str, replicas: int, gpus: int = 4) -> dict[str, Any]:
    return {
        "metadata": meta(name),
        "spec": {"replicas": replicas, "template": {"spec": pod_spec(gpus)}},
        "status": {"readyReplicas": replicas},
    }


def sight(large: Server, small: Server) -> Sight:
    swap = declared()
    refs = [{"name": "large", "weight": 100}, {"name": "small", "weight": 0}]
    route = route_of(
        swap.route, {"metadata": {"uid": "u"}, "spec": {"rules": [{"backendRefs": refs}]}}, ("large", "small")
    )
    assert isinstance(route, Route)
    bodies = {"large": large.body(), "small": small.body()}
    return Sight(route, (Model(), Model()), ((), ()), ((0.0, 0.0),) * 2, bodies, 4)


def apply(server: Server, writes: Iterable[Any]) -> None:
    for write in writes:
        server.write(write)


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_deployment_that_was_scaled_for_a_swap_is_afterwards_as_its_owner_wrote_it(replicas: int) -> None:
    large, small, swap = Server(deployment("large", replicas)), Server(deployment("small", 0)), declared()
    before = large.body(), small.body()
    apply(small, scaling(swap, sight(large, small), 1, True))
    apply(large, scaling(swap, sight(large, small), 0, False))
    assert (large.body()["spec"]["replicas"], small.body()["spec"]["replicas"]) == (0, 2)
    apply(large, scaling(swap, sight(large, small), 0, True))
    apply(small, scaling(swap, sight(large, small), 1, False))
    assert (large.body(), small.body()) == before
    assert not any("wattlease/" in owners for server in (large, small) for owners in server.owners.values())


def small_pod(name: str = "small-1") -> dict[str, Any]:
    return pod(name, 1, owner=("ReplicaSet", "small-abc"), labels={"pod-template-hash": "abc", "app": "other"}, **RUNS)


def large_pod(name: str = "large-1") -> dict[str, Any]:
    return pod(name, 4, owner=("ReplicaSet", "large-abc"), labels={"pod-template-hash": "abc", "app": "chat"}, **RUNS)


def test_pods_of_the_model_that_stands_in_are_the_jobs_and_it_keeps_the_size_and_the_words_of_its_own() -> None:
    gathering = Gathering(cluster(pods=[small_pod("a-small"), large_pod()]))
    assert set(gathering.jobs()) == {JOB, "deployment/ml/small"}
    gathering.stand_in(StandIns({SMALL: OWN}, frozenset(), {OWN: 4}))
    [job] = gathering.jobs().values()
    assert (job.id, job.gpus, len(job.placed), job.labels["app"]) == (JOB, 4, 2, "chat")
    alone = Gathering(cluster(pods=[small_pod()]))
    alone.stand_in(StandIns({SMALL: OWN}, frozenset(), {OWN: 4}))
    [job] = alone.jobs().values()
    assert (job.id, job.gpus, state_of(job)) == (JOB, 4, JobState.RUNNING)


def test_pods_of_a_model_that_sleeps_are_nobodys_work() -> None:
    gathering = Gathering(cluster(pods=[small_pod(), large_pod()]))
    gathering.stand_in(StandIns({SMALL: OWN}, frozenset({OWN}), {OWN: 4}))
    [job] = gathering.jobs().values()
    assert [p.ref.name for p in job.placed] == ["small-1"]


def test_only_the_job_that_a_swap_names_may_swap_and_not_while_its_smaller_model_is_refused() -> None:
    agreements, gathering = Agreements(), Gathering(cluster(pods=[small_pod(), large_pod(), other_pod()]))
    agreements.agree((profile(),))
    jobs = gathering.jobs()
    assert [v.name for v in agreements.of(jobs[JOB]).variants] == ["8b"]
    assert not agreements.of(jobs["deployment/ml/other"]).variants
    agreements.withhold(frozenset({JOB}))
    assert not agreements.of(jobs[JOB]).variants
    agreements.withhold(frozenset())
    assert agreements.of(jobs[JOB]).variants


def other_pod() -> dict[str, Any]:
    return pod(
        "other-1", 1, owner=("ReplicaSet", "other-abc"), labels={"pod-template-hash": "abc", "app": "chat"}, **RUNS
    )


def test_a_swap_that_is_declared_as_before_is_followed_on() -> None:
    swapping = Swapping(None)  # type: ignore[arg-type]  # nothing is asked
    swapping.declare((profile(),))
    followed = swapping.followed[JOB]
    swapping.declare((profile(),))
    assert swapping.followed[JOB] is followed
    swapping.declare((profile(drainSeconds=7),))
    assert swapping.followed[JOB] is not followed
    assert swapping.followed[JOB].swap.rules.drain_s == 7


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([], "no rule of the route names Service large"),
        ([[("large", 1)]], "names Service large and not small"),
        ([[("large", 0), ("small", 0)]], "no weight"),
    ],
)
def test_a_route_that_cannot_be_used_is_refused_with_why(rules: list[list[tuple[str, int]]], told: str) -> None:
    backends = [{"backendRefs": [{"name": n, "weight": w} for n, w in rule]} for rule in rules]
    found = route_of(declared().route, {"metadata": {}, "spec": {"rules": backends}}, ("large", "small"))
    assert isinstance(found, str)
    assert told in found


class FakeModel:
    """A server that says what it is told to."""

    def __init__(self) -> None:
        self.status, self.asleep, self.asked = 200, False, list[str]()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path_qs}")
        match request.path:
            case "/is_sleeping":
                return web.json_response({"is_sleeping": self.asleep})
            case "/v1/models":
                return web.json_response({"data": [{"id": "chat"}]})
            case "/v1/completions":
                return web.json_response({}, status=self.status)
            case "/metrics":
                told = ['vllm:num_requests_running{model_name="chat"} 3.0', "vllm:num_requests_waiting 1.0", "# HELP x"]
                told += ['http_requests_total{status="2xx"} 90.0', 'http_requests_total{status="5xx"} 10.0']
                return web.Response(text="\n".join(told))
        self.asleep = request.path == "/sleep"
        return web.Response()


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[FakeModel, Servers, str]]:
    model, servers, app = FakeModel(), Servers(), web.Application()
    app.router.add_route("*", "/{path:.*}", model.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield model, servers, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await servers.close()
        await runner.cleanup()


async def test_a_server_is_asked_for_a_token_and_tells_of_its_requests() -> None:
    async with listening() as (model, servers, address):
        told = await servers.look(address, sleeps=False)
        assert (told.good, told.busy, told.requests, told.failures, told.asleep) == (True, 4, 100.0, 10.0, None)
        for status, good in ((500, False), (404, False), (401, True), (429, True)):
            model.status = status
            assert (await servers.look(address, sleeps=False)).good is good


async def test_vllm_is_put_to_sleep_after_its_requests_and_is_asked_for_nothing_while_it_sleeps() -> None:
    async with listening() as (model, servers, address):
        assert await servers.sleep(address) == ""
        assert "POST /sleep?level=1&mode=wait" in model.asked
        model.asked.clear()
        told = await servers.look(address, sleeps=True)
        assert (told.asleep, told.good) == (True, None)
        assert "POST /v1/completions" not in model.asked
        assert await servers.wake(address) == ""
        assert (await servers.look(address, sleeps=True)).good is True


async def test_a_server_that_is_not_there_says_nothing_and_is_not_good() -> None:
    servers = Servers()
    told = await servers.look("http://127.0.0.1:9", sleeps=True)
    assert replace(told, good=False) == told
    assert (told.asleep, told.busy) == (None, None)
    assert "nothing" in await servers.wake("http://127.0.0.1:9")
    await asyncio.wait_for(servers.close(), 1.0)
