"""The submit script where jobs are changed, and whatever is asked of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lua_slurmctld import NO_VAL, NO_VAL16, VERDICT, Slurmctld


def test_a_user_keeps_the_watts_of_a_job_and_is_told(slurmctld: Slurmctld) -> None:
    had = {"licenses": "matlab:1,power:1200", "tres_per_node": "gres/gpu:h100:2", "min_nodes": 1}
    for asked, left in (
        ("power:1", "power:1200"),
        ("matlab:2", "matlab:2,power:1200"),
        ("matlab:2,power:1200", "matlab:2,power:1200"),
        ("", "power:1200"),
        ("power:9000", "power:1200"),
        ("matlab|ansys", "matlab:1,power:1200"),
    ):
        assert slurmctld.modify(had, licenses=asked).licenses == left
        assert slurmctld.modify({**had, "job_state": 1}, licenses=asked).licenses == left
    assert len(slurmctld.told) == 10
    assert all("power:1200" in line for line in slurmctld.told)
    assert slurmctld.modify({"licenses": "a|b"}, licenses="b|c").licenses == "b|c"


@pytest.mark.parametrize("uid", [0, 64030, 1001])
def test_operators_and_the_daemon_change_licences_as_they_like(slurmctld: Slurmctld, uid: int) -> None:
    assert slurmctld.modify({"licenses": "power:1200"}, uid, licenses="power:1").licenses == "power:1"


def test_root_that_changes_its_own_job_is_an_operator(slurmctld: Slurmctld) -> None:
    assert slurmctld.modify({"licenses": "power:1200", "user_id": 0}, 0, licenses="power:1").licenses == "power:1"


def test_a_request_that_grows_while_it_waits_asks_for_more_and_one_that_shrinks_for_no_less(
    slurmctld: Slurmctld,
) -> None:
    had = {"licenses": "matlab:1,power:1200", "tres_per_node": "gres/gpu:h100:2", "min_nodes": 1, "max_nodes": 0}
    assert slurmctld.modify(had, tres_per_node="gres/gpu:h100:4").licenses == "matlab:1,power:2400"
    assert slurmctld.modify(had, min_nodes=3).licenses == "matlab:1,power:3600"
    assert slurmctld.modify(had, shared=0).licenses == "matlab:1,power:4800"
    assert slurmctld.modify(had, tres_per_node="gres/gpu:h100:1").licenses is None
    assert slurmctld.modify({**had, "job_state": 1}, min_nodes=3).licenses is None
    assert slurmctld.modify(had, time_limit=5).licenses is None


def test_a_change_of_wishes_is_looked_over(slurmctld: Slurmctld) -> None:
    slurmctld.modify({"licenses": "power:1200"}, comment="wattlease:fast")
    assert "'fast'" in slurmctld.told[0]


text = (
    st.none()
    | st.text(max_size=12)
    | st.sampled_from(
        [
            "gpu",
            "cpu,gpu",
            "gres/gpu:h100:4",
            "gres:gpu:1g.10gb:2",
            "power:5,matlab",
            "a|b",
            "wattlease:pausable",
            ",,",
            "gres/gpu:-3",
        ]
    )
)
count = st.none() | st.sampled_from([0, 1, NO_VAL, NO_VAL16, 2**32 - 1, 65535]) | st.integers(0, 2**32 - 1)
JOBS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("account", "comment", "licenses", "name", "partition", "qos", "user_name"), text),
        **{f"tres_per_{per}": text for per in ("job", "node", "socket", "task")},
        **dict.fromkeys(("min_nodes", "max_nodes", "min_cpus", "num_tasks", "shared", "cpus_per_task"), count),
        **dict.fromkeys(("ntasks_per_node", "ntasks_per_tres", "sockets_per_node", "site_factor"), count),
    },
)


def cleaned(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if value is not None}


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(JOBS)
def test_no_job_makes_the_script_fail_or_ask_for_less_than_nothing_or_more_than_there_is(
    running: Slurmctld, job: dict[str, Any]
) -> None:
    before = len(running.logged)
    left = running.submit(**cleaned(job))
    assert not [line for line in running.logged[before:] if "goes on as it is" in line]
    licences = str(left.licenses or "")
    ours = [word for word in licences.split(",") if word.startswith("power:")]
    if "|" not in licences:
        assert len(ours) <= 1
        assert all(0 < int(word[6:]) <= VERDICT.total_w for word in ours)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(JOBS, JOBS, st.sampled_from([0, 1000, 1001]), st.integers(0, 20))
def test_no_change_makes_the_script_fail_or_lowers_a_users_own_watts(
    running: Slurmctld, job: dict[str, Any], change: dict[str, Any], uid: int, state: int
) -> None:
    record = {**cleaned(job), "licenses": "matlab:1,power:300", "job_state": state}
    before = len(running.logged)
    asked = running.modify(record, uid, **cleaned(change))
    assert not [line for line in running.logged[before:] if "goes on as it is" in line]
    if uid == 1000 and asked.licenses is not None:
        assert sum(int(word[6:]) for word in str(asked.licenses).split(",") if word.startswith("power:")) >= 300
