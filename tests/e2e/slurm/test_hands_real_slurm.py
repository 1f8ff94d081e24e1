"""Each deed that the daemon does to a job, on a real Slurm: what the job sees of it, and what the book says after."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from slurm_cluster import Cluster

from wattlease.core.model import Terms
from wattlease_slurm.agreement import Agreement
from wattlease_slurm.book import Book
from wattlease_slurm.cli_backend import CliBackend
from wattlease_slurm.cli_run import Commands
from wattlease_slurm.hands import LAST_S, Hands, Orders, Todo
from wattlease_slurm.room import Room
from wattlease_slurm.wishes import Checkpoint
from wattlease_slurm.words import Queue, SlurmJob, State, Trouble

SAVES = "trap 'echo saved >>saved' USR1; while sleep 0.2; do :; done"
ON_USR1 = Checkpoint("USR1", 1.0, batch_only=True)


class Doing:
    """Hands on the cluster, with a clock that a test may turn on."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.later_s = cluster, 0.0
        self.backend = CliBackend(Commands(cluster.bin))
        self.book = Book(folder / "slurm.json")
        self.hands = Hands(self.backend, self.book, "power", "wattlease", self.now)

    def now(self) -> float:
        return asyncio.get_running_loop().time() + self.later_s

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.hands.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def learn(self, queue: Queue | Trouble) -> None:
        assert not isinstance(queue, Trouble), queue
        self.book.compare(queue, "power", self.hands.under_way)

    async def job(self, number: str) -> SlurmJob:
        queue = await self.backend.queue()
        assert not isinstance(queue, Trouble), queue
        return next(job for job in queue.jobs if job.id == number)

    async def until(self, number: str, so: Callable[[SlurmJob], bool], patience_s: float = 40.0) -> SlurmJob:
        async with asyncio.timeout(patience_s):
            while not so(found := await self.job(number)):
                await asyncio.sleep(0.2)
            return found

    async def started(self, *options: str, script: str = SAVES) -> SlurmJob:
        number = self.cluster.submit(script, "-L", "power:2000", "--time=20", *options, user="alice")
        return await self.until(number, lambda job: job.state == State.RUNNING)

    def file(self, name: str) -> Path:
        return self.cluster.room.inside("home/alice") / name


@pytest.fixture
def doing(cluster: Cluster, tmp_path: Path) -> Doing:
    for user in ("alice", "root"):
        cluster.run("scancel", f"--user={user}")
    cluster.until(lambda: not cluster.run("squeue", "-h"), "all jobs are gone")
    found = Doing(cluster, tmp_path)
    found.file("saved").unlink(missing_ok=True)
    return found


def agreed(checkpoint: Checkpoint | None = None, requeue: bool = False) -> Agreement:
    return Agreement(Terms("default"), checkpoint, requeue)


async def test_a_job_saves_itself_gives_its_licences_back_and_is_suspended_and_goes_on_with_them(doing: Doing) -> None:
    job = await doing.started("--gres=gpu:2")
    async with doing.working():
        doing.hands.order(Orders(pause={job.id: Todo(job, agreed(ON_USR1), 150)}))
        paused = await doing.until(job.id, lambda now: now.state == State.SUSPENDED)
        assert paused.licences == {"power": 150}
        assert doing.file("saved").exists()
        assert doing.book.of(job.id).paused
        doing.hands.order(Orders(resume={job.id: Todo(paused, agreed(ON_USR1), 1800)}))
        await doing.until(job.id, lambda now: now.state == State.RUNNING and now.licences == {"power": 1800})
        assert not doing.book.of(job.id).paused


async def test_licences_that_a_person_set_since_the_last_look_stay(doing: Doing) -> None:
    job = await doing.started("--gres=gpu:2")
    doing.learn(await doing.backend.queue())
    doing.cluster.run("scontrol", "update", f"JobId={job.id}", "Licenses=power:333")
    async with doing.working():
        doing.hands.order(Orders(room=Room({job.id: 1200}, 7000, 3000)))
        async with asyncio.timeout(20.0):
            while not doing.book.of(job.id).others_licences:
                await asyncio.sleep(0.1)
    assert (await doing.job(job.id)).licences == {"power": 333}
    doing.cluster.run("scontrol", "delete", "ReservationName=wattlease")


async def test_licences_that_a_person_set_outlast_a_pause(doing: Doing) -> None:
    job = await doing.started("--gres=gpu:2")
    doing.book.write(job.id, others_licences=True)
    async with doing.working():
        doing.hands.order(Orders(pause={job.id: Todo(job, agreed(), 150)}))
        paused = await doing.until(job.id, lambda now: now.state == State.SUSPENDED)
        doing.hands.order(Orders(resume={job.id: Todo(paused, agreed(), 1800)}))
        await doing.until(job.id, lambda now: now.state == State.RUNNING)
        await doing.until(job.id, lambda _: not doing.hands.under_way)
    assert (await doing.job(job.id)).licences == {"power": 2000}


async def test_a_job_that_wants_to_be_requeued_is_and_its_book_is_clean(doing: Doing) -> None:
    job = await doing.started("--gres=gpu:2", "--requeue")
    async with doing.working():
        doing.hands.order(Orders(pause={job.id: Todo(job, agreed(ON_USR1, requeue=True), 150)}))
        again = await doing.until(job.id, lambda now: now.restarts == 1)
        assert again.licences == {"power": 2000}
        assert doing.file("saved").exists()
        await doing.until(job.id, lambda _: not doing.book.of(job.id).pausing)


async def test_a_job_on_two_nodes_is_left_with_one(doing: Doing) -> None:
    job = await doing.started("--gres=gpu:2", "--nodes=2", script="srun sleep 300 & wait; sleep 300")
    assert job.node_count == 2
    async with doing.working():
        doing.hands.order(Orders(shrink={job.id: Todo(job, agreed(), 0, nodes=1)}))
        left = await doing.until(job.id, lambda now: now.node_count == 1)
        assert left.state == State.RUNNING


async def test_orders_that_nobody_renewed_are_not_begun(doing: Doing) -> None:
    job = await doing.started("--gres=gpu:2")
    doing.hands.order(Orders(pause={job.id: Todo(job, agreed(), 150)}))
    doing.later_s = LAST_S + 1.0
    async with doing.working():
        await asyncio.sleep(3.0)
    assert (await doing.job(job.id)).state == State.RUNNING


async def test_room_is_made_by_licences_and_one_reservation_and_never_beyond_all_there_are(doing: Doing) -> None:
    job = await doing.started("--gres=gpu:2")
    async with doing.working():
        doing.hands.order(Orders(room=Room({job.id: 1200}, 7000, 3000)))
        await doing.until(job.id, lambda now: now.licences == {"power": 1200})
        async with asyncio.timeout(20.0):
            while "power:7000" not in (shown := doing.cluster.run("scontrol", "-o", "show", "reservation")):
                await asyncio.sleep(0.2)
        assert re.search(r"ReservationName=wattlease\b", shown)
        licences = doing.cluster.run("scontrol", "show", "licenses")
        assert "Reserved=7000" in licences
    doing.cluster.run("scontrol", "delete", "ReservationName=wattlease")
