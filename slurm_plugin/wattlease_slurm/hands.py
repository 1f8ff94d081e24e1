"""Carries out what the plan wants of Slurm, one newest set of orders at a time.

Slurm may take seconds for an answer, or give none; the loop that decides never waits for it. Orders that nobody
renewed are not begun: whoever lost the leadership, or hangs, does nothing more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeAlias

from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.said import Said
from wattlease.runtime.waiting import set_within
from wattlease_slurm.agreement import Agreement
from wattlease_slurm.ahead import Coming, differs
from wattlease_slurm.backend import NOTHING_SEEN, Backend
from wattlease_slurm.book import Book
from wattlease_slurm.pausing import FINAL, Pausing
from wattlease_slurm.room import Room
from wattlease_slurm.words import SlurmJob, Trouble, Why

log = logging.getLogger(__name__)

LAST_S = 15.0
"""Orders are begun for this long after they were given."""

TOLD_S = 120.0
"""A job's comment is read anew at least this often."""

RETRY_S = 5.0
"""Between two tries at one job."""

LEAST_MOVE_W = 100
"""The reservation is left as it is where it is off by no more."""

SOON_S = 5.0
"""No reservation is made that would begin sooner: Slurm refuses one in the past."""

RENEW_S = 60.0
"""The reservation is written again after this long, whatever it is thought to hold: someone may have changed it."""

IDLE_S = 1.0
"""Between two looks at the orders where nothing is new."""

COMMENTS = 5
"""Comments written in one round: people read slowly, and each takes slurmctld's lock."""


@dataclass(frozen=True, slots=True)
class Todo:
    """What one job is to become."""

    job: SlurmJob
    agreement: Agreement
    licences_w: int
    """While paused, or once resumed."""

    nodes: int = 0
    """To be left of a running job that can do with fewer."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What is wanted of Slurm now."""

    pause: Mapping[str, Todo] = field(default_factory=dict)
    resume: Mapping[str, Todo] = field(default_factory=dict)
    shrink: Mapping[str, Todo] = field(default_factory=dict)
    room: Room | None = None
    coming: Mapping[str, Coming] = field(default_factory=dict)
    comments: Mapping[str, str] = field(default_factory=dict)
    frees: bool = False
    """No reservation of ours is to stand, neither now nor for later."""


_Act: TypeAlias = Callable[[Todo], Awaitable[Trouble | None]]


class Hands:
    """Works on the newest orders; a job has at most one thing under way."""

    def __init__(self, backend: Backend, book: Book, licence: str, reservation: str, now: Now = steady_s) -> None:
        self._backend, self._book, self._now = backend, book, now
        self._licence, self._reservation = licence, reservation
        self._pausing = Pausing(backend, book, licence)
        self._orders, self._given_s = Orders(), float("-inf")
        self._tried_s: dict[str, float] = {}
        self._told: dict[str, tuple[str, float]] = {}
        self._news = asyncio.Event()
        self._said = Said(log)
        self.under_way: set[str] = set()
        self._held_w, self._held_s = 0, float("-inf")
        self._coming: dict[str, Coming] | None = None
        self._freed_s = float("-inf")

    def order(self, orders: Orders) -> None:
        """Want this from now on, in place of what was wanted before."""
        self._orders, self._given_s = orders, self._now()
        self._news.set()

    @property
    def lately_told(self) -> dict[str, str]:
        """Comments that were written so lately that the queue may not show them yet."""
        self._told = {job: told for job, told in self._told.items() if self._now() - told[1] < TOLD_S}
        return {job: text for job, (text, _) in self._told.items()}

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._news.clear()
                if self._now() - self._given_s <= LAST_S:
                    self._begin(tasks)
                    await (self._free() if self._orders.frees else self._make_room())
                    await self._comment()
                await set_within(self._news, IDLE_S)

    def _begin(self, tasks: asyncio.TaskGroup) -> None:
        """Start what is not under way and was not tried just now."""
        orders, pausing = self._orders, self._pausing
        self._tried_s = {job: at_s for job, at_s in self._tried_s.items() if self._now() - at_s < RETRY_S}
        for todo in orders.resume.values():
            self._start(tasks, todo, "resume", lambda t: pausing.resume(t.job, t.licences_w))
        for todo in orders.pause.values():
            self._start(tasks, todo, "pause", lambda t: pausing.pause(t.job, t.agreement, t.licences_w))
        for todo in orders.shrink.values():
            self._start(tasks, todo, "shrink", lambda t: self._backend.shrink(t.job.id, t.nodes))

    def _start(self, tasks: asyncio.TaskGroup, todo: Todo, what: str, act: _Act) -> None:
        name = todo.job.id
        if name in self.under_way or name in self._tried_s:
            return
        self.under_way.add(name)
        tasks.create_task(self._try(todo, what, act))

    async def _try(self, todo: Todo, what: str, act: _Act) -> None:
        name = todo.job.id
        try:
            trouble = await act(todo)
        finally:
            self._tried_s[name] = self._now()
            self.under_way.discard(name)
        if trouble is None:
            log.info("%s: job=%s", what, name)
        else:
            level = logging.WARNING if trouble.why in FINAL else logging.INFO
            log.log(level, "%s not done: job=%s %s", what, name, trouble)

    async def _make_room(self) -> None:
        """Licences and reservations. A reservation first takes what licences and others will give back, and gives last.

        Overlapping ones must not sum above all licences, so others make way before the live one grows.
        """
        room, wanted = self._orders.room, self._orders.coming
        if room is None:
            return
        self._orders = replace(self._orders, room=None)  # reckoned from licences that it changes: not to be done twice
        if self._now() - self._held_s >= RENEW_S:
            self._coming = None
        there = await self._there()
        if there is not None and await self._move(there, room):
            await self._reserve(there, wanted)

    async def _free(self) -> None:
        """Drop every reservation of ours, those of an earlier life too."""
        if self._now() - self._freed_s < RENEW_S:
            return
        found = await self._backend.reservations()
        if isinstance(found, Trouble):
            self._said.once(logging.WARNING, "reservations not read", str(found))
            return
        ours = [r.name for r in found if r.name == self._reservation or r.name.startswith(f"{self._reservation}-")]
        troubles = [trouble for name in ours if (trouble := await self._backend.drop_reservation(name))]
        for trouble in troubles:
            self._said.once(logging.WARNING, "reservation not dropped", str(trouble))
        if not troubles:
            self._freed_s, self._held_w, self._held_s, self._coming = self._now(), 0, float("-inf"), None

    async def _move(self, there: dict[str, Coming], room: Room) -> bool:
        """Change licences and the live reservation; say whether that is as it should be."""
        sure = self._now() - self._held_s < RENEW_S
        if sure and not room.licences and abs(room.hold_w - self._held_w) <= LEAST_MOVE_W:
            return True
        await self._make_way(there, room.beside_w)
        if (not sure or room.hold_w > self._held_w) and not await self._hold(room.hold_w):
            return False
        given = [await self._license(job, watts) for job, watts in room.licences.items()]
        if all(given) and room.hold_w < self._held_w:
            await self._hold(room.hold_w)
        return True

    async def _make_way(self, there: dict[str, Coming], beside_w: int) -> None:
        """Shrink the reservations to come that would not fit beside the live one."""
        for one in list(there.values()):
            if one.hold_w > max(beside_w, 1):
                await self._write(there, replace(one, hold_w=max(beside_w, 1)))

    async def _reserve(self, there: dict[str, Coming], wanted: Mapping[str, Coming]) -> None:
        """Bring the reservations to come to what is wanted."""
        for name in [name for name in there if name not in wanted]:
            if await self._backend.drop_reservation(name) is None:
                del there[name]
        for name, one in wanted.items():
            begins_soon = name not in there and one.start_s < time.time() + SOON_S
            if differs(one, there.get(name)) and not begins_soon:
                await self._write(there, one)

    async def _write(self, there: dict[str, Coming], one: Coming) -> None:
        trouble = await self._backend.hold_watts(one.name, self._licence, one.hold_w, one.start_s, one.duration_s)
        if trouble is None:
            there[one.name] = one
            return
        self._said.once(logging.WARNING, f"reservation to come not set: {one.name}", str(trouble))
        old = there.get(one.name)
        await self._mend(trouble, one.name, *((old.hold_w, old.start_s, old.duration_s) if old else (0,)))

    async def _there(self) -> dict[str, Coming] | None:
        """Our reservations to come; those of an earlier life are found by name, once."""
        if self._coming is None:
            found = await self._backend.reservations()
            if isinstance(found, Trouble):
                self._said.once(logging.WARNING, "reservations not read", str(found))
                return None
            self._coming = {
                r.name: Coming(r.name, r.start_s, r.end_s - r.start_s, r.licences.get(self._licence, 0))
                for r in found
                if r.name.startswith(f"{self._reservation}-")
            }
        return self._coming

    async def _hold(self, watts: int) -> bool:
        trouble = await self._backend.hold_watts(self._reservation, self._licence, watts)
        if trouble is not None:
            self._said.once(logging.ERROR, "reservation not set", str(trouble))
            await self._mend(trouble, self._reservation, self._held_w)
            self._held_s = float("-inf")
            return False
        self._held_w, self._held_s, self._freed_s = watts, self._now(), float("-inf")
        self._said.forget("reservation not set")
        return True

    async def _mend(self, trouble: Trouble, name: str, *held: float) -> None:
        """Say again what a reservation held: an update that Slurm refuses frees all its licences, until the next that
        it takes, though `scontrol show reservation` goes on showing them (22.05 to 26.05)."""
        if trouble.why == Why.REFUSED and held[0] > 0:
            await self._backend.hold_watts(name, self._licence, int(held[0]), *held[1:])

    async def _license(self, job: str, watts: int) -> bool:
        if job in self.under_way:
            return True
        self.under_way.add(job)  # a look at the queue between the two takes nobody's word for another's
        try:
            had = self._book.licences(job)
            seen = NOTHING_SEEN if had is None else {self._licence: had}
            trouble = await self._backend.set_licences(job, {self._licence: watts}, seen)
            if trouble is None:
                self._book.write(job, licences=watts)
            elif trouble.why in (*FINAL, Why.CHANGED):  # `a|b`, whose count Slurm lets nobody change, or a person's
                self._book.write(job, others_licences=True)
            elif trouble.why is Why.UNANSWERED:
                self._book.unsure(job)
        finally:
            self.under_way.discard(job)
        return trouble is None or trouble.why in FINAL

    async def _comment(self) -> None:
        for job, text in islice(self._orders.comments.items(), COMMENTS):
            if await self._backend.set_admin_comment(job, text) is None:
                self._told[job] = text, self._now()
        self._orders = replace(self._orders, comments={})
        await asyncio.to_thread(self._book.save)
