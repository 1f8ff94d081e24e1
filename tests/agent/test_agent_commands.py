"""`wattlease agent` as a process: how it ends, who else may run, and what only reading leaves untouched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest

from wattlease.agent.virtual_state import VirtualState, virtual_cards

COMMAND = (sys.executable, "-c", "from wattlease.agent.commands import agent; agent()")
SETTINGS = """
node: n1
backend: virtual
virtualGpus: {folder}/gpus
grantors: [http://127.0.0.1:9]
secretFile: {folder}/secret
stateFolder: {folder}/state
hintsFolder: {folder}/hints
fallbackWatts: 2000
patienceSeconds: 0.1
listen: null
"""


@dataclass
class Node:
    """A node of eight virtual cards at 700 W, and the agents that were started on it."""

    folder: Path
    state: VirtualState
    begun: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def limits_w(self) -> list[float]:
        return [float(limit_mw) / 1e3 for limit_mw in self.state.cards["limit_mw"]]

    def begin(self, *options: str) -> subprocess.Popen[str]:
        command = [*COMMAND, "--config", str(self.folder / "agent.yaml"), *options]
        agent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.begun.append(agent)
        return agent

    def run(self, *options: str) -> tuple[int, str]:
        agent = self.begin(*options)
        out, err = agent.communicate(timeout=90)
        return agent.returncode, out + err

    def at_fallback(self) -> bool:
        return sum(self.limits_w) <= 2000.0

    def wait_for_the_fallback(self) -> None:
        until_s = time.monotonic() + 60.0
        while not self.at_fallback():
            assert time.monotonic() < until_s
            time.sleep(0.02)


def wait_until_it_listens_for(number: signal.Signals, process: int) -> None:
    until_s = time.monotonic() + 60.0
    while not caught_by(process) >> (number - 1) & 1:
        assert time.monotonic() < until_s
        time.sleep(0.02)


def caught_by(process: int) -> int:
    """The signals that a process has a handler for, a bit each."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    (tmp_path / "agent.yaml").write_text(SETTINGS.format(folder=tmp_path))
    (tmp_path / "secret").write_text("sixteen bytes or more")
    made = Node(tmp_path, VirtualState.create(tmp_path / "gpus", virtual_cards("n1", "H100", 8)))
    yield made
    for agent in made.begun:
        if agent.poll() is None:
            agent.kill()
        agent.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_however_it_is_ended_limits_stay_as_they_are(node: Node, number: signal.Signals) -> None:
    agent = node.begin()
    node.wait_for_the_fallback()
    wait_until_it_listens_for(signal.SIGTERM, agent.pid)
    agent.send_signal(number)
    agent.wait(timeout=60)
    assert agent.returncode == (-number if number == signal.SIGKILL else 0)
    assert 1999.0 < sum(node.limits_w) <= 2000.0


def test_a_restart_after_a_crash_never_passes_the_fallback(node: Node) -> None:
    first = node.begin()
    node.wait_for_the_fallback()
    first.kill()
    first.wait()
    second = node.begin()
    until_s = time.monotonic() + 3.0
    while time.monotonic() < until_s:
        assert node.at_fallback()
        time.sleep(0.02)
    assert second.poll() is None


def test_a_second_agent_of_the_same_folder_is_refused(node: Node) -> None:
    first = node.begin()
    node.wait_for_the_fallback()
    for option in ((), ("--uninstall",)):
        code, told = node.run(*option)
        assert code != 0
        assert f"another agent (process {first.pid})" in told
    assert node.at_fallback()


def test_an_uninstall_gives_back_what_was_there_before(node: Node) -> None:
    node.state.write_limit(2, 650.0)
    agent = node.begin()
    node.wait_for_the_fallback()
    agent.kill()
    agent.wait()
    code, told = node.run("--uninstall")
    assert code == 0, told
    assert node.limits_w == [700.0, 700.0, 650.0, 700.0, 700.0, 700.0, 700.0, 700.0]
    assert told.count("as before") == 8
    assert "nothing to give back" in node.run("--uninstall")[1]


def test_a_dry_run_and_a_check_write_nothing(node: Node) -> None:
    before = (node.folder / "gpus").read_bytes()
    inits = int(node.state.header["inits"][0])
    agent = node.begin("--dry-run")
    assert agent.stdout is not None
    said = "".join(islice(agent.stdout, 1 + 8))  # by now it listens to signals
    agent.send_signal(signal.SIGINT)
    out, err = agent.communicate(timeout=60)
    assert agent.returncode == 0, err
    assert (said + out).count("would be 250 W without a grant") == 8
    code, told = node.run("--check")
    assert (code, told.count("would be 250 W")) == (0, 8), told
    assert int(node.state.header["inits"][0]) > inits
    node.state.header["inits"][0] = inits
    assert (node.folder / "gpus").read_bytes() == before
    assert {path.name for path in node.folder.iterdir()} == {"agent.yaml", "secret", "gpus"}


def test_a_mistake_in_the_settings_is_told_with_its_line(node: Node) -> None:
    (node.folder / "agent.yaml").write_text("node: n1\nbackend: vrtual\n")
    code, told = node.run()
    assert code != 0
    assert ":2: backend: 'vrtual' is not one of" in told


def test_an_agent_of_eight_cards_takes_little_of_a_core(node: Node) -> None:
    agent = node.begin()
    node.wait_for_the_fallback()
    time.sleep(1.5)
    began, began_s = _cpu_s(agent.pid), time.monotonic()
    time.sleep(3.0)
    share = (_cpu_s(agent.pid) - began) / (time.monotonic() - began_s)
    resident = Path(f"/proc/{agent.pid}/status").read_text().partition("VmRSS:")[2].split("\n")[0].strip()
    print(f"agent: {100 * share:.2f} % of a core, {resident}")
    assert share < 0.1


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
