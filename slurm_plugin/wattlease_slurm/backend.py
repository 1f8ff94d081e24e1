"""All that Wattlease asks of Slurm: five things to read, and what may be done to jobs and reservations.

Expected trouble comes back as a value; nothing here raises for what Slurm says or fails to say, and every call is over
within a bound. A job is named by `SlurmJob.id`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from wattlease_slurm.words import Config, Queue, Reservation, SlurmNode, Trouble

COMMENT_MAX = 512
"""Characters of an admin comment; Slurm takes more, people read less."""

NOTHING_SEEN: Mapping[str, int] = MappingProxyType({})
"""For whom it does not matter what a job has."""


class Backend(Protocol):
    """Slurm, by whatever way it is reached."""

    async def queue(self) -> Queue | Trouble:
        """Every job that waits, runs or ends; cheap enough for every slow tick."""

    async def nodes(self) -> tuple[SlurmNode, ...] | Trouble:
        """All nodes."""

    async def config(self) -> Config | Trouble:
        """Licences, names and the version; for the start and after a reconfigure."""

    async def reservations(self) -> tuple[Reservation, ...] | Trouble:
        """All reservations, future ones too."""

    async def hold_watts(
        self, name: str, licence: str, watts: int, start_s: float | None = None, duration_s: float | None = None
    ) -> Trouble | None:
        """Keep `watts` of a licence from new jobs: a licence-only reservation, made or changed to this.

        From now on where there is no start, without end where there is no duration. At least 1 W stays held, because
        newer versions read 0 as none. Slurm refuses more than the licence has, over all reservations that overlap.
        """

    async def drop_reservation(self, name: str) -> Trouble | None:
        """Delete it; that there is none is no trouble."""

    async def set_licences(
        self, job: str, licences: Mapping[str, int], seen: Mapping[str, int] = NOTHING_SEEN
    ) -> Trouble | None:
        """Change how many of these a waiting or running job has; its others stay, 0 takes one away.

        A job that has other counts than were `seen`, and not yet the wanted ones, is left as it is: `Why.CHANGED`.
        Of a suspended job Slurm refuses this: lower first, then suspend.
        """

    async def set_site_factor(self, job: str, factor: int) -> Trouble | None:
        """Move a waiting job's priority by this much, within 2^31."""

    async def set_admin_comment(self, job: str, text: str) -> Trouble | None:
        """Say something of a job in `AdminComment`: one line, cut at `COMMENT_MAX`."""

    async def suspend(self, job: str) -> Trouble | None:
        """Stop a running job's processes where they are; its licences and GPUs stay its own, its CPUs do not."""

    async def resume(self, job: str) -> Trouble | None:
        """Let a suspended job go on."""

    async def signal(self, job: str, name: str, batch_only: bool = True) -> Trouble | None:
        """Send a signal, `USR1`, to the batch script alone or to all its steps."""

    async def requeue(self, job: str) -> Trouble | None:
        """End a batch job and put it back into the queue; it starts from the top."""

    async def hold(self, job: str) -> Trouble | None:
        """Keep a waiting job from starting, as an admin does."""

    async def release(self, job: str) -> Trouble | None:
        """Let a held job start."""

    async def shrink(self, job: str, nodes: int) -> Trouble | None:
        """Take nodes from a running job so that this many are left; the job must know how to live with it."""

    async def set_node_extra(self, node: str, text: str) -> Trouble | None:
        """Write a node's `Extra`, by which `extra_constraints` filters; from 23.02 on."""
