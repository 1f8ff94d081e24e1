"""A site of real processes on loopback: controllers, agents with NVML's real binding, TLS both ways, links to cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import yaml
from fault_hardware import (
    CARDS,
    FALLBACK_W,
    FLOOR_W,
    MAX_W,
    MIN_W,
    NAMEPLATE_W,
    PER_IT_FRAC,
    SAMPLE_S,
    Excuse,
    Hardware,
)
from fault_process import Process
from fault_wire import Link, Wire
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families

from wattlease.agent.jobs import mapping
from wattlease.agent.virtual_state import VirtualState, virtual_cards
from wattlease.runtime import pki

TTL_S = 5.0
PATIENCE_S = 0.2
REPAIR_S = 2.0
"""What hardware does by itself is put right within this: a look at all cards comes every second, and writes follow."""

LIMIT_W = 18_000
BUSY_W, IDLE_W = 650.0, 75.0
ALL_CARDS = [str(index) for index in range(CARDS)]
SEEN_S = 1.2
"""By then an agent has seen and reported that its cards draw less."""

LENT_W = 4_600.0
"""A busy node that has this much has what others returned: the limit's quarter is less."""


@dataclass
class Libraries:
    """What is preloaded or found in place of the system's own."""

    nvml_folder: Path
    wall_clock: Path


@dataclass
class Controller:
    """One controller process, and where it listens."""

    process: Process
    config: Path
    folder: Path
    port: int
    page_port: int

    def metric(self, name: str) -> float:
        return metric(self.page_port, name)


@dataclass
class Node:
    """A node: its hardware, its agent, and its links to the controllers."""

    name: str
    state: VirtualState
    agent: Process
    links: list[Link]
    metrics_port: int
    folder: Path
    jobs: Path

    def watts_w(self) -> float:
        return FLOOR_W + (1.0 + PER_IT_FRAC) * float(self.state.enforced_w().sum())

    def limits_w(self) -> list[float]:
        return [float(limit_w) for limit_w in self.state.enforced_w()]

    def cut(self) -> None:
        for link in self.links:
            link.cut()

    def heal(self) -> None:
        for link in self.links:
            link.heal()

    def metric(self, name: str) -> float:
        return metric(self.metrics_port, name)


def metric(port: int, name: str) -> float:
    """The sum over all labels of a metric of who listens there; nan where nobody does."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2.0) as told:
            families = text_string_to_metric_families(told.read().decode())
    except OSError:
        return float("nan")
    return sum(s.value for family in families for s in family.samples if s.name == name)


def until(holds: Callable[[], bool], patience_s: float, what: str) -> float:
    """Wait until it holds; return how long that took."""
    begun_s = time.monotonic()
    while not holds():
        assert time.monotonic() - begun_s < patience_s, f"{what}: not within {patience_s} s"
        time.sleep(0.02)
    return time.monotonic() - begun_s


class Site:
    """Four nodes of eight cards under one limit. Cards begin at their least limits, so that the law holds from the
    first sample on, except those of nodes named `fresh`: theirs stand as a driver leaves them."""

    def __init__(self, folder: Path, libraries: Libraries, nodes: int = 4, fresh: Iterable[str] = ()) -> None:
        self.folder, self._libraries, self._fresh = folder, libraries, frozenset(fresh)
        self.names = [f"gpu-{i + 1:04d}" for i in range(nodes)]
        self.pki = folder / "pki"
        pki.found(self.pki)
        pki.issue_grantor(self.pki, "controller", 30, ["127.0.0.1"])
        self.wire = Wire()
        self.spec: dict[str, Any] = {
            "limitWatts": LIMIT_W,
            "guaranteedWatts": round(nodes * FALLBACK_W),
            "ramp": {"releasePercentPerMinute": 100},
            "band": {"counts": "Draw", "transientPercent": 30, "marginPercent": 0},  # it wishes more than the limit:
        }  # the ledger alone keeps to it, with nothing to spare
        state = folder / "controllers"
        self.controllers = [self._controller("a", state), self._controller("b", state)]
        self.nodes = [self._node(name) for name in self.names]
        self.hardware = Hardware([node.state for node in self.nodes], TTL_S, [IDLE_W] * nodes)
        self.hardware.limits.append((time.monotonic(), LIMIT_W))

    # Life

    def start(self, agents: Iterable[int] | None = None) -> None:
        self.hardware.start()
        self.controllers[0].process.start()
        for i in range(len(self.nodes)) if agents is None else agents:
            self.nodes[i].agent.start()

    def end(self) -> None:
        self.hardware.end()
        for process in self.processes:
            process.end()
        self.wire.end()

    @property
    def processes(self) -> list[Process]:
        return [*(controller.process for controller in self.controllers), *(node.agent for node in self.nodes)]

    # The law

    @contextmanager
    def under_limit(self) -> Iterator[None]:
        """No sample that is taken while the block runs is above the limit, what hardware is excused for apart."""
        begun_s = time.monotonic()
        yield
        time.sleep(2 * SAMPLE_S)
        over = self.hardware.over(begun_s)
        told = [(round(s.at_s - begun_s, 2), [round(w) for w in s.nodes_w], round(s.limit_w)) for s in over]
        assert not told, f"{len(told)} samples over, at (s, W of each node, limit): {told[:5]} ... {told[-1]}"
        taken = sum(s.at_s >= begun_s for s in self.hardware.samples)
        assert taken > 5 * (time.monotonic() - begun_s), "the meter stood still"

    def excuse(self, i: int, span_s: float = REPAIR_S) -> None:
        """This node's hardware is about to raise itself, which no process can know: for so long it is excused."""
        now_s = time.monotonic()
        self.hardware.excuses.append(Excuse(now_s, now_s + span_s, i, self.nodes[i].watts_w()))

    def sum_w(self) -> float:
        return sum(self.hardware.read()[1])

    # What happens

    def set_limit(self, limit_w: int) -> None:
        """Write another limit into the controllers' files."""
        self.hardware.limits.append((time.monotonic(), limit_w))
        self.spec = {**self.spec, "limitWatts": limit_w}
        for controller in self.controllers:
            self.write_config(controller)

    def work(self, *busy: int) -> None:
        """These nodes have a job each, and the others none any more: first they idle, then their jobs are gone."""
        self.hardware.wants_w[:] = [BUSY_W if i in busy else IDLE_W for i in range(len(self.nodes))]
        for i in busy:
            assert mapping.enter(self.nodes[i].jobs, f"{i + 1}", ALL_CARDS) is None
        leave = [i for i, node in enumerate(self.nodes) if i not in busy and any(node.jobs.glob("[0-9]"))]
        if leave:
            time.sleep(SEEN_S)
        for i in leave:
            assert mapping.leave(self.nodes[i].jobs, f"{i + 1}") is None

    def lends_to(self, *busy: int, patience_s: float = 60.0) -> float:
        """Let these have much to do, and wait until they have what the others returned; return how long it took."""
        self.work(*busy)
        return until(lambda: all(self.nodes[i].watts_w() > LENT_W for i in busy), patience_s, f"watts go to {busy}")

    def grants_to(self, *busy: int, patience_s: float = 60.0) -> float:
        """The same by the grants alone: after much trouble a node's own guard may keep it below its grant for long."""
        self.work(*busy)
        granted = "wattlease_node_allowed_watts"
        return until(
            lambda: all(self.nodes[i].metric(granted) > LENT_W for i in busy), patience_s, f"grants go to {busy}"
        )

    def falls_back(self, *which: int, patience_s: float = TTL_S) -> float:
        """Wait until these nodes are at their fallback; return how long it took."""
        return until(
            lambda: all(self.nodes[i].watts_w() <= FALLBACK_W + 1.0 for i in which), patience_s, f"{which} fall back"
        )

    # What is written

    def write_config(self, controller: Controller) -> None:
        group = {
            "name": "gpu",
            "cluster": "hall",
            "budget": "hall",
            "nodes": len(self.names),
            "nodeNames": self.names,
            "gpusPerNode": CARDS,
            "gpuModel": "H100",
            "nodeNameplateWatts": round(NAMEPLATE_W),
            "nodeFallbackWatts": round(FALLBACK_W),
            "overhead": {"floorWatts": FLOOR_W, "perItPercent": 100 * PER_IT_FRAC},
        }
        written = {
            "name": "hall",
            "groups": [group],
            "budgets": [{"metadata": {"name": "hall"}, "spec": self.spec}],
            "listen": {"port": controller.port, **self._tls("grantors", "controller")},
            "page": {"port": controller.page_port},
            "stateFolder": str(controller.folder),
            "grantSeconds": TTL_S,
        }
        draft = controller.config.with_suffix(".new")
        draft.write_text(yaml.safe_dump(written))
        draft.rename(controller.config)

    def _controller(self, name: str, state: Path) -> Controller:
        config = self.folder / f"controller-{name}.yaml"
        process = Process(
            self.folder, f"controller-{name}", ("controller", "--config", str(config)), self._environment()
        )
        controller = Controller(process, config, state, free_port(), free_port())
        self.write_config(controller)
        return controller

    def _node(self, name: str) -> Node:
        pki.issue_holder(self.pki, name, 30)
        path, config, folder = self.folder / f"{name}.gpus", self.folder / f"{name}.yaml", self.folder / name
        state = VirtualState.create(path, virtual_cards(name, "H100", CARDS))
        assert (state.cards["min_mw"] == MIN_W * 1e3).all()
        assert (state.cards["max_mw"] == MAX_W * 1e3).all()
        if name not in self._fresh:
            state.cards["limit_mw"] = state.cards["min_mw"]
        links: list[Link] = [self.wire.link(controller.port) for controller in self.controllers]
        metrics_port, jobs = free_port(), self.folder / f"{name}.jobs"
        jobs.mkdir()
        written = {
            "node": name,
            "grantors": [f"https://127.0.0.1:{link.port}" for link in links],
            **self._tls("nodes", name),
            "stateFolder": str(folder),
            "nameplateWatts": round(NAMEPLATE_W),
            "overhead": {"floorWatts": FLOOR_W, "perItPercent": 100 * PER_IT_FRAC},
            "jobs": {"mappingFolder": str(jobs), "everySeconds": 0.5},
            "hintsFolder": str(self.folder / f"{name}.hints"),
            "listen": f"127.0.0.1:{metrics_port}",
            "patienceSeconds": PATIENCE_S,
        }
        config.write_text(yaml.safe_dump(written))
        environment = self._environment() | {"WATTLEASE_VIRTUAL_GPUS": str(path)}
        agent = Process(self.folder, name, ("agent", "--config", str(config)), environment)
        return Node(name, state, agent, links, metrics_port, folder, jobs)

    def _tls(self, shelf: str, name: str) -> dict[str, str]:
        own = self.pki / shelf / name
        return {"authority": str(self.pki / "ca.crt"), "certificate": f"{own}.crt", "key": f"{own}.key"}

    def _environment(self) -> dict[str, str]:
        folder, clock = self._libraries.nvml_folder, self._libraries.wall_clock
        return {"LD_LIBRARY_PATH": str(folder), "LD_PRELOAD": str(clock), "OPENBLAS_NUM_THREADS": "1"}


NewSite = Callable[..., Site]
