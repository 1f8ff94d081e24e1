"""The workload beside Slurm: in shadow mode what is ours is undone, and what a silent Slurm missed is made up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from wattlease.core.actions import Downsize, Pause
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH
from wattlease.core.model import GpuReadings, NodeReadings, Snapshot
from wattlease.runtime.site import site_of
from wattlease_slurm.book import Book
from wattlease_slurm.settings import SlurmSettings
from wattlease_slurm.telling import SHADOWED
from wattlease_slurm.words import Config, Queue, Reservation, SlurmJob, SlurmNode, State
from wattlease_slurm.workload import STALE_S, SlurmWorkload

BASE = replace(
    SlurmJob("1", 1, "train", "ada", "ml", "gpu", "normal", State.RUNNING, 0.0),
    gpus=4,
    gpu_indices={"n1": (0, 1, 2, 3)},
)


@dataclass
class OneSlurm:
    """A Slurm of one node in this process, that does what it is asked."""

    jobs: dict[str, SlurmJob]
    held: dict[str, int] = field(default_factory=dict)
    others: tuple[str, ...] = ("maintenance",)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    age_s: float = 0.0
    """Of what it says of its jobs."""

    async def queue(self) -> Queue:
        return Queue(tuple(self.jobs.values()), time.time() - self.age_s)

    async def nodes(self) -> tuple[SlurmNode, ...]:
        return (SlurmNode("n1", "IDLE", frozenset(), 4, "h100", ("gpu",)),)

    async def config(self) -> Config:
        return Config("24.11.5", "c", "slurm(64030)", {"power": 9000}, ("n0",), {})

    async def reservations(self) -> tuple[Reservation, ...]:
        every = {**self.held, **dict.fromkeys(self.others, 0)}
        return tuple(Reservation(n, 0.0, 1e12, {"power": w}, frozenset(), True) for n, w in every.items())

    async def hold_watts(self, name: str, licence: str, watts: int, *_: Any) -> None:
        self.asked.append(("hold", name))
        self.held[name] = watts

    async def drop_reservation(self, name: str) -> None:
        self.asked.append(("drop", name))
        del self.held[name]

    async def set_licences(self, job: str, licences: Mapping[str, int], *_: Any) -> None:
        self.asked.append(("license", job))
        self.jobs[job] = replace(self.jobs[job], licences=licences)

    async def set_admin_comment(self, job: str, text: str) -> None:
        self.asked.append(("tell", job))
        self.jobs[job] = replace(self.jobs[job], admin_comment=text)

    async def suspend(self, job: str) -> None:
        self.asked.append(("suspend", job))
        self.jobs[job] = replace(self.jobs[job], state=State.SUSPENDED)

    async def resume(self, job: str) -> None:
        self.asked.append(("resume", job))
        self.jobs[job] = replace(self.jobs[job], state=State.RUNNING)


@dataclass
class Desk:
    """The workload at work on it."""

    slurm: OneSlurm
    settings: SlurmSettings
    work: SlurmWorkload

    def tick(self, *actions: Any, shadow: bool = False) -> None:
        site = site_of("hall", self.settings.groups, self.settings.budgets, ())
        jobs, of = self.work.jobs(site, [None] * 4, np.full(4, 300.0), time.time())
        gpus = GpuReadings(np.full(4, 300.0), np.zeros(4), site.gpus.max_cap_w, of)
        nodes = NodeReadings(np.full(1, np.nan), np.full(1, np.inf), site.nodes.nameplate_w)
        from_here = Snapshot(time.time(), replace(site, terms=self.work.terms), gpus, nodes, jobs)
        plan, after = decide(from_here, FRESH)
        if shadow:
            self.work.let_go(from_here, plan, after)
        else:
            self.work.act(from_here, replace(plan, actions=actions), after)

    async def until(self, true: Callable[[], object], *actions: Any, shadow: bool = False) -> None:
        async with asyncio.timeout(20.0):
            while not true():
                self.tick(*actions, shadow=shadow)
                await asyncio.sleep(0.05)


@asynccontextmanager
async def desk(folder: Path, slurm: OneSlurm) -> AsyncIterator[Desk]:
    group = {"name": "a", "cluster": "c", "budget": "hall", "nodes": 1, "nodeNames": ["n1"]}
    written = {
        "name": "hall",
        "groups": [group | {"gpusPerNode": 4, "gpuModel": "H100", "nodeNameplateWatts": 4000}],
        "budgets": [{"metadata": {"name": "hall"}, "spec": {"limitWatts": 4000}}],
        "listen": {"port": 0, "secretFile": "unused"},
        "stateFolder": str(folder),
        "slurm": {"pollSeconds": 1, "verdictFile": str(folder / "verdict")},
    }
    settings = SlurmSettings.model_validate(written)
    work = SlurmWorkload(settings, slurm)  # type: ignore[arg-type]
    work.begin()
    task = asyncio.create_task(work.run())
    try:
        await asyncio.sleep(0.3)
        yield Desk(slurm, settings, work)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_from_enforce_to_shadow_jobs_go_on_reservations_go_and_comments_say_so(tmp_path: Path) -> None:
    slurm = OneSlurm({"1": replace(BASE, licences={"power": 2000})})
    async with desk(tmp_path, slurm) as at:
        await at.until(lambda: ("suspend", "1") in slurm.asked and slurm.held, Pause("1"))
        slurm.jobs["1"] = replace(slurm.jobs["1"], admin_comment="wattlease: paused")
        slurm.held["wattlease-0123456789"] = 50  # a limit to come, of an earlier life
        await at.until(lambda: ("resume", "1") in slurm.asked and not slurm.held, shadow=True)
        await at.until(lambda: slurm.jobs["1"].admin_comment == SHADOWED, shadow=True)
        assert ("drop", "maintenance") not in slurm.asked


async def test_what_others_suspended_or_wrote_is_left_as_it_is(tmp_path: Path) -> None:
    theirs = replace(BASE, id="2", number=2, state=State.SUSPENDED, admin_comment="ask ada")
    slurm = OneSlurm({"1": replace(BASE, licences={"power": 2000}), "2": theirs})
    async with desk(tmp_path, slurm) as at:
        for _ in range(20):
            at.tick(shadow=True)
            await asyncio.sleep(0.05)
        assert not slurm.asked


async def test_a_smaller_batch_is_asked_for_no_more(tmp_path: Path) -> None:
    async with desk(tmp_path, OneSlurm({"1": BASE})) as at:
        at.tick(Downsize("1", 0.5, ""))
        assert at.work.asks["1"].batch_frac == 0.5
        at.tick(shadow=True)
        assert at.work.asks["1"].batch_frac == 1.0


async def test_what_an_earlier_daemon_suspended_goes_on_too(tmp_path: Path) -> None:
    book = Book(tmp_path / "slurm.json")
    book.write("1", pausing=True, paused=True)
    assert book.save()
    slurm = OneSlurm({"1": replace(BASE, state=State.SUSPENDED)})
    async with desk(tmp_path, slurm) as at:
        await at.until(lambda: ("resume", "1") in slurm.asked, shadow=True)


async def test_what_was_wanted_while_slurm_was_silent_is_done_once_it_speaks(tmp_path: Path) -> None:
    slurm = OneSlurm({"1": replace(BASE, licences={"power": 2000})}, age_s=STALE_S + 1.0)
    async with desk(tmp_path, slurm) as at:
        at.tick(Pause("1"))
        assert not slurm.asked
        slurm.age_s = 0.0
        await at.until(lambda: ("suspend", "1") in slurm.asked)
