"""The client, and the watches that fill the cache, against an API server on a real socket."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease_operator import watching
from wattlease_operator.api import TEXT_MAX, Api, Trouble, Why, _believed
from wattlease_operator.cache import Body, Cache, Ref, Resource

sys.path.insert(0, str(Path(__file__).parent / "fake"))
from kube_server import KubeServer, kube_server

PODS = Resource("", "v1", "pods")
MAPS = Resource("", "v1", "configmaps")
HOLES = Resource("holes.dev", "v1", "holes")


def pod(name: str, **spec: object) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "a", "managedFields": [{"manager": "x"}]}, "spec": spec}


async def until(true: Callable[[], object], patience_s: float = 40.0) -> None:
    async with asyncio.timeout(patience_s):
        while not true():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def asked(call_s: float = 5.0) -> AsyncIterator[tuple[KubeServer, Api, Cache]]:
    async with kube_server() as server:
        cache = Cache()
        api = Api(server.configuration, cache.hear, call_s)
        try:
            yield server, api, cache
        finally:
            await api.close()


def of(answer: Trouble | Body | None) -> Why:
    assert isinstance(answer, Trouble), answer
    return answer.why


async def test_what_is_made_of_each_answer() -> None:
    async with asked(call_s=0.5) as (server, api, cache):
        assert cache.age_s() == float("inf")
        assert of(await api.read(Ref(PODS, "a", "one"))) is Why.GONE
        assert cache.age_s() < 1.0
        server.put(PODS, pod("one"))
        found = await api.read(Ref(PODS, "a", "one"))
        assert not isinstance(found, Trouble)
        assert of(await api.create(PODS, "a", pod("one"))) is Why.CONFLICT
        old = {**found, "metadata": {**found["metadata"], "resourceVersion": "1"}}
        assert of(await api.replace(Ref(PODS, "a", "one"), old)) is Why.CONFLICT
        for status, why in ((403, Why.REFUSED), (422, Why.REFUSED), (429, Why.UNREACHABLE), (503, Why.UNREACHABLE)):
            server.refuses = {"/api/v1/namespaces": status}
            assert of(await api.patch(Ref(PODS, "a", "one"), {"spec": {}})) is why
        server.refuses = {}
        server.hangs = True
        assert of(await api.read(Ref(PODS, "a", "one"))) is Why.UNREACHABLE
        server.hangs = False
        assert await api.served(PODS)
        assert not await api.served(HOLES)


async def test_a_change_names_the_very_object_and_an_apply_makes_no_other() -> None:
    async with asked() as (server, api, _):
        server.put(PODS, pod("one"))
        stranger = Ref(PODS, "a", "one", "another-uid")
        for refused in (
            await api.apply(stranger, {"spec": {"x": 1}}),
            await api.patch(stranger, {"spec": {"x": 1}}),
        ):
            assert of(refused) is Why.CONFLICT
        await api.patch(stranger, [{"op": "add", "path": "/spec/x", "value": 1}])
        assert server.bodies[-1][0] == {"op": "test", "path": "/metadata/uid", "value": "another-uid"}


async def test_an_event_names_the_object_and_a_budget_s_stands_in_default() -> None:
    async with asked() as (server, api, _):
        assert await api.event(Ref(PODS, "a", "one", "u1"), "Paused", "x" * 5000, warning=True) is None
        [event] = [b for p, b in server.objects.items() if "/events/" in p]
        assert event["regarding"] == {
            "apiVersion": "v1", "kind": "Pod", "name": "one", "namespace": "a", "uid": "u1",
        }  # fmt: skip
        assert (event["reason"], event["type"], len(event["note"])) == ("Paused", "Warning", 1000)
        crds = next(r for r in server.kinds if not r.namespaced)
        assert await api.event(Ref(crds, "", "c"), "Told", "text") is None
        assert any("/namespaces/default/events/" in p for p in server.objects)


async def test_a_list_comes_in_chunks_and_says_its_kind() -> None:
    async with asked() as (server, api, _):
        for i in range(7):
            server.put(PODS, pod(f"p{i}"))
        found = await api.list(PODS, chunk=3)
        assert not isinstance(found, Trouble)
        assert [b["metadata"]["name"] for b in found] == [f"p{i}" for i in range(7)]
        assert {(b["kind"], b["apiVersion"]) for b in found} == {("Pod", "v1")}
        assert len([1 for method, path in server.calls if "limit=3" in path]) == 3


@asynccontextmanager
async def watched(*resources: Resource) -> AsyncIterator[tuple[KubeServer, Cache]]:
    async with asked(call_s=1.0) as (server, api, cache):
        task = asyncio.create_task(watching.Watching(server.configuration, api, cache, resources).run())
        try:
            yield server, cache
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def names(cache: Cache, resource: Resource = PODS) -> set[str]:
    return {name for _, name in cache.of(resource)}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, span_s in (("LOOK_S", 1.0), ("PULSE_S", 0.3), ("AGAIN_S", 0.3), ("QUIET_S", 0.1)):
        monkeypatch.setattr(watching, name, span_s)


async def test_the_cache_follows_the_cluster_and_nothing_is_written_on_anything() -> None:
    async with kept_writes() as writes, watched(PODS, MAPS) as (server, cache):
        writes.append(server)
        server.put(PODS, pod("one", v=1))
        await until(lambda: cache.complete(PODS) and names(cache) == {"one"})
        server.put(PODS, pod("two"))
        server.put(PODS, pod("one", v=2))
        await until(lambda: names(cache) == {"one", "two"} and cache.of(PODS)["a", "one"]["spec"] == {"v": 2})
        server.remove(PODS, "a", "one")
        await until(lambda: names(cache) == {"two"})
        assert "managedFields" not in cache.of(PODS)["a", "two"]["metadata"]
        assert cache.complete(MAPS)
        assert not cache.of(MAPS)
        await until(lambda: cache.age_s() < 0.5)


@asynccontextmanager
async def kept_writes() -> AsyncIterator[list[KubeServer]]:
    servers: list[KubeServer] = []
    yield servers
    assert {method for method, _ in servers[0].calls} == {"GET"}


async def test_what_was_deleted_while_no_watch_ran_is_noticed() -> None:
    async with watched(PODS) as (server, cache):
        server.put(PODS, pod("one"))
        server.put(PODS, pod("two"))
        await until(lambda: names(cache) == {"one", "two"})
        server.hangs = True
        server.forget()
        await until(lambda: cache.age_s() > 1.5)
        server.remove(PODS, "a", "one")
        server.remove(PODS, "a", "two")
        server.forget()
        assert names(cache) == {"one", "two"}, "what was known last is what is known"
        server.hangs = False
        await until(lambda: not names(cache) and cache.age_s() < 1.0)
        server.put(PODS, pod("three"))
        await until(lambda: names(cache) == {"three"})


async def test_a_history_that_is_gone_ends_no_watch() -> None:
    async with watched(PODS) as (server, cache):
        server.put(PODS, pod("one"))
        await until(lambda: names(cache) == {"one"})
        server.forget()
        server.put(PODS, pod("two"))
        await until(lambda: names(cache) == {"one", "two"})


@pytest.mark.parametrize("status", [400, 403, 500])
async def test_watches_that_are_refused_for_a_while_are_begun_anew(status: int) -> None:
    async with watched(PODS) as (server, cache):
        server.watch_status = status
        await until(lambda: cache.complete(PODS))
        await asyncio.sleep(1.0)
        server.put(PODS, pod("one"))
        server.watch_status = 0
        await until(lambda: names(cache) == {"one"}, 25.0)
        server.put(PODS, pod("two"))
        await until(lambda: names(cache) == {"one", "two"})


async def test_a_kind_that_is_not_served_or_forbidden_is_left_out_and_found_once_it_is() -> None:
    async with watched(PODS, HOLES, MAPS) as (server, cache):
        server.refuses = {"/api/v1/configmaps": 403}
        server.put(PODS, pod("one"))
        await until(lambda: names(cache) == {"one"})
        assert not cache.complete(HOLES)
        assert not cache.complete(MAPS)
        server.refuses = {}
        server.kinds[HOLES] = "Hole"
        server.put(HOLES, {"metadata": {"name": "deep", "namespace": "a"}})
        await until(lambda: names(cache, HOLES) == {"deep"} and cache.complete(MAPS))
        del server.kinds[HOLES]
        await until(lambda: not cache.complete(HOLES) and not cache.of(HOLES))
        server.put(PODS, pod("two"))
        await until(lambda: names(cache) == {"one", "two"})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3000))
def test_of_a_long_refusal_its_beginning_and_its_end_are_kept(length: int) -> None:
    message = f"spec.template: Invalid value: {'x' * length}: field is immutable"
    trouble = _believed("PATCH /a", 422, orjson.dumps({"message": message}))
    assert isinstance(trouble, Trouble)
    assert trouble.text.startswith("422 spec.template: Invalid value: ")
    assert trouble.text.endswith(": field is immutable")
    assert len(trouble.text) <= TEXT_MAX
