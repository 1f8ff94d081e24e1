from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, version

import numpy as np
import orjson
import pytest
from click.testing import CliRunner

from wattlease.core.decide import decide
from wattlease.core.memory import FRESH
from wattlease.core.model import NONE
from wattlease.runtime.cli import Commands, main
from wattlease.runtime.record import Recorder, read


@pytest.fixture
def path(tmp_path, night, evenly):
    memory = FRESH
    with Recorder(tmp_path / "record.jsonl") as recorder:
        for snapshot in night:
            plan, after = evenly(snapshot, memory)
            if snapshot is night[5]:
                alone = replace(snapshot.gpus, job=np.array([0, NONE]))
                snapshot = replace(snapshot, jobs=one_job(snapshot.jobs), gpus=alone)
                plan = replace(plan, cap_w=plan.cap_w[:1], job_w=plan.job_w[:1], speed_frac=plan.speed_frac[:1],
                               cost_per_h=plan.cost_per_h[:1])  # fmt: skip
            recorder.write(snapshot, plan, memory)
            memory = after
    return tmp_path / "record.jsonl"


def one_job(jobs):
    return type(jobs)(*(getattr(jobs, name)[:1] for name in jobs.__dataclass_fields__))


def run(*words) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(w) for w in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_help_lists_every_command_with_its_line() -> None:
    code, out = run("--help")
    assert code == 0
    words = " ".join(out.split())  # the column is as wide as the longest name
    assert "replay Decide every recorded tick again" in words
    assert "explain Tell what happened to a job or a node" in words


def test_help_loads_neither_the_solver_nor_the_charts() -> None:
    asked = "import sys; from wattlease.runtime.cli import main; main(['--help'], standalone_mode=False);"
    heavy = "print([m for m in ('scipy', 'plotly', 'aiohttp') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked + heavy], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_package_s() -> None:
    assert run("--version") == (0, f"wattlease, version {version('wattlease')}\n")


def test_a_command_whose_package_is_missing_is_listed_and_refuses() -> None:
    group = Commands("wattlease")
    group._points = {"agent": EntryPoint("agent", "a_package_that_is_not_there:agent", "wattlease.commands")}
    shown = CliRunner().invoke(group, ["--help"])
    assert "agent  Not available: No module named 'a_package_that_is_not_there'" in shown.output
    called = CliRunner().invoke(group, ["agent", "--node", "n1"])
    assert called.exit_code == 2
    assert "wattlease agent is not available here" in called.output


def test_a_command_that_nobody_has_is_refused() -> None:
    code, out = run("fly")
    assert code == 2
    assert "No such command 'fly'" in out


@pytest.mark.parametrize("command", ["replay", "explain"])
def test_an_unusable_file_is_told_without_a_traceback(tmp_path, command) -> None:
    (tmp_path / "file").write_text("once upon a time\nthere was no record\n")
    code, out = run(command, tmp_path / "file")
    assert code == 2
    assert "line 1 is corrupt" in out
    assert "Traceback" not in out


def test_a_record_of_another_policy_differs_at_its_first_tick(path) -> None:
    code, out = run("replay", path)
    assert code == 1
    assert "tick 1 (2025-05-03 23:30:00 UTC, line 3): " in out


def test_a_record_of_this_policy_replays(tmp_path, night, record) -> None:
    record(tmp_path / "record.jsonl", night, decide)
    code, out = run("replay", tmp_path / "record.jsonl")
    assert (code, out.split(": ")[1]) == (0, "6 ticks decided again, byte for byte the same\n")


def test_jobs_are_listed_with_their_last_sentence(path) -> None:
    code, out = run("explain", path)
    assert code == 0
    head, first, second = (line.split("\t") for line in out.splitlines())
    capped = "capped at 350 W a GPU, keeps 87.5%, under hall's 7.0 kW (static)"
    assert head[-1] == "last"
    assert (first[0], first[4], first[-1]) == ("j1", "running", capped)
    assert (second[0], second[4], second[-1]) == ("j2", "ended", capped)


def test_a_job_s_story_is_told_in_order_with_its_cost(path) -> None:
    code, out = run("explain", path, "j2")
    assert code == 0
    head, sentence, cost, *told = out.splitlines()
    capped = "capped at 350 W a GPU, keeps 87.5%, under hall's 7.0 kW (static)"
    assert (head, sentence) == ("job j2 (tune, bob): ended, 1 GPUs", capped)
    assert cost == "cost of steering so far: 0.15"  # 36, 72, 108, 144 and 180 an hour, a second each
    assert [line.split("\t") for line in told[1:]] == [
        ["2025-05-03 23:30:00", "first seen released", ""],
        ["2025-05-03 23:30:01", "released", "released: j2 needs 0.3 kW, 5 kW left"],
        ["2025-05-03 23:30:02", "is running", ""],
        ["2025-05-03 23:30:03", "capped at 350 W a GPU", capped],
        ["2025-05-03 23:30:05", "ended", ""],
    ]


def test_a_job_is_found_by_its_name(path) -> None:
    assert run("explain", path, "tune") == run("explain", path, "j2")


def test_a_story_ends_where_it_is_asked_to(path) -> None:
    for at in ("2025-05-03T23:30:02Z", "2025-05-03 23:30:02", "2025-05-04T01:30:02+02:00", "1746315002"):
        code, out = run("explain", path, "j1", "--at", at)
        assert code == 0
        assert "as of 2025-05-03 23:30:02 UTC; cap 400 W a GPU; draws 400 W; keeps 100.0% of its speed" in out


def test_a_time_that_is_none_is_refused(path) -> None:
    code, out = run("explain", path, "--at", "noon")
    assert code == 2
    assert "'noon' is no time; write 2025-05-03T23:30:00Z" in out


def test_a_node_s_grant_is_told_with_what_limited_it(path) -> None:
    code, out = run("explain", path, "n2")
    assert code == 0
    assert "node n2 (a): granted 2.8 kW" in out
    assert "limited by hall (static)" in out
    assert [line.split("\t")[1] for line in out.splitlines()[-2:]] == ["granted 3.2 kW", "granted 2.8 kW"]


def test_a_name_that_nobody_has_is_refused_with_those_there_are(path) -> None:
    code, out = run("explain", path, "j9")
    assert code == 2
    assert "no job or node j9; the jobs are j1, j2" in out


@pytest.mark.parametrize("name", [[], ["j1"], ["n1"]])
def test_json_is_for_programs(path, name) -> None:
    code, out = run("explain", path, *name, "--json")
    assert code == 0
    story = orjson.loads(out)
    assert (story[0] if not name else story)["id"] == (name or ["j1"])[0]


def test_names_from_outside_do_not_steer_the_terminal(path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"ada"', b'"\\u001b[2Jada"'))
    assert next(read(path)).snapshot.jobs.owner[0] == "\x1b[2Jada"
    assert "\x1b" not in run("explain", path)[1] + run("explain", path, "j1")[1]
