"""The submit script: what jobs ask for, and how they stand in the queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from lua_slurmctld import NO_VAL, NOW_S, VERDICT, Slurmctld

from wattlease_slurm.verdict import Verdict

Start = Callable[..., Slurmctld]


@pytest.mark.parametrize(
    ("job", "watts"),
    [
        ({"tres_per_node": "gres/gpu:h100:4", "min_nodes": 1, "max_nodes": 1}, 4 * 600),
        ({"tres_per_node": "gres:gpu:h100:4", "min_nodes": 2, "max_nodes": 2}, 8 * 600),
        ({"tres_per_node": "gres/gpu:h100:4", "name": "train-12"}, 4 * 500),
        ({"tres_per_node": "gres/gpu:4"}, 4 * 600),
        ({"tres_per_node": "gres/gpu"}, 600),
        ({"tres_per_node": "gres/gpu:a100:2"}, 2 * 300),
        ({"tres_per_node": "gres/gpu:A100:2"}, 2 * 300),
        ({"tres_per_node": "gres/gpu:l40s:2"}, 2 * 700),
        ({"tres_per_node": "gres/gpu:nvidia_h100_80gb_hbm3:2", "user_name": "bob"}, 2 * 700),
        ({"tres_per_node": "gres/gpu:a100:1,gres/gpu:h100:1", "min_nodes": 1}, 300 + 600),
        ({"tres_per_job": "gres/gpu:h100:16"}, 16 * 600),
        ({"tres_per_job": "gres/gpu:h100=16"}, 16 * 600),
        ({"tres_per_job": "gres/gpu:16", "tres_per_node": "gres/gpu:8", "min_nodes": 2}, 16 * 600),
        ({"tres_per_task": "cpu=2,gres/gpu=1", "num_tasks": 6}, 6 * 600),
        ({"tres_per_task": "gres:gpu:h100:1", "ntasks_per_node": 4, "min_nodes": 2, "max_nodes": 2}, 8 * 600),
        ({"tres_per_socket": "gres/gpu:2", "sockets_per_node": 2, "min_nodes": 1, "max_nodes": 1}, 4 * 600),
        ({"ntasks_per_tres": 2, "num_tasks": 7}, 4 * 600),
        ({"tres_per_node": "gres/gpu:8", "num_tasks": 128, "cpus_per_task": 1}, 2 * 8 * 600),
        ({"tres_per_node": "gres/gpu:8", "num_tasks": 12, "ntasks_per_node": 4}, 3 * 8 * 600),
        ({"tres_per_node": "gres/gpu:2", "min_nodes": 2, "max_nodes": 3}, 3 * 2 * 600),
        ({"tres_per_node": "gres/gpu:2", "min_nodes": 1, "max_nodes": 1000}, 4 * 2 * 600),
        ({"tres_per_node": "gres/gpu:1g.10gb:2"}, 2 * 600 / 8),
        ({"tres_per_node": "gres/gpu:3g.40gb:1"}, -(-600 * 3 // 7)),
        ({"tres_per_node": "gres/gpu:a100_1g.5gb:7"}, 300),
        ({"tres_per_node": "gres/shard:6"}, 6 * 600 / 4),
        ({"tres_per_node": "gres/mps:50"}, 300),
        ({"tres_per_node": "gres/craynetwork:4,gres/gpu_mem:2"}, 5),
        ({"min_cpus": 16}, 80),
        ({"num_tasks": 4, "cpus_per_task": 8, "partition": "cpu"}, 160),
        ({"shared": 0, "min_nodes": 2, "max_nodes": 2, "tres_per_node": "gres/gpu:1"}, 16 * 600),
        ({"shared": 0}, 8 * 600),
        ({"shared": 0, "partition": "cpu", "min_nodes": 2}, 2 * 64 * 5),
        ({"partition": "whole", "min_cpus": 1}, 64 * 5),
        ({"partition": "cpu,gpu", "shared": 0}, 8 * 600),
        ({"tres_per_node": "gres/gpu:8", "min_nodes": 4, "tres_per_job": "gres/gpu:1000"}, 100_000),
        ({"tres_per_node": "gres/gpu:1k"}, 100_000),
        ({"array_inx": "0-99", "tres_per_node": "gres/gpu:1"}, 600),
        ({}, 5),
    ],
)
def test_a_job_asks_for_the_watts_of_what_it_gets(slurmctld: Slurmctld, job: dict[str, Any], watts: float) -> None:
    assert slurmctld.power(**job) == watts


def test_other_licences_stay_and_an_own_one_of_ours_is_replaced(slurmctld: Slurmctld) -> None:
    licences = slurmctld.submit(licenses="matlab:2,power:1,ansys", tres_per_node="gres/gpu:1").licenses
    assert licences == "matlab:2,ansys,power:600"
    assert slurmctld.submit(licenses="powerpoint:1,power", min_cpus=2).licenses == "powerpoint:1,power:10"
    assert slurmctld.submit(licenses="power@far:3", min_cpus=2).licenses == "power@far:3,power:10"


def test_licences_joined_by_or_stay_as_they_are_and_the_user_is_told(slurmctld: Slurmctld) -> None:
    assert slurmctld.submit(licenses="matlab:2|ansys", tres_per_node="gres/gpu:1").licenses == "matlab:2|ansys"
    assert "counted by the daemon" in slurmctld.told[0]


def test_of_a_heterogeneous_job_the_leader_alone_asks_as_slurm_wants_it(slurmctld: Slurmctld) -> None:
    leader = slurmctld.submit(het_job_offset=0, tres_per_node="gres/gpu:2")
    part = slurmctld.submit(het_job_offset=1, tres_per_node="gres/gpu:4")
    assert (leader.licenses, part.licenses) == ("power:1200", None)
    assert part.site_factor < leader.site_factor
    change = slurmctld.modify({"het_job_offset": 1, "tres_per_node": "gres/gpu:2"}, tres_per_node="gres/gpu:8")
    assert change.licenses is None


def test_priority_rises_with_urgency_with_debt_and_with_smallness(slurmctld: Slurmctld) -> None:
    def factor(**job: Any) -> float:
        return float(slurmctld.submit(tres_per_node="gres/gpu:1", **job).site_factor)

    usual = factor()
    assert 0 < usual < VERDICT.site_factor
    assert factor(qos="urgent") > usual
    assert factor(default_qos="urgent") > usual
    assert factor(user_name="bob") > usual
    assert factor(tres_per_job="gres/gpu:32") < usual


def test_what_the_sites_script_gave_is_added_to_and_may_be_negative(slurmctld: Slurmctld) -> None:
    usual = slurmctld.submit(min_cpus=1).site_factor
    assert slurmctld.submit(min_cpus=1, site_factor=100).site_factor == usual + 100
    assert slurmctld.submit(min_cpus=1, site_factor=-5000).site_factor == usual - 5000


def test_in_shadow_nothing_changes_and_the_log_says_what_would(start: Start) -> None:
    there = start(Verdict(NOW_S, 10_000, mode="Shadow", rated_w={"h100": 700.0}))
    job = there.submit(licenses="matlab:1,power:9", tres_per_node="gres/gpu:h100:2", partition="gpu")
    assert (job.licenses, job.site_factor) == ("matlab:1,power:9", NO_VAL)
    assert any("power:1400" in line for line in there.logged)


def test_a_wish_that_cannot_be_read_is_told_and_the_job_goes_on(slurmctld: Slurmctld) -> None:
    job = slurmctld.submit(comment="wattlease:max-slowdown=fa%st,pausable", tres_per_node="gres/gpu:1")
    assert job.licenses == "power:600"
    assert "max-slowdown=fa%st" in slurmctld.told[0]
    assert "PERCENT, 0 to 100" in slurmctld.told[0]
    slurmctld.submit(comment="wattlease:max-slowdown=5,pausable")
    assert len(slurmctld.told) == 1


RACKS = replace(VERDICT, resource="rackpower", room_w={"gpu/1": 4000, "gpu/2": 4000, "gpu/4": 2500})


@pytest.mark.parametrize(
    ("job", "licences"),
    [
        ({"tres_per_node": "gres/gpu:h100:4", "min_nodes": 1, "max_nodes": 1}, "power:2400,rackpower:2400"),
        ({"tres_per_node": "gres/gpu:h100:4", "min_nodes": 2, "max_nodes": 2}, "power:4800,rackpower:2400"),
        ({"tres_per_node": "gres/gpu:h100:8", "min_nodes": 1, "max_nodes": 1}, "power:4800,rackpower:4000"),
        ({"tres_per_node": "gres/gpu:h100:8", "min_nodes": 3, "max_nodes": 3}, "power:14400,rackpower:2500"),
        ({"tres_per_job": "gres/gpu:h100:4", "min_nodes": 2, "max_nodes": 2}, "power:2400,rackpower:1200"),
        ({"tres_per_node": "gres/gpu:h100:1", "licenses": "matlab:1,rackpower:9"}, "matlab:1,power:600,rackpower:600"),
        ({"tres_per_node": "gres/gpu:h100:1", "partition": "whole"}, "power:600"),
        ({"min_cpus": 4}, "power:20"),
    ],
)
def test_a_node_asks_its_rack_for_no_more_than_would_fit_were_it_empty(
    start: Start, job: dict[str, Any], licences: str
) -> None:
    there = start(RACKS)
    (there.folder / "etc/resources.yaml").write_text("- resource: rackpower\n  mode: MODE_3\n")
    there.start()
    assert there.submit(**job)["licenses"] == licences


def test_a_resource_that_slurmctld_has_not_read_is_not_asked_for(start: Start) -> None:
    assert start(RACKS).submit(tres_per_node="gres/gpu:h100:1")["licenses"] == "power:600"
