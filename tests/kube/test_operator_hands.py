"""Hands against a real HTTP server that plays the API: what is urgent comes first, and trouble is nobody's end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "bodies"))  # bodies are shared with the other tests of the operator

from api_door import Door, at_the_door, until

from wattlease_operator.api import Api
from wattlease_operator.book import Book, ConfigMapState
from wattlease_operator.cache import Ref
from wattlease_operator.hands import LAST_S, MOST_AT_ONCE, REFUSED_S, Hands
from wattlease_operator.kinds import HPAS, JOBS, PODS
from wattlease_operator.ordering import Order, Urgency
from wattlease_operator.writes import Disown, Steps, Write, owning


@asynccontextmanager
async def at_work(api: Api, now: Any = None) -> AsyncIterator[Hands]:
    hands = Hands(api, now) if now else Hands(api)
    task = asyncio.create_task(hands.run())
    try:
        yield hands
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def job(name: str) -> Ref:
    return Ref(JOBS, "ml", name, f"uid-{name}")


def pause(name: str, urgency: Urgency = Urgency.PAUSE) -> Order:
    return Order(f"ml/{name}", "pause", urgency, (owning(job(name), {}, ("spec", "suspend"), True),))


def names(door: Door) -> list[str]:
    return [path.rsplit("/", 1)[-1] for _, path, _ in door.asked]


async def test_a_write_carries_the_fields_and_the_uid_and_nothing_else() -> None:
    async with at_the_door() as (door, api), at_work(api) as hands:
        hands.order([pause("a")])
        await until(lambda: door.asked)
        [(method, path, body)] = door.asked
        assert (method, path) == ("PATCH", "/apis/batch/v1/namespaces/ml/jobs/a")
        assert body["spec"] == {"suspend": True}
        assert body["metadata"] == {"name": "a", "namespace": "ml", "uid": "uid-a"}


async def test_the_most_urgent_is_begun_first_and_few_at_one_time() -> None:
    async with at_the_door() as (door, api), at_work(api) as hands:
        await api.kind(JOBS)
        door.open.clear()
        later = [pause(f"r{i}", Urgency.RELEASE) for i in range(MOST_AT_ONCE)]
        hands.order([*later, *(pause(f"p{i}") for i in range(4))])
        await until(lambda: door.inside == MOST_AT_ONCE)
        door.open.set()
        await until(lambda: len(door.asked) == MOST_AT_ONCE + 4)
        assert set(names(door)[:MOST_AT_ONCE]) >= {f"p{i}" for i in range(4)}
        assert door.most_inside == MOST_AT_ONCE


async def test_an_object_is_written_one_thing_at_a_time_and_not_again_before_the_watch_can_tell() -> None:
    async with at_the_door() as (door, api), at_work(api) as hands:
        for _ in range(5):
            hands.order([pause("a")])
            await asyncio.sleep(0.05)
        assert names(door) == ["a"]


async def test_orders_that_nobody_renewed_are_not_begun() -> None:
    now_s = [0.0]
    async with at_the_door() as (door, api):
        hands = Hands(api, lambda: now_s[0])
        hands.order([pause("a")])
        now_s[0] = LAST_S + 1.0
        task = asyncio.create_task(hands.run())
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not door.asked


@pytest.mark.parametrize(("status", "warned"), [(404, 0), (409, 0), (500, 1), (403, 1)])
async def test_trouble_with_one_object_is_said_once_and_stops_no_other(
    status: int, warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = [0.0]
    async with at_the_door() as (door, api), at_work(api, lambda: now_s[0]) as hands:
        door.status["a"] = status
        for _ in range(3):
            hands.order([pause("a"), pause("b")])
            count = len(door.asked)
            await until(lambda count=count: len(door.asked) >= count + 2)
            await asyncio.sleep(0.02)
            now_s[0] += REFUSED_S + 1.0
        assert names(door).count("b") == 3
        assert [record.levelname for record in caplog.records].count("WARNING") == warned


async def test_what_follows_a_write_that_failed_is_not_written() -> None:
    async with at_the_door() as (door, api), at_work(api) as hands:
        door.status["a"] = 409
        first, second = owning(job("a"), {}), owning(job("b"), {})
        hands.order([Order("ml/a", "pause", Urgency.PAUSE, (first, second))])
        await until(lambda: door.asked)
        await asyncio.sleep(0.1)
        assert names(door) == ["a"]


async def test_steps_and_disowning_go_out_as_json_patches_with_their_tests() -> None:
    writes: tuple[Write, ...] = (
        Steps(Ref(PODS, "ml", "p", "u"), ({"op": "remove", "path": "/spec/schedulingGates/0"},)),
        Disown(Ref(HPAS, "ml", "h", "u")),
        Disown(Ref(HPAS, "ml", "nobodys", "u")),
    )
    async with at_the_door() as (door, api), at_work(api) as hands:
        door.bodies["h"] = {"metadata": {"managedFields": [{"manager": "wattlease"}]}}
        door.bodies["nobodys"] = {"metadata": {"managedFields": [{"manager": "kubectl"}]}}
        hands.order([Order("x", "restore", Urgency.RELEASE, writes)])
        await until(lambda: len(door.asked) == 2)
        await asyncio.sleep(0.05)
        assert [body[0]["op"] for _, _, body in door.asked] == ["test", "test"]
        assert door.asked[1][2][-1] == {"op": "remove", "path": "/metadata/managedFields/0"}
        assert len(door.asked) == 2


async def test_the_book_outlives_the_process_and_is_written_only_where_it_changed() -> None:
    async with at_the_door() as (door, api):
        book = Book(ConfigMapState(api, "wattlease-system"))
        await book.load()
        book.write("ml/a", batch_frac=0.5, variant="small")
        await book.save()
        await book.save()
        assert len(door.asked) == 1
        successor = Book(ConfigMapState(api, "wattlease-system"))
        await successor.load()
        assert (successor.read, successor.of("ml/a")) == (True, book.of("ml/a"))


async def test_a_book_that_cannot_be_reached_is_not_taken_for_an_empty_one() -> None:
    async with at_the_door() as (_, api):
        book = Book(ConfigMapState(api, "wattlease-system"))
        api._client.configuration.host = "http://127.0.0.1:9"
        await book.load()
        assert not book.read


@pytest.mark.parametrize("written", ["[]", "no json", '{"a": 4, "b": {"batch_frac": "x", "variant": 3}}'])
async def test_a_book_that_was_mangled_is_read_as_far_as_it_goes(written: str) -> None:
    async with at_the_door() as (door, api):
        door.bodies["wattlease-book"] = {"data": {"book.json": written}}
        book = Book(ConfigMapState(api, "wattlease-system"))
        await book.load()
        assert book.read
        assert book.of("b").batch_frac == 1.0
