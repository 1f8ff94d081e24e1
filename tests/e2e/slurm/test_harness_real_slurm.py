"""The cluster that the other tests stand on is a real one, and its hardware does what hardware does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ports import free_port
from slurm_agents import Agents
from slurm_cluster import Cluster
from slurm_hardware import WAVER_FRAC, Hardware, jobs_folder
from slurm_installation import Installation
from slurm_room import CommandFailed
from slurm_work import Work

from wattlease.agent.jobs import mapping

UP = Path(sys.modules[Cluster.__module__].__file__ or "").with_name("up.py")
HOLD = ("ReservationName=hold", "StartTime=now", "Duration=UNLIMITED", "Users=root", "Flags=LICENSE_ONLY")
IDLE_W, LEAST_W = 75.0, 200.0


@pytest.fixture
def calm(cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster, without jobs and reservations before and after."""
    _calmed(cluster)
    yield cluster
    _calmed(cluster)


def _calmed(cluster: Cluster) -> None:
    for user in ("root", "alice", "bob"):
        cluster.run("scancel", f"--user={user}")
    for name in re.findall(r"ReservationName=(\S+)", cluster.run("scontrol", "-o", "show", "reservation")):
        cluster.run("scontrol", "delete", f"ReservationName={name}")
    cluster.until(lambda: not cluster.run("squeue", "-h"), "all jobs are gone")


def test_a_cluster_of_this_version_is_up_within_seconds(calm: Cluster, installation: Installation) -> None:
    print(f"Slurm {installation.version} was up after {calm.brought_up_s:.2f} s")
    assert installation.version in calm.run("scontrol", "--version")
    assert calm.run("sinfo", "-h", "-N", "-o", "%N %G %c %T").splitlines() == [
        f"{node} gpu:h100:8 64 idle" for node in calm.nodes
    ]
    assert calm.brought_up_s < 15


def test_a_job_waits_for_licences_until_a_running_one_gives_some_back(calm: Cluster) -> None:
    first, second = (calm.submit("sleep 300", "--gres=gpu:2", "-L", "power:4000", user="alice") for _ in range(2))
    third = calm.submit("sleep 300", "--gres=gpu:2", "-L", "power:4000", user="bob")
    calm.reaches(first, "RUNNING")
    calm.reaches(second, "RUNNING")
    calm.until(lambda: calm.job(third)["Reason"] == "Licenses", "the third waits for licences")
    calm.run("scontrol", "update", f"JobId={first}", "Licenses=power:1000")
    calm.reaches(third, "RUNNING")
    assert [calm.job(job)["Licenses"] for job in (first, second, third)] == ["power:1000", "power:4000", "power:4000"]


def test_a_reservation_of_licences_holds_jobs_back_and_lets_them_go_as_it_moves(calm: Cluster) -> None:
    calm.run("scontrol", "create", "reservation", *HOLD, "Licenses=power:9000")
    job = calm.submit("sleep 300", "--gres=gpu:2", "-L", "power:4000")
    calm.until(lambda: calm.job(job)["Reason"] in ("Licenses", "Reservation"), "it waits for the reservation")
    calm.run("scontrol", "update", "ReservationName=hold", "Licenses=power:6000")
    calm.reaches(job, "RUNNING")
    calm.run("scontrol", "update", "ReservationName=hold", "Licenses=power:9000")
    assert calm.state(job) == "RUNNING"


def test_suspended_work_stops_and_resumed_work_goes_on(calm: Cluster) -> None:
    job = calm.submit("while sleep 0.1; do date +%s.%N >>beats; done", user="alice")
    beats = calm.room.inside("home/alice/beats")
    calm.until(beats.exists, "it beats")
    calm.run("scontrol", "suspend", job)
    calm.reaches(job, "SUSPENDED")
    stopped = beats.read_text()
    time.sleep(0.5)
    assert beats.read_text() == stopped
    calm.run("scontrol", "resume", job)
    calm.until(lambda: beats.read_text() != stopped, "it beats again")


def test_jobs_outlive_the_controller(calm: Cluster) -> None:
    job = calm.submit("sleep 300", "--gres=gpu:2", "-L", "power:4000")
    calm.reaches(job, "RUNNING")
    edited_s = time.time()
    calm.run("scontrol", "update", f"JobId={job}", "Licenses=power:1000")
    calm.until(lambda: calm.saved_s() > edited_s, "that is on disk")
    calm.kill_slurmctld()
    with pytest.raises(CommandFailed):
        calm.run("scontrol", "show", "job", job, timeout_s=2.0)
    calm.start_slurmctld()
    calm.until(lambda: "unk" not in calm.run("sinfo", "-h", "-o", "%t"), "the nodes have told what runs on them")
    assert (calm.state(job), calm.job(job)["Licenses"]) == ("RUNNING", "power:1000")


def test_without_munge_nobody_is_heard_and_with_it_all_is_as_it_was(calm: Cluster) -> None:
    job = calm.submit("sleep 300")
    calm.reaches(job, "RUNNING")
    calm.kill_munged()
    with pytest.raises(CommandFailed, match=r"(?i)munge|auth|in time"):
        calm.run("squeue", timeout_s=4.0)
    calm.start_munged()
    calm.until(lambda: calm.state(job) == "RUNNING", "it runs on")


def test_commands_from_outside_reach_the_cluster_and_keep_their_folder(calm: Cluster) -> None:
    script = calm.folder / "here.sh"
    script.write_text("#!/bin/sh\nsleep 300\n")
    said = subprocess.run(
        [calm.bin / "sbatch", "--parsable", "--comment=a 'b' $c", script],
        cwd=calm.folder,
        capture_output=True,
        text=True,
    )
    assert said.stderr == ""
    calm.reaches(said.stdout.strip(), "RUNNING")
    told = subprocess.run([calm.bin / "squeue", "-h", "-o", "%i\x1f%Z\x1f%k"], capture_output=True, text=True)
    assert told.stdout == f"{said.stdout.strip()}\x1f{calm.folder}\x1fa 'b' $c\n"


def test_a_stalled_command_hangs_as_one_process_and_does_its_work_after(calm: Cluster) -> None:
    with calm.stalled("scontrol", 6.0):
        begun_s = time.monotonic()
        with subprocess.Popen([calm.bin / "scontrol", "ping"], stdout=subprocess.PIPE) as killed:
            with pytest.raises(subprocess.TimeoutExpired):
                killed.wait(0.5)
            killed.kill()
            assert killed.communicate()[0] == b""
        assert time.monotonic() - begun_s < 6.0
        said = subprocess.run([calm.bin / "scontrol", "ping"], capture_output=True, text=True).stdout
        assert "UP" in said
        assert time.monotonic() - begun_s >= 6.0
    assert subprocess.run([calm.bin / "scontrol", "ping"], capture_output=True, timeout=5.0).returncode == 0


def test_clusters_do_not_see_each_other(calm: Cluster, new_cluster: Callable[..., Cluster]) -> None:
    other = new_cluster(nodes=["n1"], licences="power:5")
    calm.submit("sleep 300")
    assert other.run("squeue", "-h") == ""
    assert "Total=5" in other.run("scontrol", "show", "licenses")


def test_a_backup_takes_over_when_the_primary_dies(new_cluster: Callable[..., Cluster]) -> None:
    cluster = new_cluster(nodes=["n1"], backup=True, conf={"SlurmctldTimeout": "2"})
    job = cluster.submit("sleep 300")
    cluster.reaches(job, "RUNNING")
    edited_s = time.time()
    cluster.run("scontrol", "update", f"JobId={job}", "Comment=kept")
    cluster.until(lambda: cluster.saved_s() > edited_s, "that is on disk")
    cluster.kill_slurmctld()
    cluster.until(lambda: _comment(cluster, job) == "kept", "the backup tells of the job", 40.0)


def _comment(cluster: Cluster, job: str) -> str | None:
    try:
        return cluster.job(job).get("Comment")
    except CommandFailed:
        return None


def test_nothing_is_left_of_a_cluster_whose_holder_was_killed(installation: Installation, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, str(UP), "--slurm", installation.version, "--folder", str(tmp_path), "--nodes", "1"],
        stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        first = next(int(found[1]) for line in holder.stdout if (found := re.search(r"--target=(\d+)", line)))
        space = os.readlink(f"/proc/{first}/ns/pid")
        assert len(_living(space)) > 4
        holder.kill()
    ended_s = time.monotonic()
    while _living(space):
        assert time.monotonic() - ended_s < 30.0, f"still there: {_living(space)}"
        time.sleep(0.05)
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def _living(space: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and os.readlink(entry / "ns" / "pid") == space:
                found.append((entry / "comm").read_text().strip())
        except OSError:  # it has ended meanwhile
            continue
    return found


def test_cards_draw_what_the_jobs_on_them_want_within_their_limits(calm: Cluster) -> None:
    with Hardware(calm, [Work("train*", 600.0), Work("*", 300.0)], maps=True) as hardware:
        wide = calm.submit("sleep 300", "-J", "train-7", "-N2", "--gres=gpu:8")
        small = calm.submit("sleep 300", "-J", "other", "--gres=gpu:1", "-w", calm.nodes[3])
        calm.until(lambda: sum(job.computes for job in hardware.jobs.values()) == 2, "both compute")
        overhead_w = 4 * 800.0
        calm.until(lambda: _draws(hardware, overhead_w + 1.1 * (16 * 600 + 300 + 15 * IDLE_W)), "cards are loaded")
        for node, index in hardware.jobs[wide].cards:
            hardware.states[node].write_limit(index, 400.0)
        calm.until(lambda: _draws(hardware, overhead_w + 1.1 * (16 * 400 + 300 + 15 * IDLE_W)), "limits bite")
        assert np.all(hardware.limits_w(wide) == 400.0)
        node, index = hardware.jobs[small].cards[0]
        holders = mapping.mapped(jobs_folder(calm, node))
        assert [(held.job, held.device) for held in holders] == [(small, str(index))]  # type: ignore[union-attr]
        calm.run("scontrol", "suspend", wide)
        calm.until(lambda: _draws(hardware, overhead_w + 1.1 * (300 + 31 * IDLE_W)), "what is suspended idles")
        calm.run("scancel", small)
        calm.until(lambda: _draws(hardware, overhead_w + 1.1 * 32 * IDLE_W), "what is cancelled is gone")
        at_s = np.array([sample.at_s for sample in hardware.samples])
    assert np.median(np.diff(at_s)) < 0.1


def _draws(hardware: Hardware, site_w: float) -> bool:
    """Whether the site draws this, but for the wavering of its cards."""
    overhead_w = len(hardware.states) * hardware.overhead.floor_w
    least_w = overhead_w + WAVER_FRAC * (site_w - overhead_w)
    return bool(hardware.samples) and least_w - 0.5 < hardware.drawn_w() < site_w + 0.5


def test_work_goes_on_drawing_while_the_controller_is_dead(calm: Cluster) -> None:
    with Hardware(calm, [Work("*", 500.0)]) as hardware:
        job = calm.submit("sleep 4", "--gres=gpu:4")
        calm.until(lambda: bool(hardware.jobs) and hardware.jobs[job].computes, "it computes")
        calm.kill_slurmctld()
        try:
            time.sleep(1.0)
            assert _draws(hardware, 4 * 800.0 + 1.1 * (4 * 500.0 + 28 * IDLE_W))
            calm.until(lambda: _draws(hardware, 4 * 800.0 + 1.1 * 32 * IDLE_W), "it has ended by itself")
        finally:
            calm.start_slurmctld()


def test_real_agents_stand_on_those_cards(calm: Cluster) -> None:
    with Hardware(calm, [Work("*", 500.0)]) as hardware:
        agents = Agents(hardware, [f"https://127.0.0.1:{free_port()}"])
        with agents.running():
            fallback_w = len(calm.nodes) * agents.fallback_w
            calm.until(lambda: hardware.allowed_w() <= fallback_w, "no grantor: every node is at its fallback", 30.0)
        assert not any(agents[node].alive for node in calm.nodes)
        assert np.all(np.concatenate([state.enforced_w() for state in hardware.states.values()]) == LEAST_W)
