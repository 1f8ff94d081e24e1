"""The installer: what a site's Slurm lacks, the lines that cure it, and the files that are written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from wattlease_slurm.checks import Finding, Grade, findings
from wattlease_slurm.commands import slurm
from wattlease_slurm.install import install, looked_at, packaged
from wattlease_slurm.slurm_conf import Conf, shown, written

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "slurm_plugin"

GOOD = """
ClusterName=phoenix
SlurmctldHost=ctl1
Licenses=matlab:5,power:22400   # 32 GPUs of 700 W
JobSubmitPlugins=lua
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=20,bf_licenses
PriorityType=priority/multifactor
PreemptParameters=suspend_grace_time=5
JobRequeue=1
Prolog=/etc/slurm/prolog.d/*
Epilog=/etc/slurm/wattlease/wattlease-epilog.sh
PrologFlags=Contain
JobAcctGatherType=jobacct_gather/cgroup
JobAcctGatherParams=DisableGPUAcct
SuspendProgram=/etc/slurm/suspend.sh
NodeName=n[1-4] CPUs=64 Gres=gpu:h100:8
PartitionName=gpu Nodes=n[1-4] MaxTime=7-0 DefaultTime=60
"""
BARE = "ClusterName=phoenix\nNodeName=n1\nPartitionName=gpu Nodes=n1\n"
NEEDED = {"Licenses", "JobSubmitPlugins", "SchedulerParameters"}


def conf(tmp_path: Path, text: str, cgroup: str = "ConstrainDevices=yes\n") -> Conf:
    (tmp_path / "slurm.conf").write_text(text)
    (tmp_path / "cgroup.conf").write_text(cgroup)
    return written(tmp_path / "slurm.conf")


def graded(found: list[Finding], grade: Grade) -> set[str]:
    return {finding.about for finding in found if finding.grade == grade}


def test_a_site_that_has_everything_is_told_so(tmp_path: Path) -> None:
    found = findings(conf(tmp_path, GOOD), "power")
    assert graded(found, Grade.MISSING) | graded(found, Grade.BETTER) == set()


def test_a_bare_site_is_told_what_it_needs_and_what_it_had_better_have(tmp_path: Path) -> None:
    found = findings(conf(tmp_path, BARE, ""), "power")
    assert graded(found, Grade.MISSING) == NEEDED
    assert graded(found, Grade.BETTER) == {
        "PriorityType", "DefaultTime", "Prolog", "Epilog", "PrologFlags", "ConstrainDevices", "SuspendProgram"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("was", "now", "about", "grade"),
    [
        ("power:22400", "ansys:1", "Licenses", Grade.MISSING),
        ("power:22400", "power", "Licenses", Grade.MISSING),
        ("power:22400", "power:0", "Licenses", Grade.MISSING),
        ("=lua", "=cray", "JobSubmitPlugins", Grade.MISSING),
        (",bf_licenses", "", "SchedulerParameters", Grade.MISSING),
        ("sched/backfill", "sched/builtin", "SchedulerType", Grade.MISSING),
        ("suspend_grace_time=5", "reclaim_licenses,youngest_first", "PreemptParameters", Grade.MISSING),
        ("priority/multifactor", "priority/basic", "PriorityType", Grade.BETTER),
        ("JobRequeue=1", "JobRequeue=0", "JobRequeue", Grade.BETTER),
        ("MaxTime=7-0 DefaultTime=60", "MaxTime=UNLIMITED", "DefaultTime", Grade.BETTER),
        ("/etc/slurm/prolog.d/*", "/etc/slurm/prolog", "Prolog", Grade.BETTER),
        ("Contain", "NoHold", "PrologFlags", Grade.BETTER),
        ("=DisableGPUAcct", "=NoShared", "JobAcctGatherParams", Grade.BETTER),
        ("SuspendProgram=/etc/slurm/suspend.sh", "", "SuspendProgram", Grade.BETTER),
    ],
)
def test_what_is_missing_is_found_and_the_advised_line_cures_it(
    tmp_path: Path, was: str, now: str, about: str, grade: Grade
) -> None:
    assert was in GOOD
    before = GOOD.replace(was, now)
    found = findings(conf(tmp_path, before), "power")
    assert [f.about for f in found if f.grade != Grade.OK] == [about]
    wrong = next(f for f in found if f.about == about)
    assert wrong.grade == grade
    line = wrong.line.replace("<rated watts of all GPUs together>", "22400").replace("<your script>", "/bin/off")
    after = findings(conf(tmp_path, before + line.replace(" ...", " Nodes=n[1-4]") + "\n"), "power")
    assert {f.about for f in after if f.grade != Grade.OK} == set()
    kept = {"Licenses": "matlab:5", "SchedulerParameters": "bf_interval=20", "PreemptParameters": "youngest_first"}
    assert kept.get(about, "") in line


def test_what_slurmctld_says_counts_as_what_the_file_says() -> None:
    said = """Configuration data as of 2026-11-21T08:25:56
        Licenses                = power:10000
        JobSubmitPlugins        = (null)
        Prolog[0]               = /etc/slurm/first.sh
        Prolog[1]               = /etc/slurm/wattlease/wattlease-prolog.sh
        SLURM_CONF              = /usr/local/etc/slurm.conf
        SLURM_VERSION           = 21.08.8

        Cgroup Support Configuration:
        ConstrainDevices        = yes
    """
    gpu, cpu = (
        "PartitionName=gpu\n   DefaultTime=NONE MaxTime=UNLIMITED\n",
        "PartitionName=cpu\n   MaxTime=7-00:00:00\n",
    )
    conf = shown(said, f"{gpu}\n{cpu}")
    found = findings(conf, "power")
    assert {"Slurm", "JobSubmitPlugins"} <= graded(found, Grade.MISSING)
    assert {"Licenses", "Prolog", "ConstrainDevices"} <= graded(found, Grade.OK)
    assert [f.told[:3] for f in found if f.about == "DefaultTime" and f.grade == Grade.BETTER] == ["gpu"]
    assert str(conf.folder) == "/usr/local/etc"


def test_included_files_comments_and_continued_lines_are_read_as_slurm_reads_them(tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text(
        "licenses=power:5000\nPartitionName=DEFAULT MaxTime=60\nPartitionName=a Nodes=n1\n"
    )
    found = conf(
        tmp_path, "#Licenses=x:1\nInclude more.conf\nInclude none.conf\nSchedulerParameters=a,\\\nbf_licenses\n"
    )
    assert found.words("Licenses") == ["power:5000"]
    assert "bf_licenses" in found.value("SchedulerParameters")
    assert found.partitions["a"]["maxtime"] == "60"


def test_files_are_written_whole_and_again_only_when_they_differ(tmp_path: Path) -> None:
    assert all(told.endswith(": written") for told in install(tmp_path))
    assert all(told.endswith(": as it was") for told in install(tmp_path))
    assert {f.grade for f in looked_at(tmp_path)} == {Grade.OK}
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == {
        file.name for file in packaged()
    }
    assert os.access(tmp_path / "wattlease/wattlease-prolog.sh", os.X_OK)
    (tmp_path / "wattlease/watts.lua").write_text("-- old\n")
    assert {f.about for f in looked_at(tmp_path) if f.grade == Grade.MISSING} == {"wattlease/watts.lua"}


def test_the_script_that_slurmctld_looks_at_is_written_after_its_parts() -> None:
    assert packaged()[-1].name == "job_submit.lua"


def test_a_sites_own_settings_stay_through_an_update(tmp_path: Path) -> None:
    list(install(tmp_path, {"VERDICT": '"/run/other/verdict"', "MODE": '"Shadow"'}))
    script = tmp_path / "job_submit.lua"
    script.write_text(
        script.read_text().replace("REFUSE_ON_SITE_ERROR = false", "REFUSE_ON_SITE_ERROR = true") + "-- x\n"
    )
    list(install(tmp_path))
    assert "REFUSE_ON_SITE_ERROR = true" in script.read_text()
    assert not script.read_text().endswith("-- x\n")
    verdict = (tmp_path / "wattlease/verdict.lua").read_text()
    assert 'local VERDICT = "/run/other/verdict"\n' in verdict
    assert 'local MODE = "Shadow"\n' in verdict
    assert {f.grade for f in looked_at(tmp_path)} == {Grade.OK}


def test_a_sites_own_submit_script_is_kept_beside_ours_and_never_lost(tmp_path: Path) -> None:
    (tmp_path / "job_submit.lua").write_text("-- theirs\n")
    list(install(tmp_path))
    assert (tmp_path / "job_submit_site.lua").read_text() == "-- theirs\n"
    list(install(tmp_path))
    assert (tmp_path / "job_submit_site.lua").read_text() == "-- theirs\n"
    (tmp_path / "job_submit.lua").write_text("-- another\n")
    with pytest.raises(FileExistsError, match="taken"):
        list(install(tmp_path))
    assert (tmp_path / "job_submit.lua").read_text() == "-- another\n"


def test_the_files_are_found_in_an_installed_wheel_too(tmp_path: Path) -> None:
    package = tmp_path / "site/wattlease_slurm"
    shutil.copytree(PLUGIN / "wattlease_slurm", package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("lua", "prolog", "epilog", "systemd"):
        shutil.copytree(PLUGIN / name, package / "files" / name)
    code = "from wattlease_slurm import install; print(install.__file__, len(install.packaged()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(package.parent)},
    )
    assert done.stdout.split() == [str(package / "install.py"), str(len(packaged()))], done.stderr


def test_the_command_ends_with_1_where_something_is_missing_and_prints_the_lines(tmp_path: Path) -> None:
    conf(tmp_path, BARE)
    told = CliRunner().invoke(slurm, ["install", "--check", "--config", str(tmp_path / "slurm.conf")])
    assert told.exit_code == 1
    assert "    JobSubmitPlugins=lua\n" in told.output
    assert f"    wattlease slurm install --to {tmp_path}\n" in told.output
    conf(tmp_path, GOOD)
    both = ["install", "--to", str(tmp_path), "--check", "--config", str(tmp_path / "slurm.conf")]
    cured = CliRunner().invoke(slurm, both)
    assert cured.exit_code == 0, cured.output
    assert "nothing is missing" in cured.output


def test_the_command_asks_slurmctld_and_says_when_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no scontrol here" in CliRunner().invoke(slurm, ["install", "--check"]).output
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(
        f"#!/bin/sh\n[ $2 = config ] && echo 'Licenses = power:1' && echo 'SLURM_CONF = {tmp_path}/slurm.conf'\n"
    )
    scontrol.chmod(0o755)
    told = CliRunner().invoke(slurm, ["install", "--check"])
    assert "scontrol:" in told.output, "the second question fails"
    scontrol.write_text(scontrol.read_text() + "exit 0\n")
    told = CliRunner().invoke(slurm, ["install", "--check"])
    assert told.exit_code == 1
    assert "ok       Licenses: has power:1" in told.output


@pytest.mark.parametrize("words", [[], ["--to", "x", "--licence", 'a"b']])
def test_a_command_that_cannot_be_meant_is_refused(words: list[str], tmp_path: Path) -> None:
    assert CliRunner().invoke(slurm, ["install", *(str(tmp_path / w) if w == "x" else w for w in words)]).exit_code == 2
    assert not (tmp_path / "x").exists()
