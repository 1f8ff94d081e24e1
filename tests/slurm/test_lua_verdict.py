"""The submit script without a verdict, with an old one and with garbage, and beside the site's own script."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from lua_slurmctld import NO_VAL, NOW_S, SCRIPT, VERDICT, VERSIONS, RefusedError, Slurmctld

from wattlease_slurm.verdict import Verdict, draw_key

Start = Callable[..., Slurmctld]


def test_without_a_verdict_jobs_ask_for_rated_watts_of_the_licence_in_slurm_conf(start: Start) -> None:
    there = start(None, conf="ClusterName=c\nlicenses=matlab:3,power:5000\n")
    assert there.power(tres_per_node="gres/gpu:h100:2", min_nodes=1) == 1400
    assert there.power(tres_per_node="gres/gpu:2") == 2800
    assert there.power(tres_per_node="gres/gpu:nvidia_a100-sxm4-40gb:2") == 800
    assert there.power(tres_per_node="gres/gpu:gb200:2") == 2400
    assert there.power(tres_per_node="gres/gpu:8") == 5000
    assert there.power(tres_per_node="gres/gpu:h100:1", shared=0) == 5000
    assert there.power(min_cpus=64) == 0
    assert len([line for line in there.logged if "no verdict" in line]) == 1


def test_without_a_verdict_and_without_the_licence_no_job_is_touched(start: Start) -> None:
    there = start(None, conf="#Licenses=power:5000\nLicenses=empower:1\n")
    job = there.submit(tres_per_node="gres/gpu:h100:2")
    assert (job.licenses, job.site_factor) == (None, NO_VAL)
    assert any("no Licenses=power" in line for line in there.logged)


GARBAGE = [
    "",
    "\0\0\0",
    "wattlease=1\n" * 9,
    VERDICT.text[:-1],
    VERDICT.text.replace("total=100000", "total=much"),
    "=\n==",
]


@pytest.mark.parametrize("garbage", [*GARBAGE, VERDICT.text.replace("wattlease=1\n", "wattlease=2\n")])
def test_a_verdict_that_is_garbage_counts_as_none(start: Start, garbage: str) -> None:
    there = start(garbage, conf="Licenses=power:5000")
    assert there.power(tres_per_node="gres/gpu:h100:2") == 1400
    assert any("cannot be read as a verdict" in line for line in there.logged)


@pytest.mark.parametrize("then", [None, *GARBAGE])
def test_the_last_good_verdict_holds_until_it_runs_out_and_its_rated_watts_after(
    start: Start, then: str | None
) -> None:
    there = start()
    assert there.power(tres_per_node="gres/gpu:h100:2") == 1200
    there.say(then)
    there.at(NOW_S + 30)
    assert there.power(tres_per_node="gres/gpu:h100:2") == 1200
    there.at(NOW_S + 61)
    assert there.power(tres_per_node="gres/gpu:h100:2") == 1400
    assert there.power(tres_per_job="gres/gpu:h100:200") == 100_000
    assert there.logged[-1].endswith("jobs ask for rated watts")


def test_a_verdict_that_is_old_or_from_the_future_counts_at_rated_watts_and_a_new_one_ends_that(start: Start) -> None:
    there = start()
    for second, watts in ((0, 600), (61, 700), (62, 700), (-61, 700), (2, 600)):
        there.at(NOW_S + second)
        assert there.power(tres_per_node="gres/gpu:h100:1") == watts
    there.say(Verdict(NOW_S + 99, 100_000, rated_w={"h100": 650.0}))
    assert there.power(tres_per_node="gres/gpu:h100:1") == 600, "it was looked at in this second already"
    there.at(NOW_S + 100)
    assert there.power(tres_per_node="gres/gpu:h100:1") == 650


def test_only_the_time_of_an_unchanged_verdict_is_taken_up(start: Start) -> None:
    there = start()
    there.at(NOW_S + 100)
    there.say(Verdict(**{**{n: getattr(VERDICT, n) for n in Verdict.__slots__}, "written_s": NOW_S + 100.0}))
    assert there.power(tres_per_node="gres/gpu:h100:1") == 600


SITE = """
calls = (calls or 0) + 1
local function only(job, uid)
  if job.account == nil then slurm.log_user("name an account") return slurm.ESLURM_INVALID_LICENSES end
  if job.account == "broken" then error("oh") end
  job.partition = "gpu"
  return slurm.SUCCESS
end
function slurm_job_submit(job, parts, uid) return only(job, uid) end
function slurm_job_modify(job, record, parts, uid) return job.comment == "no" and slurm.ERROR or slurm.SUCCESS end
return slurm.SUCCESS
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_sites_own_script_is_asked_first_and_may_refuse(tmp_path: Path, version: str) -> None:
    there = Slurmctld(tmp_path, version, VERDICT)
    (there.folder / "etc/job_submit_site.lua").write_text(SITE)
    there.start()
    with pytest.raises(RefusedError, match="2048"):
        there.submit(tres_per_node="gres/gpu:1")
    assert there.told == ["name an account"]
    assert there.power(tres_per_node="gres/gpu:1", account="a", partition="cpu") == 600
    with pytest.raises(RefusedError):
        there.modify({}, comment="no")
    assert there.lua.globals().calls is None, "its globals are its own"


def test_a_sites_script_that_fails_is_logged_and_the_job_goes_on(start: Start) -> None:
    there = start(site=SITE)
    assert there.power(account="broken", tres_per_node="gres/gpu:1") == 600
    assert any("oh" in line for line in there.logged)


def test_a_sites_script_is_read_again_when_it_changes_and_a_broken_one_changes_nothing(start: Start) -> None:
    there = start(site=SITE)
    script = there.folder / "etc/job_submit_site.lua"
    for second, text, refused in ((1, "function (", True), (2, "", False), (3, SITE, True), (4, "error('x')", True)):
        script.write_text(text)
        there.at(NOW_S + second)
        if refused:
            with pytest.raises(RefusedError):
                there.submit()
        else:
            there.submit()
    script.unlink()
    there.at(NOW_S + 5)
    there.submit()


@pytest.mark.parametrize("part", ["wishes", "verdict", "watts"])
@pytest.mark.parametrize("broken", [None, "x x"])
def test_a_part_that_is_missing_or_broken_leaves_jobs_as_they_are(start: Start, part: str, broken: str | None) -> None:
    there = start()
    path = there.folder / f"etc/wattlease/{part}.lua"
    path.unlink() if broken is None else path.write_text(broken)
    there.start()
    job = there.submit(tres_per_node="gres/gpu:1", licenses="matlab:1")
    there.modify({"licenses": "power:1"}, licenses="power:2")
    assert job.licenses == "matlab:1"
    assert len(there.logged) == 1
    assert f"{part}.lua" in there.logged[0]


def test_nothing_in_the_script_runs_a_program_or_opens_a_socket() -> None:
    for path in SCRIPT.rglob("*.lua"):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"\b(?:os\.(?!time\b)\w+|io\.(?!open\b)\w+|require|package)\b", text)


def test_a_submit_costs_little_more_with_a_full_verdict(start: Start) -> None:
    many = {draw_key(f"user{i}", "train", "h100"): 500.0 for i in range(4096)}
    there = start(Verdict(NOW_S, 100_000, rated_w={"h100": 700.0}, draw_w=many))
    there.submit(tres_per_node="gres/gpu:h100:4")
    began_s = os.times().user
    for second in range(200):
        there.at(NOW_S + second * 0.1)
        there.submit(tres_per_node="gres/gpu:h100:4", user_name="user7", name="train-3")
    assert (os.times().user - began_s) / 200 < 0.002
