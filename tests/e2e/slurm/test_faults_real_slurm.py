"""What can die, hang or be changed by hand on a Slurm site: the limit holds and a person's word stands."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from slurm_cluster import Cluster
from slurm_room import CommandFailed
from slurm_site import JOB_SUBMIT, Site
from slurm_work import Work

from wattlease.core.estimate import STALE_S

LIMIT_W, LOW_W = 18_000.0, 12_500.0
"""Four nodes at their fallback draw up to 10.3 kW, at full power 27.9 kW."""

pytestmark = pytest.mark.timeout(300)

PAUSABLE, FIRM = "--comment=wattlease:pausable", "--comment=wattlease:not-pausable,max-slowdown=10"
TTL_S = 12.0
SILENT_S = STALE_S + 2.0
QUICK = {"ramp": {"releasePercentPerMinute": 100}, "dwell": {"pauseSeconds": 5, "downsizeSeconds": 5, "holdSeconds": 1}}


@pytest.fixture(scope="module")
def fine(installation: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that every test leaves as it was."""
    folder = tmp_path_factory.mktemp("faults")
    with Cluster(installation, folder, licences="power:22400", job_submit=JOB_SUBMIT) as cluster:  # type: ignore[arg-type]
        site = Site(cluster, [Work("*", 600.0, noise_frac=0.05)], limit_w=LIMIT_W, budget=QUICK, daemons=2)
        with site.running():
            yield site


@pytest.fixture
def site(fine: Site) -> Iterator[Site]:
    """Busy with two jobs of eight GPUs; the limit is checked over the whole test."""
    fine.limit(LIMIT_W)
    begun_s = time.monotonic()
    try:
        for name in ("a", "b"):
            submit(fine, name)
        fine.until(lambda: running(fine) == 2, "two jobs run", 120.0)
        yield fine
    finally:
        for agent in fine.agents.processes.values():
            if not agent.alive:
                agent.start()
        for user in ("root", "alice", "bob"):
            fine.cluster.run("scancel", f"--user={user}")
        fine.until(lambda: not fine.cluster.run("squeue", "-h"), "all jobs are gone")
        fine.until(lambda: led(fine), "a daemon leads")
    assert not [s for s in fine.hardware.samples if s.at_s > begun_s and s.drawn_w > LIMIT_W]


def submit(site: Site, name: str, *options: str, gpus: int = 8) -> str:
    wish = () if any(o.startswith("--comment") for o in options) else (PAUSABLE,)
    return site.cluster.submit(
        "sleep 900", f"--gres=gpu:{gpus}", "--time=20", f"--job-name={name}", *wish, *options, user="alice"
    )


def running(site: Site) -> int:
    return site.cluster.run("squeue", "-h", "-o", "%T").split().count("RUNNING")


FULL_W = 8 * 600.0
"""What the cards of a job of eight want."""


def limits_w(site: Site, job: str) -> float:
    """What the limits of the job's cards allow, once it has any."""
    return float(site.hardware.limits_w(job).sum()) if job in site.hardware.jobs else 0.0


def licences(site: Site, job: str) -> int:
    found = re.search(r"power:(\d+)", site.cluster.job(job).get("Licenses", ""))
    return int(found[1]) if found else 0


def saved(site: Site) -> None:
    """What runs is in Slurm's own state folder: a slurmctld that is killed before that forgets it, with us or not."""
    job = site.cluster.run("squeue", "-h", "-t", "R", "-o", "%i").split()[0]
    edited_s = time.time()
    site.cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=21")
    site.until(lambda: site.cluster.saved_s() > edited_s, "Slurm has saved its state", 60.0)


def runs_on_the_page(site: Site, job: str) -> bool:
    rows = [row for i in range(len(site.daemons)) for row in site.view(i).get("jobs", ())]
    return any(row["id"] == job and row["state"] in ("running", "capped") for row in rows)


def led(site: Site) -> bool:
    """Some daemon decided within the last seconds."""
    return any(time.time() - site.view(i).get("now_s", 0.0) < 3.0 for i in range(len(site.daemons)))


@contextmanager
def kept(site: Site, limit_w: float) -> Iterator[None]:
    """At no moment of the block do all cards' limits together allow more."""
    begun_s = time.monotonic()
    yield
    worst = max((s.allowed_w for s in site.hardware.samples if s.at_s > begun_s), default=0.0)
    assert worst <= limit_w, f"{worst:.0f} W allowed of {limit_w:.0f}"


def test_a_daemon_that_is_killed_leaves_the_limit_to_the_other_and_nothing_is_lost(site: Site) -> None:
    before = site.cluster.run("squeue", "-h", "-o", "%i %T")
    leader = next(i for i in range(2) if time.time() - site.view(i).get("now_s", 0.0) < 3.0)
    with kept(site, LIMIT_W):
        site.daemons[leader].kill()
        job = submit(site, "meanwhile", gpus=1)
        site.until(lambda: led(site), "the other leads")
        site.cluster.reaches(job, "RUNNING")
        assert before in site.cluster.run("squeue", "-h", "-o", "%i %T") or running(site) >= 2
    site.daemons[leader].start()
    site.until(lambda: site.daemons[leader].alive and led(site), "both are there")


def test_what_one_daemon_paused_the_next_lets_go_on(site: Site) -> None:
    site.limit(LOW_W)
    site.until(lambda: "SUSPENDED" in site.cluster.run("squeue", "-h", "-o", "%T"), "a job is suspended")
    leader = next(i for i in range(2) if time.time() - site.view(i).get("now_s", 0.0) < 3.0)
    site.daemons[leader].kill()
    site.limit(LIMIT_W)
    site.until(lambda: "SUSPENDED" not in site.cluster.run("squeue", "-h", "-o", "%T"), "it goes on", 90.0)
    site.daemons[leader].start()


def test_no_job_starts_on_the_watts_of_one_whose_node_is_silent_for_a_while(site: Site) -> None:
    site.cluster.run("scancel", "--user=alice")
    site.until(lambda: not site.cluster.run("squeue", "-h"), "all jobs are gone")
    time.sleep(5.0)
    with kept(site, LIMIT_W):
        site.agents["n4"].kill()
        known_s = time.monotonic() + SILENT_S
        silent = submit(site, "silent", FIRM, "--nodelist=n4")
        site.cluster.reaches(silent, "RUNNING", 60.0)
        time.sleep(max(known_s - time.monotonic(), 0.0))  # till then both fit, and may start
        waiting = submit(site, "waiting", FIRM)
        until_s = time.monotonic() + 2 * TTL_S
        while time.monotonic() < until_s:
            assert site.cluster.state(waiting) == "PENDING"
            time.sleep(0.5)
        site.agents["n4"].start()
        site.until(lambda: limits_w(site, silent) > FULL_W, "it has watts", 60.0)
        assert site.cluster.state(waiting) == "PENDING"


def test_slurmctld_is_restarted_and_the_limit_holds(site: Site) -> None:
    saved(site)
    with kept(site, LIMIT_W):
        site.cluster.kill_slurmctld()
        time.sleep(4.0)
        site.limit(LOW_W)
        site.until(lambda: site.hardware.allowed_w() <= LOW_W, "caps follow without Slurm", 10.0)
        site.cluster.start_slurmctld()
        site.until(lambda: "wattlease" in site.cluster.run("scontrol", "-o", "show", "reservation"), "it is reserved")
        assert site.cluster.run("squeue", "-h", "-o", "%T").split()


def test_daemon_and_slurmctld_are_both_dead_and_every_node_falls_to_its_fallback(site: Site) -> None:
    saved(site)
    with kept(site, LIMIT_W):
        for daemon in site.daemons:
            daemon.kill()
        site.cluster.kill_slurmctld()
        fallback_w = 4 * site.agents.fallback_w
        site.until_dead(lambda: site.hardware.allowed_w() <= fallback_w + 1.0, "all are at their fallback", TTL_S + 3)
        site.cluster.start_slurmctld()
        for daemon in site.daemons:
            daemon.start()
        site.until(lambda: site.hardware.allowed_w() > fallback_w + 500.0, "watts are granted again", 40.0)
        assert running(site) == 2


def test_munge_is_down_and_the_limit_holds(site: Site) -> None:
    with kept(site, LIMIT_W):
        site.cluster.kill_munged()
        try:
            site.limit(LOW_W)
            site.until(lambda: site.hardware.allowed_w() <= LOW_W, "caps follow without munge", 10.0)
            time.sleep(5.0)
        finally:
            site.cluster.start_munged()
    site.limit(LIMIT_W)
    site.until(lambda: running(site) == 2, "jobs go on", 60.0)


def test_scontrol_hangs_for_20_seconds_and_caps_do_not_wait_for_it(site: Site) -> None:
    with site.cluster.stalled("scontrol", 20.0):
        site.limit(LOW_W)
        took_s = site.until(lambda: site.hardware.allowed_w() <= LOW_W, "caps follow", 10.0)
        print(f"all limits fitted after {took_s:.1f} s with scontrol hanging")
        assert led(site)


@pytest.mark.parametrize("content", [None, "written=0\n", "garbage \x00 = ;;\n" * 50])
def test_without_a_verdict_that_can_be_believed_submission_goes_on(site: Site, content: str | None) -> None:
    verdict = site.cluster.folder / "run" / "verdict"
    for daemon in site.daemons:
        daemon.pause()
    try:
        verdict.unlink(missing_ok=True)
        if content is not None:
            verdict.write_text(content)
        job = submit(site, "new", gpus=2)
        assert licences(site, job) >= 2 * 600
    finally:
        for daemon in site.daemons:
            daemon.resume()


def test_a_requeued_job_has_its_licences_again(site: Site) -> None:
    job = site.cluster.submit("sleep 900", "--gres=gpu:2", "--requeue", "--time=20", PAUSABLE, user="alice")
    site.cluster.reaches(job, "RUNNING")
    site.until(lambda: licences(site, job) > 0, "it has licences")
    site.cluster.run("scontrol", "requeue", job)
    site.until(lambda: site.cluster.job(job).get("Restarts") == "1", "it was requeued")
    time.sleep(5.0)  # a node that is still cleaning up after a run refuses the next one of the same job
    site.cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now")
    site.cluster.reaches(job, "RUNNING", 90.0)
    site.until(lambda: licences(site, job) > 0, "it has licences again")


def test_a_user_cannot_lower_what_his_job_is_counted_for(site: Site) -> None:
    job = submit(site, "sly", "--hold", gpus=4)
    before = licences(site, job)
    assert before >= 4 * 500
    for change in ("Licenses=power:1", "Licenses="):
        try:
            site.cluster.run("scontrol", "update", f"JobId={job}", change, user="alice")
        except CommandFailed as refused:
            print(refused)
        assert licences(site, job) >= before


def test_a_job_that_an_admin_holds_or_suspends_stays_so(site: Site) -> None:
    waiting = submit(site, "held", "--hold", gpus=1)
    site.cluster.run("scontrol", "hold", waiting)
    job = submit(site, "stopped", gpus=1)
    site.cluster.reaches(job, "RUNNING")
    site.cluster.run("scontrol", "suspend", job)
    time.sleep(20.0)
    assert site.cluster.state(waiting) == "PENDING"
    assert site.cluster.state(job) == "SUSPENDED"
    site.cluster.run("scontrol", "resume", job)


def test_licences_that_an_admin_set_stay(site: Site) -> None:
    job = submit(site, "by-hand", gpus=2)
    site.until(lambda: runs_on_the_page(site, job), "the daemon knows that it runs", 60.0)
    site.cluster.run("scontrol", "update", f"JobId={job}", "Licenses=power:333")
    time.sleep(15.0)
    assert licences(site, job) == 333


def test_a_job_that_an_admin_lets_go_on_is_not_paused_again(site: Site) -> None:
    site.limit(LOW_W)
    site.until(lambda: "SUSPENDED" in site.cluster.run("squeue", "-h", "-o", "%T"), "a job is suspended")
    (job, *_) = re.findall(r"(\d+) SUSPENDED", site.cluster.run("squeue", "-h", "-o", "%i %T"))
    time.sleep(3.0)
    site.cluster.run("scontrol", "resume", job)
    with kept(site, LIMIT_W):
        for _ in range(20):
            time.sleep(1.0)
            assert site.cluster.state(job) == "RUNNING"
    assert site.hardware.allowed_w() <= LOW_W


def test_a_backup_slurmctld_takes_over_and_the_daemon_goes_on_with_it(new_cluster: Callable[..., Cluster]) -> None:
    conf = {"SlurmctldTimeout": "2"}
    cluster = new_cluster("pair", licences="power:22400", job_submit=JOB_SUBMIT, backup=True, conf=conf)
    site = Site(cluster, [Work("*", 600.0, noise_frac=0.05)], limit_w=LIMIT_W, budget=QUICK)
    with site.running():
        job = submit(site, "one")
        cluster.reaches(job, "RUNNING")
        saved(site)
        cluster.kill_slurmctld()
        with kept(site, LIMIT_W):
            site.until(lambda: _takes(cluster), "the backup answers", 90.0)
            other = submit(site, "two", gpus=2)
            cluster.reaches(other, "RUNNING", 90.0)


def _takes(cluster: Cluster) -> bool:
    try:
        return "RUNNING" in cluster.run("squeue", "-h", "-o", "%T", timeout_s=15.0)
    except CommandFailed:
        return False
