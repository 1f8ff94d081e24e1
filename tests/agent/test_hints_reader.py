"""The package that goes into jobs' images: small, alone, old enough, quick; and the loops that the document shows."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import threading
import time
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import wattlease_hints
from wattlease.agent.hints import HintFolder
from wattlease.runtime.lease.report import Hint
from wattlease_hints import Job

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "src/wattlease_hints").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_imports_nothing_but_the_standard_library_and_itself(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    named = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    named |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name.split(".")[0] for name in named} <= sys.stdlib_module_names | {"wattlease_hints"}


def test_asking_costs_less_than_20_microseconds(tmp_path: Path) -> None:
    HintFolder(tmp_path).write([Hint(job="7", batch_frac=0.5, why="the rack is at its limit")])
    job = Job(str(tmp_path / "7"))
    assert job.read().fresh
    calls = 5000
    there_s = min(timeit.repeat(job.read, number=calls, repeat=5)) / calls
    absent_s = min(timeit.repeat(Job(str(tmp_path / "none")).read, number=calls, repeat=5)) / calls
    print(f"\nwattlease_hints.read(): {there_s * 1e6:.2f} us with a hint, {absent_s * 1e6:.2f} us without")
    assert there_s < 20e-6
    assert absent_s < 20e-6


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"WATTLEASE_HINTS": "/x/y"}, "/x/y"),
        ({"WATTLEASE_HINTS": "/x/y/hint.json", "SLURM_JOB_ID": "7"}, "/x/y"),
        ({"SLURM_JOB_ID": "4711"}, "/run/wattlease/hints/4711"),
        ({"SLURM_JOB_ID": "../4711"}, "/run/wattlease/job"),
        ({}, "/run/wattlease/job"),
    ],
)
def test_a_job_finds_its_folder(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], folder: str) -> None:
    for name in ("WATTLEASE_HINTS", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Job().folder == folder


def test_a_hint_is_whole_whenever_it_is_read(tmp_path: Path) -> None:
    agent, job, over = HintFolder(tmp_path), Job(str(tmp_path / "7")), threading.Event()

    def write() -> None:
        for step in range(400):
            frac = (step % 100 + 1) / 100
            agent.write([Hint(job="7", batch_frac=frac, speed_frac=frac, why="x" * (step % 50))])
        over.set()

    writer = threading.Thread(target=write)
    agent.write([Hint(job="7", batch_frac=0.01, speed_frac=0.01)])
    writer.start()
    seen = set()
    while not over.is_set():
        hint = job.read()
        assert hint.fresh
        assert hint.batch_frac == hint.speed_frac
        seen.add(hint.sequence)
    writer.join()
    assert len(seen) > 1


Loops = dict[str, Callable[..., Any]]


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loops]:
    """The functions that docs/agent.md shows, with a reader that looks into this test's folder."""
    monkeypatch.setenv("WATTLEASE_HINTS", str(tmp_path / "7"))
    module: ModuleType = importlib.reload(wattlease_hints)
    text = (ROOT / "docs/agent.md").read_text(encoding="utf-8")
    loops: Loops = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, loops)
    yield loops
    monkeypatch.undo()
    importlib.reload(module)


def test_the_training_loop_of_the_document_downsizes_checkpoints_and_pauses(shown: Loops, tmp_path: Path) -> None:
    agent = HintFolder(tmp_path, shared=True)
    batches: list[int] = []
    saved: list[int] = []
    waited_s: list[float] = []

    def step(batch: int) -> None:
        batches.append(batch)
        match len(batches):
            case 3:
                agent.write([Hint(job="7", batch_frac=0.5)])
            case 6:
                agent.write([Hint(job="7", batch_frac=0.5, checkpoint=True, pause=True)])
                resume = Hint(job="7", batch_frac=0.25)
                threading.Timer(0.3, lambda: agent.write([resume])).start()
                waited_s.append(time.monotonic())
            case 7:
                waited_s.append(time.monotonic())

    agent.write([Hint(job="7")])
    shown["train"](9, 64, step, lambda: saved.append(len(batches)))
    assert batches == [64, 64, 64, 32, 32, 32, 32, 16, 16]
    assert saved == [6]
    assert waited_s[1] - waited_s[0] > 0.3
    said = agent.said("7")
    assert said is not None
    assert said.checkpoint_age_s is not None  # type: ignore[union-attr]


def test_the_serving_loop_of_the_document_takes_fewer_and_changes_its_model(shown: Loops, tmp_path: Path) -> None:
    agent = HintFolder(tmp_path, shared=True)
    agent.write([Hint(job="7")])
    answered: list[int] = []
    loaded: list[str] = []

    def answer(requests: list[int]) -> None:
        answered.append(len(requests))
        agent.write([Hint(job="7", batch_frac=0.25, variant="small")])

    shown["serve"](list(range(14)), 8, answer, loaded.append)
    assert answered == [8, 2, 2, 2]
    assert loaded == ["small"]


def test_ranks_agree_on_what_the_first_one_reads(shown: Loops, tmp_path: Path) -> None:
    HintFolder(tmp_path).write([Hint(job="7", batch_frac=0.5)])
    first = shown["agreed"](0, lambda value: value)
    assert first.batch_frac == 0.5
    assert shown["agreed"](1, lambda value: value or first) == first
