"""A job as pyslurm tells it, read like squeue's: pyslurm cannot be run here, these are its words for a live job."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import cast

import pytest

from wattlease_slurm.cli_jobs import job_of
from wattlease_slurm.pyslurm_words import PyJob, row_of
from wattlease_slurm.words import State

TOLD: dict[str, object] = {
    "id": 12, "name": "train", "user_name": "ann", "account": None, "partition": "gpu", "qos": None,
    "state": "RUNNING", "state_reason": "None", "priority": 1, "submit_time": 1795247979, "start_time": 1795247980,
    "run_time": 86405, "time_limit": 120, "num_nodes": 2, "cpus": 16, "allocated_nodes": "n[1-2]",
    "gres_per_node": {"gpu:h100": 4}, "licenses": ["power:5600", "fluent:2"], "resource_sharing": "OK",
    "array_id": None, "array_task_id": None, "array_tasks_waiting": None, "heterogeneous_id": None,
    "heterogeneous_offset": None, "comment": "a | b\n",
}  # fmt: skip


def told(**other: object) -> PyJob:
    return cast(PyJob, SimpleNamespace(**TOLD | other))


def test_a_running_job_of_pyslurms_is_read_as_squeue_prints_it() -> None:
    row = row_of(told())
    assert row is not None
    job = job_of(row, None)
    assert (job.id, job.state, job.nodes, job.gpus, job.gpu_type) == ("12", State.RUNNING, ("n1", "n2"), 8, "h100")
    assert job.licences == {"power": 5600, "fluent": 2}
    assert (job.ran_s, job.time_limit_s, job.start_s) == (86405.0, 7200.0, 1795247980.0)
    assert (job.account, job.comment, job.reason) == ("", "a | b\n", "")


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"array_id": 4, "array_task_id": 7}, "4_7"),
        ({"array_id": 4, "array_tasks_waiting": "5-9", "state": "PENDING"}, "4_[5-9]"),
        ({"heterogeneous_id": 10, "heterogeneous_offset": 1}, "10+1"),
    ],
)
def test_parts_of_jobs_have_the_names_that_scontrol_takes(other: dict[str, object], name: str) -> None:
    row = row_of(told(**other))
    assert row is not None
    assert job_of(row, None).id == name


def test_a_job_that_is_over_is_not_in_the_queue_and_no_limit_is_none() -> None:
    assert row_of(told(state="COMPLETED")) is None
    row = row_of(told(time_limit="UNLIMITED", start_time=None))
    assert row is not None
    assert math.isnan(job_of(row, None).time_limit_s)
    assert math.isnan(job_of(row, None).start_s)
