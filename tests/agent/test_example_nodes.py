"""The story of `examples/nodes`: its controller, its two agents and its work, as processes, under its limit."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ports import free_port

from wattlease.agent.virtual_state import VirtualState

STORY = Path(__file__).parents[2] / "examples/nodes"
RUN = "from wattlease.runtime.cli import main; main()"
LIMIT_W, FLOOR_W, PER_IT_FRAC = 11_000.0, 1700.0, 0.14


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[VirtualState]]:
    """The running story, in a folder and at ports of its own."""
    ports = {port: str(free_port()) for port in ("8943", "8080", "8945", "8946")}
    (tmp_path / "secret").write_text("only for this test, and long enough")
    for path in STORY.glob("*.yaml"):
        text = path.read_text().replace("out/nodes", str(tmp_path))
        for port, free in ports.items():
            text = text.replace(port, free)
        (tmp_path / path.name).write_text(text)
    gpus = [tmp_path / f"node-{n}.gpus" for n in "ab"]
    commands = [
        [sys.executable, "-c", RUN, "controller", "--config", "controller.yaml"],
        *([sys.executable, "-c", RUN, "agent", "--config", f"node-{n}.yaml"] for n in "ab"),
        [sys.executable, str(STORY / "load.py"), *map(str, gpus)],
    ]
    with (tmp_path / "log").open("wb") as log:
        running = [subprocess.Popen(words, cwd=tmp_path, stdout=log, stderr=log) for words in commands]
    try:
        until(lambda: all(path.exists() for path in gpus))
        yield [VirtualState(path) for path in gpus]
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(20)


def until(true: Callable[[], bool], patience_s: float = 60.0) -> None:
    give_up_s = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < give_up_s
        time.sleep(0.1)


def allowed_w(states: list[VirtualState]) -> float:
    return sum(FLOOR_W + (1 + PER_IT_FRAC) * float(state.enforced_w().sum()) for state in states)


def test_watts_go_to_the_node_that_works_and_both_stay_under_the_limit(nodes: list[VirtualState]) -> None:
    busy, idle = nodes
    until(lambda: allowed_w(nodes) <= LIMIT_W)  # fresh GPUs stand at full power until their agents start
    until(lambda: float(busy.enforced_w().mean()) > 500.0 > float(idle.enforced_w().mean()))
    until(lambda: bool(np.all(busy.cards["draw_mw"] / 1e3 > 400.0)))
    for _ in range(40):
        assert allowed_w(nodes) <= LIMIT_W
        time.sleep(0.05)
