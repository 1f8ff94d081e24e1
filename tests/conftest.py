"""Small real values that tests of several folders build on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from wattlease.core.actions import Plan, Release, ScopePlan
from wattlease.core.api import PowerBudget
from wattlease.core.memory import Memory
from wattlease.core.model import (
    CardModel,
    GpuReadings,
    Gpus,
    Jobs,
    JobState,
    NodeReadings,
    Nodes,
    Scope,
    Site,
    Snapshot,
    Terms,
)

settings.register_profile("ours", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("ours")

Policy = Callable[[Snapshot, Memory], tuple[Plan, Memory]]

NIGHT_S = 1_746_315_000.0


def _site(limit_w: int) -> Site:
    budget = {"metadata": {"name": "hall"}, "spec": {"limitWatts": limit_w}}
    two = np.zeros(2, np.int64)
    return Site(
        "phoenix",
        (Scope("hall", -1, PowerBudget.model_validate(budget)),),
        (CardModel("A100", 400.0, 100.0, 60.0),),
        Nodes(("n1", "n2"), two, ("a", "a"), np.full(2, 3200.0), np.full(2, 600.0), np.full(2, 800.0)),
        Gpus(np.array([0, 1]), two, np.full(2, 100.0), np.full(2, 400.0)),
        (Terms("gold"),),
    )


def _snapshot(now_s: float, site: Site) -> Snapshot:
    """Two jobs on two GPUs; the second waits for its first minute."""
    wait = JobState.RELEASED if now_s < NIGHT_S + 2 else JobState.RUNNING
    some, zero, one = np.array([np.nan, 5.0]), np.zeros(2, np.int64), np.ones(2, np.int64)
    drawn_w = np.array([350.0, 290.0]) + (now_s % 7)
    jobs = Jobs(
        ("j1", "j2"), ("train", "tune"), ("ada", "bob"), ("a", "a"), zero, np.array([JobState.RUNNING, wait]), one,
        zero, np.arange(2), np.full(2, NIGHT_S), np.full(2, NIGHT_S), some, some, some, np.ones(2), np.full(2, -1),
    )  # fmt: skip
    gpus = GpuReadings(drawn_w, np.full(2, 0.5), np.full(2, 400.0), np.arange(2))
    return Snapshot(now_s, site, gpus, NodeReadings(some, np.full(2, 1.0), np.full(2, 4000.0)), jobs)


@pytest.fixture
def night() -> list[Snapshot]:
    """Six ticks a second apart; at the fourth the site's limit is lowered."""
    day, late = _site(9000), _site(7000)
    return [_snapshot(NIGHT_S + i, day if i < 3 else late) for i in range(6)]


@pytest.fixture
def evenly() -> Policy:
    """A tiny pure policy: every GPU gets an even part of the limit; the second job is released at the second tick."""

    def decide(snapshot: Snapshot, memory: Memory) -> tuple[Plan, Memory]:
        limit_w = float(snapshot.site.scopes[0].budget.spec.limit_watts)
        ticks = memory.debts.get("ticks", 0.0) + 1
        cap_w = limit_w / 20
        starts = memory.debts.get("ticks") == 1
        actions = (Release("j2"),) if starts else ()
        why = ("released: j2 needs 0.3 kW, 5 kW left",) if starts else ()
        hall = ScopePlan("hall", limit_w, "static", f"hall's {limit_w:.0f} W (static)", 640.0, 640.0 + ticks, "within")
        two = np.full(2, min(cap_w, 400.0))
        cost_per_h = np.array([0.0, 36.0 * ticks])
        plan = Plan(
            now_s=snapshot.now_s, actions=actions, why=why, scopes=(hall,), cap_w=two, job_w=two, speed_frac=two / 400,
            cost_per_h=cost_per_h, grant_w=two * 8, spare_frac=np.ones(1),
        )  # fmt: skip
        return plan, Memory(now_s=snapshot.now_s, debts={"ticks": ticks})

    return decide


@pytest.fixture
def systemd_says(tmp_path: Path) -> Callable[[Path], list[str]]:
    """What systemd has against a unit, lines that speak of other units left out."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    command = tmp_path / "wattlease"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)

    def says(unit: Path) -> list[str]:
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text(encoding="utf-8").replace("/usr/lib/wattlease/bin/wattlease", str(command)))
        done = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, timeout=60)
        return [line for line in (done.stdout + done.stderr).splitlines() if unit.stem in line]

    return says


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why a test was tried again: the try that passes would hide it."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"tried again: {report.nodeid}")
        terminalreporter.write_line(f"{report.longreprtext[-6000:]}\n{report.capstdout[-3000:]}")
