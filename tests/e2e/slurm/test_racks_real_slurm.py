"""Slurm's own hierarchical resources as a guard for racks, on a Slurm that has them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from slurm_cluster import Cluster
from slurm_site import JOB_SUBMIT

from wattlease.runtime.files import load
from wattlease_slurm.commands import slurm
from wattlease_slurm.racks import most_w, racks
from wattlease_slurm.settings import SlurmSettings
from wattlease_slurm.verdict import Verdict, room_key

pytestmark = pytest.mark.skipif(os.environ.get("SLURM", "") < "25.11.7", reason="this Slurm has no tree of resources")

RACK_W = 8000


@pytest.fixture
def guarded(new_cluster: Callable[..., Cluster], tmp_path: Path) -> Cluster:
    """Two racks of two nodes, 8 kW of GPUs each, and licences for all; a GPU is predicted at 700 W."""
    groups = [
        {"name": rack, "nodes": 2, "nodeNames": names, "budget": rack, "cluster": "c", "gpuModel": "H100",
         "nodeNameplateWatts": 10_000}
        for rack, names in (("r1", ["n1", "n2"]), ("r2", ["n3", "n4"]))
    ]  # fmt: skip
    budgets = [("hall", {"limitWatts": 22_400})] + [(r, {"limitWatts": RACK_W, "parent": "hall"}) for r in ("r1", "r2")]
    written = {
        "name": "site",
        "groups": groups,
        "budgets": [{"metadata": {"name": name}, "spec": spec} for name, spec in budgets],
        "listen": {"secretFile": "unused"},
        "stateFolder": "unused",
        "slurm": {"rackResource": "rackpower"},
    }
    config = tmp_path / "slurm.yaml"
    config.write_text(yaml.safe_dump(written))
    printed = CliRunner().invoke(slurm, ["install", "--resources", str(config)])
    assert printed.exit_code == 0, printed.output
    cluster = new_cluster("racks", licences="power:22400", job_submit=JOB_SUBMIT)
    cluster.stop_slurmctld()
    cluster.write("resources.yaml", printed.output)
    tree = racks(load(config, SlurmSettings))
    assert tree is not None
    room_w = {room_key("gpu", n): watts for n, watts in most_w(tree, cluster.nodes).items()}
    Verdict(
        time.time(), 22_400, rated_w={"h100": 700.0, "*": 700.0}, resource="rackpower", room_w=room_w,
        node_gpus={"gpu": 8}, types={"*": "h100"}, valid_s=600.0,
    ).write(cluster.folder / "run" / "verdict")  # fmt: skip
    cluster.start_slurmctld()
    return cluster


def test_a_job_that_does_not_fit_in_a_rack_waits_though_the_site_has_room_and_a_requeue_keeps_it(
    guarded: Cluster,
) -> None:
    whole = [guarded.submit("sleep 600", "--gres=gpu:8", "--nodes=1", user="alice") for _ in range(3)]
    for job in whole[:2]:
        guarded.reaches(job, "RUNNING")
    assert guarded.job(whole[0])["Licenses"] == "power:5600,rackpower:5600"
    rack = {"n1": "r1", "n2": "r1", "n3": "r2", "n4": "r2"}
    assert {rack[guarded.job(job)["NodeList"]] for job in whole[:2]} == {"r1", "r2"}
    time.sleep(5.0)
    assert guarded.state(whole[2]) == "PENDING"
    small = guarded.submit("sleep 600", "--gres=gpu:3", "--nodes=1", "--time=1", user="bob")
    guarded.reaches(small, "RUNNING")

    guarded.run("scontrol", "requeue", whole[0])
    guarded.reaches(whole[2], "RUNNING")
    guarded.run("scontrol", "update", f"JobId={whole[0]}", "StartTime=now")
    time.sleep(5.0)
    assert guarded.state(whole[0]) == "PENDING"
    guarded.run("scancel", whole[1])
    guarded.reaches(whole[0], "RUNNING")
    assert guarded.job(whole[0])["Licenses"].replace(";", ",") == "power:5600,rackpower:5600"


def test_a_job_larger_than_its_racks_is_taken_and_runs_alone(guarded: Cluster) -> None:
    job = guarded.submit("sleep 600", "--gres=gpu:8", "--nodes=4", user="alice")
    guarded.reaches(job, "RUNNING")
    assert guarded.job(job)["Licenses"] == "power:22400,rackpower:4000"
    other = guarded.submit("sleep 600", "--gres=gpu:1", user="bob")
    time.sleep(4.0)
    assert guarded.state(other) == "PENDING"
