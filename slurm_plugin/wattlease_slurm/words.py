"""What Slurm says, in no version's words: jobs, nodes, reservations, settings, and trouble as a value.

Times are unix seconds by slurmctld's clock, NaN where Slurm names none; texts are as users wrote them and not to be
trusted in a line of log or a page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """Where a job is in its life, as far as power goes."""

    PENDING = "PENDING"
    CONFIGURING = "CONFIGURING"
    """It has its nodes, which boot or run their prolog."""
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETING = "COMPLETING"
    """Its work is over or was cancelled; processes may be left on its nodes."""
    REQUEUED = "REQUEUED"
    """On its way from its nodes back to the queue."""
    OTHER = "OTHER"
    """Over, or a state that Slurm passes through; it is at most about to leave the queue."""


class Held(StrEnum):
    """Who holds a waiting job; only he, or an operator, lets it go."""

    NOBODY = "Nobody"
    USER = "User"
    ADMIN = "Admin"


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """A job of the queue, one task of an array, one part of a heterogeneous job, or the waiting rest of an array."""

    id: str
    """By which every act names it: `123`, task `123_4`, part `123+1`, the waiting rest of an array `123_[5-9]`."""

    number: int
    """Slurm's own number, one for each task and part: what control groups and SLURM_JOB_ID on a node say."""

    name: str
    user: str
    account: str
    partition: str
    """Several with commas between, while it waits."""

    qos: str
    state: State
    submit_s: float
    reason: str = ""
    """Slurm's word for why it waits, `Licenses`; empty where there is none."""

    priority: int = 0
    start_s: float = math.nan
    """When it started; of a waiting job when backfill expects it to."""

    since_s: float = math.nan
    """When it came into its state; waiting jobs: when they could first have run."""

    ran_s: float = 0.0
    """Seconds it ran, suspension not counted."""

    time_limit_s: float = math.nan
    """NaN: unlimited."""

    nodes: tuple[str, ...] = ()
    """Names of the nodes it holds."""

    node_count: int = 0
    """Held, or asked for."""

    cpus: int = 0
    gpus: int = 0
    """In all, held or asked for; 0 also where details are not known yet."""

    gpu_type: str = ""
    """`h100`, a MIG profile such as `1g.10gb`, or empty where it takes any."""

    gpu_indices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The GPUs it holds, by node."""

    licences: Mapping[str, int] = field(default_factory=dict)
    """By name; held, or asked for. Empty where it asks for one of several (`a|b`)."""

    comment: str = ""
    """The user's."""

    admin_comment: str = ""
    restarts: int = 0
    exclusive: bool = False
    """It holds its nodes whole."""

    batch: bool = True
    """Has a script, so that Slurm could run it again; `salloc` and `srun` have none."""

    requeueable: bool = False
    """Its owner and the site allow that it is requeued."""

    held: Held = Held.NOBODY
    array_job_id: str = ""
    """Of a task or an array's rest; otherwise empty."""

    het_job_id: str = ""
    """Of a part of a heterogeneous job, the leader too; suspend and resume name the leader."""

    tasks: int = 1
    """Jobs that the waiting rest of an array stands for; gpus, cpus and licences are each one's, or one of them's."""

    task_ids: tuple[int, ...] = ()
    """Which tasks of the array these are. A task that was requeued waits among them, under no id of its own."""

    def stands_for(self, job: str) -> bool:
        """Whether this is the job of that id, or the rest of an array that the task of that id waits in."""
        array, _, task = job.partition("_")
        return job == self.id or (task.isdecimal() and array == self.array_job_id and int(task) in self.task_ids)


@dataclass(frozen=True, slots=True)
class Queue:
    """Every job that waits, runs or ends, as read at one moment."""

    jobs: tuple[SlurmJob, ...]
    read_s: float


@dataclass(frozen=True, slots=True)
class SlurmNode:
    """A node, and what Slurm means to do with it."""

    name: str
    state: str
    """The base state: IDLE, MIXED, ALLOCATED, DOWN, ..."""

    flags: frozenset[str]
    """What is added to the state: DRAIN, POWERED_DOWN, POWERING_UP, CLOUD, ..."""

    gpus: int
    gpu_type: str
    partitions: tuple[str, ...]
    extra: str = ""
    reason: str = ""

    @property
    def down(self) -> bool:
        """It is taken for dead; what it draws is not known."""
        return self.state == "DOWN" or "NOT_RESPONDING" in self.flags

    @property
    def drained(self) -> bool:
        """It takes no new work."""
        return "DRAIN" in self.flags

    @property
    def powered_down(self) -> bool:
        """Slurm's power saving has switched it off, or is about to."""
        return bool(self.flags & {"POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN"})


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation that takes licences, nodes, or both."""

    name: str
    start_s: float
    end_s: float
    licences: Mapping[str, int]
    flags: frozenset[str]
    active: bool


@dataclass(frozen=True, slots=True)
class Config:
    """What slurmctld runs with."""

    version: str
    cluster: str
    slurm_user: str
    licences: Mapping[str, int]
    """Those of slurm.conf: all there are of each."""

    controllers: tuple[str, ...]
    """Hosts of slurmctld, the primary first."""

    said: Mapping[str, str]
    """Every line of `scontrol show config`, by its name there."""


class Why(StrEnum):
    """Why something was not done, as far as it decides what to do next."""

    UNANSWERED = "Unanswered"
    """Slurm did not answer in time: an act may have been done or not."""

    NOT_BEGUN = "NotBegun"
    """Too much was under way; nothing was asked, the next tick may."""

    UNKNOWN = "Unknown"
    """There is no such job or reservation any more."""

    NOT_PERMITTED = "NotPermitted"
    """The user that we run as may not."""

    REFUSED = "Refused"
    """Slurm said no, in `text`."""

    CHANGED = "Changed"
    """It is not as it was seen: someone else changed it meanwhile, and his word stands."""

    UNREADABLE = "Unreadable"
    """Slurm's answer was not understood."""

    MISSING = "Missing"
    """The command is not there, or does not start."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Slurm was asked, and what was asked for was not had. `text` is Slurm's own sentence where it said one."""

    what: str
    why: Why
    text: str

    def __str__(self) -> str:
        return f"{self.what}: {self.text}"
