"""Slurm's jobs: the folder that a prolog writes, and process trees as Slurm makes them, with real files."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wattlease.agent.cards import Trouble
from wattlease.agent.jobs import Holding, mapping, slurm


def process(proc: Path, pid: int, group: str, **environ: str) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "cgroup").write_text(group)
    (folder / "environ").write_text("".join(f"{name}={value}\0" for name, value in environ.items()))


@pytest.mark.parametrize(
    ("group", "job"),
    [
        ("0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0\n", "4711"),
        ("0::/system.slice/n1_slurmstepd.scope/job_12/step_batch/user/task_special\n", "12"),
        ("0::/../../system.slice/slurmstepd.scope/job_8/step_extern\n", "8"),
        ("9:cpuset:/\n8:devices:/slurm/uid_1000/job_99/step_0\n0::/system.slice/slurmd.service\n", "99"),
        ("8:devices:/slurm_n1/uid_1000/job_98/step_0/task_0\n", "98"),
        ("0::/system.slice/slurmstepd.scope/job_7\n", "7"),
        ("0::/user.slice/user-1000.slice/job_4711/step_0\n", None),
        ("0::/system.slice/slurmstepd.scope/job_47x/step_0\n", None),
        ("", None),
    ],
)
def test_the_control_group_names_the_job(tmp_path: Path, group: str, job: str | None) -> None:
    process(tmp_path, 5, group)
    assert slurm.job_of(5, tmp_path) == job


def test_an_environment_counts_only_where_no_control_group_names_a_job(tmp_path: Path) -> None:
    process(tmp_path, 1, "0::/system.slice/slurmstepd.scope/job_7/step_0\n", SLURM_JOB_ID="8")
    process(tmp_path, 2, "0::/user.slice\n", SLURM_JOB_ID="8", SLURM_ARRAY_JOB_ID="6")
    process(tmp_path, 3, "0::/user.slice\n", SLURM_JOB_ID="8; rm", SLURM_JOBID="9")
    process(tmp_path, 4, "0::/user.slice\n", PATH="SLURM_JOB_ID=8")
    assert [slurm.job_of(pid, tmp_path) for pid in (1, 2, 3, 4, 5)] == ["7", "8", "9", None, None]


def test_processes_on_a_card_tell_its_jobs_and_their_users(tmp_path: Path) -> None:
    for pid, job in ((1, 7), (2, 7), (3, 8)):
        process(tmp_path, pid, f"0::/system.slice/slurmstepd.scope/job_{job}/step_0\n")
    process(tmp_path, 4, "0::/user.slice\n")
    found = slurm.running({"GPU-a": [1, 2, 3], "GPU-b": [3, 4, 404]}, tmp_path)
    me = os.getuid()
    assert set(found) == {
        Holding("7", "GPU-a", owner=me),
        Holding("8", "GPU-a", owner=me),
        Holding("8", "GPU-b", owner=me),
    }


def test_gpus_are_known_before_a_job_computes_and_only_from_its_own_processes(tmp_path: Path) -> None:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    steps = {
        "system.slice/slurmstepd.scope/job_7/step_batch/user/task_special": "11\n",
        "system.slice/slurmstepd.scope/job_7/step_0/user/task_0": "12\n13\n",
        "devices/slurm/uid_1000/job_8/step_0": "14\n",
    }
    for folder, pids in steps.items():
        (cgroup / folder).mkdir(parents=True)
        (cgroup / folder / "cgroup.procs").write_text(pids)
    process(proc, 11, "", SLURM_JOB_ID="7", SLURM_JOB_GPUS="0,2-3")
    process(proc, 12, "", SLURM_JOB_ID="7", SLURM_STEP_GPUS="2")
    process(proc, 13, "", SLURM_JOB_ID="666", SLURM_JOB_GPUS="5")
    process(proc, 14, "", SLURM_JOB_ID="8", SLURM_STEP_GPUS="1")
    found = slurm.allocated(cgroup, proc)
    assert isinstance(found, tuple)
    assert {(held.job, held.device) for held in found} == {("7", "0"), ("7", "2"), ("7", "3"), ("8", "1")}


def test_a_jobs_user_is_that_of_its_first_process_that_is_not_roots(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a file to another user")
    proc, folder = tmp_path / "proc", tmp_path / "cgroup/system.slice/slurmstepd.scope/job_7/step_0"
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").write_text("1\n2\n")
    process(proc, 1, "")
    process(proc, 2, "")
    os.chown(proc / "2", 1234, -1)
    assert slurm.owners(tmp_path / "cgroup", proc) == {"7": 1234}


@pytest.mark.parametrize(
    ("text", "told"), [("0", ("0",)), ("0,2-3", ("0", "2", "3")), ("", ()), ("GPU-a", ()), ("0-99999", ()), ("1,", ())]
)
def test_slurms_lists_of_gpus_are_read_or_left(text: str, told: tuple[str, ...]) -> None:
    assert slurm.indexes(text) == told


def test_missing_control_groups_are_told(tmp_path: Path) -> None:
    found = slurm.allocated(tmp_path / "none", tmp_path)
    assert isinstance(found, Trouble)
    assert "not there" in found.text


def test_the_real_proc_tells_that_this_test_is_no_job_of_slurms() -> None:
    assert slurm.job_of(os.getpid()) == os.environ.get("SLURM_JOB_ID")


def test_what_a_prolog_enters_is_read_and_an_epilog_takes_it_back(tmp_path: Path) -> None:
    folder = tmp_path / "gpus"
    assert mapping.enter(folder, "7", ["0", "1"]) is None
    assert mapping.enter(folder, "8", ["1", "MIG-a-b"]) is None
    assert mapping.enter(folder, "8", ["1"]) is None
    assert (folder / "1").read_text() == "7\n8\n"  # as dcgm-exporter reads it
    assert mapping.mapped(folder) == (Holding("7", "0"), Holding("7", "1"), Holding("8", "1"), Holding("8", "MIG-a-b"))
    assert mapping.leave(folder, "7") is None
    assert mapping.mapped(folder) == (Holding("8", "1"), Holding("8", "MIG-a-b"))
    assert not (folder / "0").exists()


def test_prologs_and_epilogs_at_once_lose_nobody(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: mapping.enter(tmp_path, str(job), ["0"]), range(1, 41)))
        list(pool.map(lambda job: mapping.leave(tmp_path, str(job)), range(1, 31)))
    found = mapping.mapped(tmp_path)
    assert isinstance(found, tuple)
    assert {held.job for held in found} == {str(job) for job in range(31, 41)}


def test_a_sites_own_prolog_may_write_steps_blanks_and_notes(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("4711.batch\n4711.0\n\n  12  \n13_4\nnone\n../../etc\n")
    (tmp_path / "README").write_text("9\n")
    (tmp_path / "1").mkdir()
    assert mapping.mapped(tmp_path) == (Holding("4711", "0"), Holding("12", "0"), Holding("13_4", "0"))


@pytest.mark.parametrize(("job", "device"), [("../7", "0"), ("7", "../0"), ("", "0"), ("7", ".lock"), ("7\n8", "0")])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, job: str, device: str) -> None:
    assert isinstance(mapping.enter(tmp_path / "gpus", job, [device]), Trouble)
    assert not (tmp_path / "gpus").exists()


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    found = mapping.mapped(tmp_path / "none")
    assert isinstance(found, Trouble)
    assert "prolog" in found.text
