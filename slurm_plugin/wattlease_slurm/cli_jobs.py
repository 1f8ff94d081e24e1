"""A row of squeue and what scontrol adds to it, as one `SlurmJob`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wattlease_slurm.cli_details import Details
from wattlease_slurm.cli_parse import (
    Gpus,
    array_tasks_of,
    count_of,
    duration_s_of,
    gpus_of,
    licences_of,
    moment_of,
    text_of,
)
from wattlease_slurm.cli_queue import Row
from wattlease_slurm.hostlist import nodes_of
from wattlease_slurm.words import Held, SlurmJob, State

STATES = {
    "PENDING": State.PENDING, "REQUEUE_HOLD": State.PENDING, "SPECIAL_EXIT": State.PENDING,
    "CONFIGURING": State.CONFIGURING, "POWER_UP_NODE": State.CONFIGURING,
    "RUNNING": State.RUNNING, "RESIZING": State.RUNNING, "SIGNALING": State.RUNNING,
    # stopped by `scancel -s STOP`: it holds its CPUs and its owner may let it go on at any moment
    "STOPPED": State.RUNNING,
    "SUSPENDED": State.SUSPENDED, "COMPLETING": State.COMPLETING, "STAGE_OUT": State.COMPLETING,
    "REQUEUED": State.REQUEUED, "REQUEUE_FED": State.REQUEUED,
}  # fmt: skip


class Jobs:
    """The queue as jobs. Of thousands few change between two looks: the others are taken as they were read."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Row, Details | None, SlurmJob]] = {}

    def of(self, rows: Iterable[Row], details: Mapping[int, Details]) -> tuple[SlurmJob, ...]:
        """The jobs of these rows; ValueError for an odd row."""
        read: dict[int, tuple[Row, Details | None, SlurmJob]] = {}
        for row in rows:
            number = int(row.number)
            known, more = self._known.get(number), details.get(number)
            same = known is not None and known[1] is more and known[0] == row
            read[number] = known if known is not None and same else (row, more, _read(row, more))
        self._known = read
        return tuple(job for _, _, job in read.values())


def _read(row: Row, details: Details | None) -> SlurmJob:
    try:
        return job_of(row, details)
    except ValueError as error:
        raise ValueError(f"job {row.id}: {error}") from error


def job_of(row: Row, details: Details | None) -> SlurmJob:
    """The job; without details its GPUs are those that squeue prints for each node. ValueError for an odd row."""
    more = details or Details()
    state = STATES.get(row.state, State.OTHER)
    gpus = _gpus(row, details)
    rest = "_[" in row.id
    tasks = array_tasks_of(row.tasks) if rest else ()
    return SlurmJob(
        id=row.id.partition("%")[0] + "]" if rest and "%" in row.id else row.id,
        number=int(row.number),
        name=text_of(row.name),
        user=row.user,
        account=text_of(row.account),
        partition=row.partition,
        qos=text_of(row.qos),
        state=state,
        submit_s=moment_of(row.submit),
        reason=text_of(row.reason),
        priority=int(row.priority),
        start_s=moment_of(row.start),
        since_s=_since_s(state, row, more),
        ran_s=max(duration_s_of(row.ran), 0.0),
        time_limit_s=duration_s_of(row.limit),
        nodes=nodes_of(text_of(row.nodes)),
        node_count=count_of(row.node_count),
        cpus=count_of(row.cpus),
        gpus=gpus.count,
        gpu_type=gpus.type,
        gpu_indices=more.by_node,
        licences=licences_of(row.licences),
        comment=text_of(row.comment),
        admin_comment=more.admin_comment,
        restarts=more.restarts,
        exclusive=more.exclusive,
        batch=more.batch,
        requeueable=more.requeueable,
        held=_held(state, row),
        array_job_id=row.array if "_" in row.id else "",
        het_job_id=row.id.partition("+")[0] if "+" in row.id else "",
        tasks=len(tasks) if rest else 1,
        task_ids=tasks,
    )


def _held(state: State, row: Row) -> Held:
    if state is not State.PENDING or row.priority != "0":
        return Held.NOBODY
    return Held.USER if row.reason == "JobHeldUser" else Held.ADMIN


def _since_s(state: State, row: Row, more: Details) -> float:
    if state is State.PENDING:
        return more.eligible_s
    return moment_of(row.start) if more.changed_s != more.changed_s else more.changed_s


def _gpus(row: Row, details: Details | None) -> Gpus:
    """Those that the job holds, or asks for: in all, for each node, for each task."""
    if details is None:
        return _times(gpus_of(text_of(row.gres)), count_of(row.node_count))
    if details.held.count:
        return details.held
    if row.nodes and row.state != "PENDING":
        return Gpus()
    nodes = count_of(row.node_count)
    per = {"Job": 1, "Node": nodes, "Task": details.task_count, "Socket": nodes}
    asked = (_times(gpus, per[what]) for what, gpus in details.asked.items())
    return max(asked, key=lambda gpus: gpus.count, default=Gpus())


def _times(gpus: Gpus, count: int) -> Gpus:
    return Gpus(gpus.count * count, gpus.type)
