"""Prolog and epilog as a shell runs them, the unit as systemd reads it, and the examples as jobs run them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from wattlease.agent.jobs import Holding
from wattlease.agent.jobs.mapping import mapped
from wattlease_slurm.wishes import Wishes, read

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "slurm_plugin"
UNIT = PLUGIN / "systemd/wattlease-slurm.service"
EXAMPLES = ROOT / "examples/slurm"
HINTS = {"PYTHONPATH": str(ROOT / "src")}


class Node:
    """A node's prolog and epilog, with their folder elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.scripts = folder / "gpus", folder
        for name in ("prolog", "epilog"):
            text = (PLUGIN / name / f"wattlease-{name}.sh").read_text(encoding="utf-8")
            assert "folder=/run/wattlease/gpus\n" in text
            (folder / name).write_text(text.replace("/run/wattlease/gpus", str(self.folder)))

    def begin(self, name: str, job: str, gpus: str | None = None) -> subprocess.Popen[str]:
        """Start one of the two as slurmd does, with its own environment and no more."""
        environment = {
            "PATH": "/usr/bin:/bin",
            "SLURM_JOB_ID": job,
            **({} if gpus is None else {"SLURM_JOB_GPUS": gpus}),
        }
        words = ["/bin/sh", str(self.scripts / name)]
        return subprocess.Popen(words, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, name: str, job: str, gpus: str | None = None) -> None:
        """Run it; it must end well and quietly."""
        done = self.begin(name, job, gpus)
        assert (done.communicate(timeout=20)[0], done.returncode) == ("", 0)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_what_the_prolog_writes_is_what_the_agent_reads(node: Node) -> None:
    node.run("prolog", "4711", "0,2-3")
    node.run("prolog", "4712", "3")
    node.run("prolog", "4711", "0,2-3")
    held = [Holding("4711", "0"), Holding("4711", "2"), Holding("4711", "3"), Holding("4712", "3")]
    assert mapped(node.folder) == tuple(held)
    node.run("epilog", "4711")
    assert mapped(node.folder) == (Holding("4712", "3"),)
    assert sorted(path.name for path in node.folder.iterdir()) == [".lock", "3"]
    node.run("epilog", "471")
    node.run("epilog", "4712")
    assert mapped(node.folder) == ()


@pytest.mark.parametrize(
    ("job", "gpus"), [("", "0"), ("7; touch x", "0"), ("7", ""), ("7", None), ("7", "0;ls"), ("7", "../x")]
)
def test_what_is_no_job_or_has_no_gpu_leaves_nothing(node: Node, job: str, gpus: str | None) -> None:
    node.run("prolog", job, gpus)
    assert not node.folder.exists()


def test_a_folder_that_cannot_be_made_fails_no_job(node: Node) -> None:
    node.folder.write_text("in the way")
    node.run("prolog", "7", "0")
    node.run("epilog", "7")


def test_jobs_that_start_and_end_at_once_lose_no_line(node: Node) -> None:
    node.run("prolog", "1", "0")
    running = [node.begin("prolog", str(job), "0") for job in range(2, 12)] + [node.begin("epilog", "1")]
    assert [done.wait(timeout=20) for done in running] == [0] * 11
    held = mapped(node.folder)
    assert isinstance(held, tuple)
    assert {holding.job for holding in held} == {str(job) for job in range(2, 12)}


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_the_daemon_has_no_power_of_root_and_leaves_everything_as_it_is_when_it_stops() -> None:
    said = unit()
    assert not {name for name in said if name.startswith(("ExecStop", "ExecReload"))}
    assert said["CapabilityBoundingSet"] == said["AmbientCapabilities"] == [""]
    assert said["User"] == ["slurm"]
    assert not [value for values in said.values() for value in values if "#" in value]


def test_systemd_takes_the_unit(systemd_says: Callable[[Path], list[str]]) -> None:
    assert systemd_says(UNIT) == []


SCRIPTS = sorted(EXAMPLES.glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_an_examples_wishes_can_be_read_and_its_script_is_one(script: Path) -> None:
    comments = re.findall(r'^#SBATCH --comment="(.*)"$', script.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(comments) == 1
    wishes = read(comments[0])
    assert isinstance(wishes, Wishes)
    assert wishes != Wishes()
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_training_example_saves_itself_on_usr1_and_goes_on_where_it_was(tmp_path: Path) -> None:
    checkpoint = tmp_path / "saved.json"
    words = [sys.executable, str(EXAMPLES / "train.py"), "--checkpoint", str(checkpoint)]
    environment = {**os.environ, **HINTS, "WATTLEASE_HINTS": str(tmp_path)}
    endless = [*words, "--steps", "1000000000", "--every", "1000000000"]
    with subprocess.Popen(endless, env=environment, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert [next(job.stdout), next(job.stdout)] == ["begins at step 0\n", "saved step 0\n"]
        time.sleep(0.3)
        job.send_signal(signal.SIGUSR1)
        saved = int(next(job.stdout).removeprefix("saved step "))
        job.kill()
    assert saved > 0
    assert json.loads(checkpoint.read_text())["step"] == saved
    again = [*words, "--steps", str(saved + 300)]
    done = subprocess.run(again, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(f"begins at step {saved}\n")
    loss = float(done.stdout.split()[-1])
    assert loss < 0.5


def test_the_serving_example_answers_with_the_model_that_the_hint_names(tmp_path: Path) -> None:
    environment = {**os.environ, **HINTS, "WATTLEASE_HINTS": str(tmp_path)}
    words = [sys.executable, str(EXAMPLES / "serve.py"), "--port", "0"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        address = f"http://127.0.0.1:{next(job.stdout).split()[-1]}/?words=5"
        try:
            assert said(address).startswith("large: ")
            hint = {
                "schema": 1, "sequence": 1, "checkpoint_sequence": 0, "batch_frac": 0.1, "checkpoint": False,
                "pause": False, "variant": "small", "speed_frac": 1.0, "why": "", "valid_s": 30,
                "written_s": time.time(),
            }  # fmt: skip
            (tmp_path / "hint.json").write_text(json.dumps(hint))
            assert said(address).startswith("small: ")
            assert len(said(address).split()) >= 5
        finally:
            job.kill()


def said(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return str(answer.read(), "utf-8")
