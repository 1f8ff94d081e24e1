"""Suspending and resuming one job: its work saved first, its licences lowered first, and every step written down.

Order matters. A suspended job's licences cannot be changed, so they are lowered before. The book is on disk before
Slurm is asked, so that whoever comes after knows whose suspension it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from wattlease_slurm.agreement import Agreement
from wattlease_slurm.backend import NOTHING_SEEN, Backend
from wattlease_slurm.book import Book
from wattlease_slurm.words import SlurmJob, Trouble, Why

log = logging.getLogger(__name__)

FINAL = frozenset({Why.UNKNOWN, Why.NOT_PERMITTED, Why.REFUSED})
"""Trouble that another try does not mend."""


@dataclass(frozen=True, slots=True)
class Pausing:
    """Acts on single jobs by the backend and the book."""

    backend: Backend
    book: Book
    licence: str

    async def pause(self, job: SlurmJob, agreement: Agreement, idle_w: int) -> Trouble | None:
        """Let it save itself, then suspend it with `idle_w` licences left; or requeue it, where that is its wish."""
        self.book.write(job.id, pausing=True, restarts=job.restarts)
        if not await self._saved():
            self.book.write(job.id, pausing=False)
            return Trouble(f"pause {job.id}", Why.NOT_BEGUN, "the book is not on disk")
        await self._save_work(job, agreement)
        trouble = await (self._requeue(job) if agreement.requeue and job.requeueable else self._suspend(job, idle_w))
        if trouble is not None and trouble.why in FINAL:
            self.book.write(job.id, pausing=False, paused=False, stubborn=trouble.why != Why.UNKNOWN)
        await self._saved()
        return trouble

    async def _save_work(self, job: SlurmJob, agreement: Agreement) -> None:
        """Signal it and wait for as long as it says that saving takes."""
        checkpoint = agreement.checkpoint
        if checkpoint is None:
            return
        if trouble := await self.backend.signal(job.id, checkpoint.signal, checkpoint.batch_only):
            log.warning("checkpoint not asked for: job=%s %s", job.id, trouble)
            return
        await asyncio.sleep(checkpoint.lead_s)
        self.book.write(job.id, saved_s=time.time())

    async def _suspend(self, job: SlurmJob, idle_w: int) -> Trouble | None:
        had = self._ours(job)
        left = min(idle_w, had)
        if had and (trouble := await self._give(job, left, {self.licence: had})):
            return trouble
        trouble = await self.backend.suspend(job.id)
        if trouble is None:
            self.book.write(job.id, paused=True, licences=left if had else None)
        elif had:
            await self._give(job, had)
            self.book.unsure(job.id)
        return trouble

    async def _give(self, job: SlurmJob, watts: int, seen: Mapping[str, int] = NOTHING_SEEN) -> Trouble | None:
        trouble = await self.backend.set_licences(job.id, {self.licence: watts}, seen)
        if trouble is not None and trouble.why is Why.UNANSWERED:
            self.book.unsure(job.id)
        return trouble

    def _ours(self, job: SlurmJob) -> int:
        """Its licences, as far as they are ours to change."""
        return 0 if self.book.of(job.id).others_licences else job.licences.get(self.licence, 0)

    async def _requeue(self, job: SlurmJob) -> Trouble | None:
        trouble = await self.backend.requeue(job.id)
        if trouble is None:
            self.book.write(job.id, pausing=False)
        return trouble

    async def resume(self, job: SlurmJob, licences_w: int) -> Trouble | None:
        """Let it run on, and give it its licences as soon as Slurm takes them."""
        trouble = await self.backend.resume(job.id)
        if trouble is not None and trouble.why not in FINAL:
            return trouble
        self.book.write(job.id, paused=False)
        if trouble is None and self._ours(job):
            self.book.write(job.id, licences=licences_w)
            trouble = await self._give(job, licences_w)
        await self._saved()
        return trouble

    async def _saved(self) -> bool:
        return await asyncio.to_thread(self.book.save)
