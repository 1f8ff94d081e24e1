"""The submit script in a real slurmctld: what each kind of job asks for, and what users can and cannot change."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from slurm_cluster import Cluster
from slurm_conf import GPU_FILE
from slurm_installation import Installation
from slurm_room import CommandFailed

from wattlease.agent.jobs import Holding
from wattlease.agent.jobs.mapping import mapped
from wattlease_slurm.checks import Grade, findings
from wattlease_slurm.install import install
from wattlease_slurm.slurm_conf import shown
from wattlease_slurm.verdict import Verdict, draw_key

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "slurm_plugin/lua"
USER = "alice"
HOME = f"/home/{USER}"
VERDICT = Verdict(
    written_s=time.time(),
    total_w=20_000,
    valid_s=3600.0,
    rated_w={"h100": 700.0, "*": 700.0},
    draw_w={draw_key(USER, "train", "h100"): 500.0},
    watts_per_cpu=5.0,
    fractions={"1g.10gb": 0.125},
    node_gpus={"gpu": 8},
    types={"gpu": "h100"},
)


@pytest.fixture(scope="module")
def cluster(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("submit")
    prolog = {name: f"/etc/slurm/wattlease/wattlease-{name.lower()}.sh" for name in ("Prolog", "Epilog")}
    conf = {"JobSubmitPlugins": "lua", "PrologFlags": "Alloc", **prolog}
    cluster = Cluster(installation, folder, licences="power:20000,matlab:9,ansys:9", conf=conf)
    assert list(install(cluster.slurm_conf.parent))
    with cluster:
        VERDICT.write(folder / "run" / "verdict")
        yield cluster


@pytest.fixture(autouse=True)
def nothing_left(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.run("scancel", f"--user={USER}")
    cluster.until(lambda: not cluster.run("squeue", "-h"), "all jobs are gone")


def sbatch(cluster: Cluster, *options: str, script: str = "sleep 600", with_: str = "") -> tuple[str, str]:
    """The job's id and what its user was told; `with_` are variables that he has set."""
    command = f'{with_} sbatch --parsable --chdir={HOME} "$@" 2>&1'
    text = script if script.startswith("#!") else f"#!/bin/bash\n{script}\n"
    said = cluster.run("bash", "-c", command, "sbatch", *options, user=USER, stdin=text)
    return said.split()[-1], said


def licences(cluster: Cluster, job: str) -> str:
    return cluster.job(job)["Licenses"]


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ("--gres=gpu:h100:4", "power:2800"),
        ("--gpus=h100:4 -J train-7", "power:2000"),
        ("--gpus-per-node=2 -N2", "power:2800"),
        ("--gpus-per-task=1 -n6", "power:4200"),
        ("--gpus-per-socket=1 --sockets-per-node=2", "power:1400"),
        ("--gres=gpu:4 -N1-3", "power:8400"),
        ("--gres=gpu:8 -n128", "power:11200"),
        ("--ntasks-per-gpu=2 -n8", "power:2800"),
        ("--gres=gpu:1g.10gb:2", "power:175"),
        ("--exclusive -N2 --gres=gpu:1", "power:11200"),
        ("--exclusive", "power:5600"),
        ("--gpus=32", "power:20000"),
        ("-c16", "power:80"),
        ("--gpus=1 -L matlab:2,power:1", "matlab:2,power:700"),
    ],
)
def test_each_way_of_asking_for_gpus_asks_for_their_watts(cluster: Cluster, options: str, asked: str) -> None:
    job, _ = sbatch(cluster, "--hold", *options.split())
    assert licences(cluster, job) == asked


def test_every_task_of_an_array_asks_for_its_own_watts(cluster: Cluster) -> None:
    job, _ = sbatch(cluster, "--gpus=1", "--array=0-2")
    cluster.until(lambda: used(cluster) == 2100, "three tasks hold their licences")
    assert set(cluster.run("squeue", "-h", "-r", "-j", job, "-o", "%W").split()) == {"power:700"}


def test_a_heterogeneous_job_is_taken_and_its_leader_asks(cluster: Cluster) -> None:
    job, _ = sbatch(cluster, "--gpus=2", script="#SBATCH hetjob\n#SBATCH --gpus=1\nsleep 600")
    cluster.until(lambda: used(cluster) == 1400, "the leader holds its licences", 60)
    assert "RUNNING" in cluster.run("squeue", "-h", "-j", f"{job}+1", "-o", "%T")


def test_srun_asks_as_sbatch_does(cluster: Cluster) -> None:
    command = "scontrol -o show job $SLURM_JOB_ID"
    said = cluster.run("srun", "--gpus=1", f"--chdir={HOME}", "bash", "-c", command, user=USER)
    assert "Licenses=power:700 " in said


def test_licences_joined_by_or_are_left_to_slurm(cluster: Cluster, installation: Installation) -> None:
    """Slurm takes them from 25.05 on."""
    if installation.version >= "25.05":
        job, said = sbatch(cluster, "--hold", "--gpus=1", "-L", "matlab|ansys")
        assert licences(cluster, job) == "matlab|ansys"
        assert "counted by the daemon" in said
    else:
        with pytest.raises(CommandFailed, match="Invalid license"):
            sbatch(cluster, "--hold", "--gpus=1", "-L", "matlab|ansys")


def test_the_smaller_job_has_the_higher_priority(cluster: Cluster) -> None:
    cluster.reaches(sbatch(cluster, "--gpus=32")[0], "RUNNING")
    small, large = (sbatch(cluster, f"--gpus={gpus}")[0] for gpus in (1, 16))
    cluster.until(lambda: {small, large} <= factors(cluster).keys(), "both have a priority")
    found = factors(cluster)
    assert 0 < found[large] < found[small] < VERDICT.site_factor


def test_a_wish_that_cannot_be_read_is_told_to_its_user_and_the_job_is_taken(cluster: Cluster) -> None:
    job, said = sbatch(cluster, "--hold", "--gpus=1", "--comment=wattlease:max-slowdown=fast")
    assert "sbatch: wattlease: 'max-slowdown=fast' in the comment cannot be read: write max-slowdown=PERCENT" in said
    assert licences(cluster, job) == "power:700"


@pytest.mark.parametrize("runs", [False, True])
def test_a_user_cannot_give_up_a_jobs_watts_and_an_operator_can(
    cluster: Cluster, installation: Installation, runs: bool
) -> None:
    job, _ = sbatch(cluster, "--gpus=2", *([] if runs else ["--hold"]))
    if runs:
        cluster.reaches(job, "RUNNING")
    for asked in ("power:1", "", "power:9000"):
        said = update(cluster, job, f"Licenses={asked}")
        assert licences(cluster, job) == "power:1400"
        assert "keeps power:1400" in said or installation.version.startswith("22."), "which has no way to tell"
    cluster.run("scontrol", "update", f"JobId={job}", "Licenses=power:100")
    assert licences(cluster, job) == "power:100"


def test_a_waiting_job_that_asks_for_more_gpus_asks_for_more_watts(cluster: Cluster) -> None:
    job, _ = sbatch(cluster, "--hold", "--gpus=2")
    update(cluster, job, "TresPerJob=gres/gpu:6")
    assert licences(cluster, job) == "power:4200"


@pytest.mark.parametrize("text", [None, "garbage\n", VERDICT.text[:200]])
def test_submission_goes_on_without_a_verdict_at_rated_watts(
    cluster: Cluster, installation: Installation, text: str | None
) -> None:
    path = cluster.folder / "run" / "verdict"
    try:
        path.unlink() if text is None else path.write_text(text)
        reload(cluster)
        job, _ = sbatch(cluster, "--hold", "-J", "train-7", "--gres=gpu:h100:4")
        assert licences(cluster, job) == "power:2800"
        assert "jobs ask for rated watts" in (cluster.log / "slurmctld.log").read_text(errors="replace")
    finally:
        VERDICT.write(path)
        reload(cluster)


def test_a_new_verdict_holds_within_a_second_or_two(cluster: Cluster) -> None:
    path = cluster.folder / "run" / "verdict"
    try:
        replace(VERDICT, rated_w={"h100": 650.0}).write(path)
        time.sleep(1.1)
        assert licences(cluster, sbatch(cluster, "--hold", "--gpus=1")[0]) == "power:650"
    finally:
        VERDICT.write(path)
        time.sleep(1.1)


def test_a_sites_own_script_is_asked_first(cluster: Cluster) -> None:
    site = """
        function slurm_job_submit(job, parts, uid)
            if job.comment == "no" then slurm.log_user("not today") return slurm.ERROR end
            if job.comment == "oh" then error("oh") end
            return slurm.SUCCESS
        end
        function slurm_job_modify() return slurm.SUCCESS end
        return slurm.SUCCESS
    """
    path = cluster.write("job_submit_site.lua", site)
    try:
        time.sleep(1.1)
        with pytest.raises(CommandFailed, match="not today"):
            sbatch(cluster, "--hold", "--comment=no")
        assert licences(cluster, sbatch(cluster, "--hold", "--comment=oh", "--gpus=1")[0]) == "power:700"
    finally:
        path.unlink()
        time.sleep(1.1)


def test_the_examples_run_as_jobs(cluster: Cluster) -> None:
    """As their users submit them, less steps."""
    examples = ROOT / "examples/slurm"
    with_ = f"EXAMPLES={examples} WATTLEASE_HINTS_FOLDER={ROOT / 'src'} STEPS=300 PORT=0"
    jobs = {
        name: sbatch(cluster, script=(examples / f"{name}.sh").read_text(encoding="utf-8"), with_=with_)[0]
        for name in ("train", "array", "serve", "header")
    }
    cluster.reaches(jobs["serve"], "RUNNING")
    assert licences(cluster, jobs["serve"]) == "power:1400"
    for name in ("train", "header"):
        cluster.reaches(jobs[name], "COMPLETED", 60)
    cluster.until(lambda: not cluster.run("squeue", "-h", "-j", jobs["array"]), "the sweep is over", 90)
    assert "ends at step 300" in cluster.run("cat", f"{HOME}/train-{jobs['train']}.out")
    assert "ends at step 300" in cluster.run("cat", f"{HOME}/sweep-{jobs['array']}-7.out")
    assert "serves at" in cluster.run("cat", f"{HOME}/serve-{jobs['serve']}.out")


def test_the_prolog_tells_which_gpus_a_job_has_and_the_epilog_that_it_has_none(cluster: Cluster) -> None:
    make_devices(cluster, "n1")
    job, _ = sbatch(cluster, "--gres=gpu:h100:3", "--nodelist=n1")
    cluster.reaches(job, "RUNNING")
    gpus = cluster.folder / "run" / "gpus"
    cluster.until(lambda: mapped(gpus) == tuple(Holding(job, str(index)) for index in range(3)), "the prolog has told")
    cluster.run("scancel", job)
    cluster.until(lambda: mapped(gpus) == (), "the epilog has told")


def test_nothing_is_missing_where_the_installer_has_been(cluster: Cluster) -> None:
    """By what this Slurm says of itself."""
    config = shown(cluster.run("scontrol", "show", "config"), cluster.run("scontrol", "show", "partition"))
    found = {f.about: f.grade for f in findings(config, "power")}
    assert Grade.MISSING not in found.values()
    assert {found[name] for name in ("Prolog", "Epilog", "PrologFlags", "DefaultTime")} == {Grade.OK}
    assert config.value("SLURM_VERSION") == cluster.installation.version


def make_devices(cluster: Cluster, node: str) -> None:
    """Slurm tells a prolog only of GPUs that are devices; with number 195, as NVIDIA's, and no driver behind them."""
    cluster.run("sh", "-c", f"for g in $(seq 0 7); do f={GPU_FILE}-{node}-$g; rm -f $f; mknod $f c 195 $g; done")
    cluster.kill_slurmd(node)
    cluster.start_slurmd(node)


def factors(cluster: Cluster) -> dict[str, int]:
    """The site factor of each job that waits."""
    lines = [line.split() for line in cluster.run("sprio", "-h", "-o", "%i %S").splitlines()]
    return {line[0]: int(line[-1]) for line in lines}


def used(cluster: Cluster) -> int:
    found = re.search(r"LicenseName=power\s+Total=\d+ Used=(\d+)", cluster.run("scontrol", "show", "license"))
    assert found
    return int(found[1])


def update(cluster: Cluster, job: str, what: str) -> str:
    """Change a job as its user; what he was told."""
    try:
        return cluster.run("bash", "-c", 'scontrol update "$@" 2>&1', "scontrol", f"JobId={job}", what, user=USER)
    except CommandFailed as refused:
        return refused.said


def reload(cluster: Cluster) -> None:
    """Let slurmctld begin anew with the script, which forgets the last good verdict with that."""
    time.sleep(1.1)
    cluster.write("job_submit.lua", (SCRIPT / "job_submit.lua").read_text(encoding="utf-8"))
