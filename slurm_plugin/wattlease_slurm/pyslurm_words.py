"""The part of pyslurm 25.11 that we call, as types, and its jobs in squeue's words.

Written from what a live 25.11.7 answered; it cannot be run where no such Slurm is.
"""

# ruff: noqa: D102 (what its methods do is pyslurm's to say)

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from wattlease_slurm.cli_jobs import STATES
from wattlease_slurm.cli_queue import Row


class PyJob(Protocol):
    """A job of pyslurm's, as loaded or named by its number; times in unix seconds, the limit in minutes."""

    id: int
    name: str | None
    user_name: str | None
    account: str | None
    partition: str | None
    qos: str | None
    state: str
    state_reason: str | None
    priority: int | None
    submit_time: int | None
    start_time: int | None
    run_time: int
    time_limit: int | str | None
    num_nodes: int | None
    cpus: int
    allocated_nodes: str | None
    gres_per_node: dict[str, Any]
    licenses: list[str]
    resource_sharing: str | None
    array_id: int | None
    array_task_id: int | None
    array_tasks_waiting: str | None
    heterogeneous_id: int | None
    heterogeneous_offset: int | None
    comment: str | None

    def modify(self, changes: object) -> None: ...
    def suspend(self) -> None: ...
    def unsuspend(self) -> None: ...
    def requeue(self, hold: bool = False) -> None: ...


class PyReservation(Protocol):
    """A reservation, or the changes to one."""

    def create(self) -> object: ...
    def modify(self, changes: PyReservation) -> None: ...


class PyJobs(Protocol):
    """All jobs, those that ended in the last minutes too."""

    def load(self) -> PyJobMap: ...


class PyJobMap(Protocol):
    """What `Jobs.load()` gives."""

    def values(self) -> Iterable[PyJob]: ...


class PyJobClass(Protocol):
    """The class `Job`."""

    def __call__(self, job_id: int) -> PyJob: ...
    def load(self, job_id: int) -> PyJob: ...


class PyReservationClass(Protocol):
    """The class `Reservation`."""

    def __call__(self, name: str | None = None, **what: object) -> PyReservation: ...


class Pyslurm(Protocol):
    """The module."""

    __version__: str
    Jobs: PyJobs
    Job: PyJobClass
    Reservation: PyReservationClass
    RPCError: type[Exception]

    def JobSubmitDescription(self, **what: object) -> object: ...  # noqa: N802 (pyslurm's name)


def row_of(job: PyJob) -> Row | None:
    """The job as squeue prints it, or `None` where squeue would not: it is over."""
    if job.state not in STATES:
        return None
    return Row(
        number=str(job.id),
        id=_id(job),
        user=job.user_name or "",
        account=job.account or "",
        partition=job.partition or "",
        qos=job.qos or "",
        state=job.state,
        reason=job.state_reason or "",
        priority=str(job.priority or 0),
        submit=_moment(job.submit_time),
        start=_moment(job.start_time),
        ran=_duration(job.run_time),
        limit=_duration(job.time_limit * 60) if isinstance(job.time_limit, int) else "UNLIMITED",
        node_count=str(job.num_nodes or 0),
        cpus=str(job.cpus),
        nodes=job.allocated_nodes or "",
        gres=",".join(f"{name}:{count}" for name, count in job.gres_per_node.items() if isinstance(count, int)),
        licences=",".join(job.licenses),
        shared=job.resource_sharing or "",
        array="" if job.array_id is None else str(job.array_id),
        tasks=job.array_tasks_waiting or "",
        name=job.name or "",
        comment=job.comment or "",
    )


def _id(job: PyJob) -> str:
    if job.heterogeneous_id:
        return f"{job.heterogeneous_id}+{job.heterogeneous_offset or 0}"
    if job.array_tasks_waiting:
        return f"{job.array_id}_[{job.array_tasks_waiting}]"
    return str(job.id) if not job.array_id else f"{job.array_id}_{job.array_task_id}"


def _moment(unix_s: int | None) -> str:
    return str(unix_s) if unix_s else "N/A"


def _duration(span_s: int) -> str:
    minutes, seconds = divmod(int(span_s), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}"
