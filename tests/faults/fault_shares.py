"""A campus of real processes on loopback: a facility, two clusters with a controller each, and their nodes' agents."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from fault_hardware import CARDS, FALLBACK_W, FLOOR_W, NAMEPLATE_W, PER_IT_FRAC, SAMPLE_S, Hardware, node_w
from fault_process import Process
from fault_site import ALL_CARDS, BUSY_W, IDLE_W, PATIENCE_S, Libraries, until
from fault_wire import Link, Wire
from ports import free_port

from wattlease.agent.jobs import mapping
from wattlease.agent.virtual_state import VirtualState, virtual_cards
from wattlease.runtime import pki

LEASE_S, TTL_S = 10.0, 5.0
"""How long leases of clusters last, and grants of nodes: these end with the lease, which is the longer one."""
LIMIT_W = 18_000
NODES = 2
GUARANTEED_W, MOST_W = 6_000, round(NODES * NAMEPLATE_W)
"""Two nodes at their least limits with overhead at its worst, more than a controller counts and nodes fall to."""

START_S = 200.0
"""Seven processes on a busy machine take their time to begin."""

needs_facility = pytest.mark.skipif(
    "facility" not in entry_points(group="wattlease.commands").names,
    reason="the facility is not registered here: install this checkout again",
)

MUCH_W = 10_500.0
"""A busy cluster that has this much has what the other one returned: half of the limit is less."""


@dataclass
class Cluster:
    """A cluster: its controller, the link to its facility, and its nodes."""

    name: str
    controller: Process
    link: Link
    states: list[VirtualState]
    agents: list[Process]
    jobs: list[Path]

    def watts_w(self) -> float:
        """What its cards' limits allow."""
        return sum(node_w(float(state.enforced_w().sum())) for state in self.states)

    def draw_w(self) -> float:
        """What it draws."""
        return sum(node_w(float(state.cards["draw_mw"].sum()) / 1e3) for state in self.states)


class Campus:
    """Two clusters of two nodes under one limit; `more` is written into the facility's budget, `gives_w` is what lies
    behind the meter beside the clusters, such as a battery that discharges."""

    def __init__(
        self,
        folder: Path,
        libraries: Libraries,
        more: dict[str, Any] | None = None,
        gives_w: Callable[[], float] = float,
    ) -> None:
        self.folder, self._libraries = folder, libraries
        self.pki = folder / "pki"
        pki.found(self.pki)
        pki.issue_grantor(self.pki, "facility", 30, ["127.0.0.1"])
        self.wire, self.port, self._page_port = Wire(), free_port(), free_port()
        self.spec = {"limitWatts": LIMIT_W, "guaranteedWatts": 2 * GUARANTEED_W, **QUICK, **(more or {})}
        self.facility = self._process("facility", self._facility(), "facility")
        self.clusters = [self._cluster(name) for name in ("a", "b")]
        states = [state for cluster in self.clusters for state in cluster.states]
        self.hardware = CampusHardware(states, LEASE_S, [IDLE_W] * len(states))
        self.hardware.gives_w = gives_w
        self.hardware.limits.append((time.monotonic(), LIMIT_W))

    def start(self) -> None:
        """Start all of it, and wait until the clusters have told their facility what they want."""
        self.hardware.start()
        for process in self.processes:
            process.start()
        self.work(0)
        until(lambda: self.clusters[0].watts_w() > GUARANTEED_W + 1.0, START_S, "the first watts are leased")

    def end(self) -> None:
        self.hardware.end()
        for process in self.processes:
            process.end()
        self.wire.end()

    @property
    def processes(self) -> list[Process]:
        return [self.facility, *(process for c in self.clusters for process in (c.controller, *c.agents))]

    @contextmanager
    def under_limit(self) -> Iterator[None]:
        """No sample taken while the block runs is above the limit and what is given beside it at that moment."""
        begun_s = time.monotonic()
        yield
        time.sleep(2 * SAMPLE_S)
        taken = [s for s in self.hardware.samples if s.at_s >= begun_s]
        over = [
            (round(s.at_s - begun_s, 2), round(s.sum_w), round(s.limit_w)) for s in taken if s.sum_w > s.limit_w + 0.01
        ]
        assert not over, f"{len(over)} samples over, at (s, W, limit): {over[:5]} ... {over[-1]}"
        assert len(taken) > 5 * (time.monotonic() - begun_s), "the meter stood still"

    def work(self, *busy: int) -> None:
        """These clusters' nodes have a job each; the others idle, and nobody holds their cards."""
        for c, cluster in enumerate(self.clusters):
            for n in range(NODES):
                self.hardware.wants_w[NODES * c + n] = BUSY_W if c in busy else IDLE_W
                if c in busy:
                    assert mapping.enter(cluster.jobs[n], f"{n + 1}", ALL_CARDS) is None
                else:
                    mapping.leave(cluster.jobs[n], f"{n + 1}")

    def lends_to(self, which: int, patience_s: float = 90.0) -> float:
        """Let this cluster alone have much to do, and wait until it has what the other returned."""
        self.work(which)
        cluster = self.clusters[which]
        return until(lambda: cluster.watts_w() > MUCH_W, patience_s, f"watts go to {cluster.name}")

    def falls_back(self, *which: int, patience_s: float = LEASE_S) -> float:
        """Wait until these clusters are at what they are guaranteed; return how long it took."""
        return until(
            lambda: all(self.clusters[c].watts_w() <= GUARANTEED_W + 1.0 for c in which), patience_s, f"{which} fall"
        )

    def announce(self, limit_w: int, in_s: float, lasts_s: float = 600.0) -> float:
        """The grid asks for less, from so many seconds on; return when, on the monotonic clock."""
        start_s = time.monotonic() + in_s
        start, end = (datetime.fromtimestamp(time.time() + at_s, UTC).isoformat() for at_s in (in_s, in_s + lasts_s))
        event = {"name": "evening", "start": start, "end": end, "limitWatts": limit_w}
        self.spec = {**self.spec, "demandResponse": [event]}
        draft = self.folder / "facility.new"
        draft.write_text(yaml.safe_dump(self._facility()))
        draft.rename(self.folder / "facility.yaml")
        self.hardware.limits.append((start_s, limit_w))
        return start_s

    # What is written

    def _facility(self) -> dict[str, Any]:
        share = {"budget": "campus", "watts": MOST_W, "guaranteedWatts": GUARANTEED_W}
        return {
            "name": "campus",
            "budgets": [{"metadata": {"name": "campus"}, "spec": self.spec}],
            "shares": [{"metadata": {"name": n}, "spec": {"cluster": n, **share}} for n in ("a", "b")],
            "listen": {"port": self.port, **self._tls("grantors", "facility")},
            "page": {"port": self._page_port},
            "stateFolder": str(self.folder / "facility"),
            "grantSeconds": LEASE_S,
        }

    def _cluster(self, name: str) -> Cluster:
        pki.issue_grantor(self.pki, name, 30, ["127.0.0.1"])
        pki.issue_holder(self.pki, name, 30, kind="cluster")
        nodes = [f"{name}-{n + 1}" for n in range(NODES)]
        link: Link = self.wire.link(self.port)
        port = free_port()
        group = {
            "name": name, "cluster": name, "budget": name, "nodes": NODES, "nodeNames": nodes, "gpusPerNode": CARDS,
            "gpuModel": "H100", "nodeNameplateWatts": round(NAMEPLATE_W), "nodeFallbackWatts": round(FALLBACK_W),
            "overhead": {"floorWatts": FLOOR_W, "perItPercent": 100 * PER_IT_FRAC},
        }  # fmt: skip
        spec = {"limitWatts": MOST_W, "guaranteedWatts": GUARANTEED_W, **QUICK}
        written = {
            "name": name,
            "groups": [group],
            "budgets": [{"metadata": {"name": name}, "spec": spec}],
            "listen": {"port": port, **self._tls("grantors", name)},
            "page": {"port": free_port()},
            "stateFolder": str(self.folder / f"controller-{name}"),
            "grantSeconds": TTL_S,
            "share": {
                "cluster": name,
                "grantors": [f"https://127.0.0.1:{link.port}"],
                **self._tls("clusters", name),
            },
        }
        controller = self._process(f"controller-{name}", written, "controller")
        states, agents, jobs = zip(*(self._node(node, port) for node in nodes), strict=True)
        return Cluster(name, controller, link, list(states), list(agents), list(jobs))

    def _node(self, name: str, port: int) -> tuple[VirtualState, Process, Path]:
        pki.issue_holder(self.pki, name, 30)
        path, jobs = self.folder / f"{name}.gpus", self.folder / f"{name}.jobs"
        state = VirtualState.create(path, virtual_cards(name, "H100", CARDS))
        state.cards["limit_mw"] = state.cards["min_mw"]
        jobs.mkdir()
        written = {
            "node": name,
            "grantors": [f"https://127.0.0.1:{port}"],
            **self._tls("nodes", name),
            "stateFolder": str(self.folder / f"agent-{name}"),
            "nameplateWatts": round(NAMEPLATE_W),
            "overhead": {"floorWatts": FLOOR_W, "perItPercent": 100 * PER_IT_FRAC},
            "jobs": {"mappingFolder": str(jobs), "everySeconds": 0.5},
            "hintsFolder": str(self.folder / f"{name}.hints"),
            "listen": f"127.0.0.1:{free_port()}",
            "patienceSeconds": PATIENCE_S,
        }
        return state, self._process(name, written, "agent", path), jobs

    def _process(self, name: str, written: dict[str, Any], command: str, gpus: Path | None = None) -> Process:
        config = self.folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump(written))
        libraries = self._libraries
        environment = {"LD_LIBRARY_PATH": str(libraries.nvml_folder), "LD_PRELOAD": str(libraries.wall_clock)}
        environment |= {"OPENBLAS_NUM_THREADS": "1"} | ({"WATTLEASE_VIRTUAL_GPUS": str(gpus)} if gpus else {})
        return Process(self.folder, name, (command, "--config", str(config)), environment)

    def _tls(self, shelf: str, name: str) -> dict[str, str]:
        own = self.pki / shelf / name
        return {"authority": str(self.pki / "ca.crt"), "certificate": f"{own}.crt", "key": f"{own}.key"}


QUICK = {
    "ramp": {"releasePercentPerMinute": 100},
    "band": {"counts": "Draw", "transientPercent": 30, "marginPercent": 0},
}


class CampusHardware(Hardware):
    """Its limit is the feed's and what is given beside it, by a look before and one after each sample."""

    gives_w: Callable[[], float] = float
    _gave_w: float = 0.0

    def read(self) -> tuple[float, tuple[float, ...]]:
        before_w = self.gives_w()
        found = super().read()
        self._gave_w = max(before_w, self.gives_w())
        return found

    def limit_w(self, at_s: float) -> float:
        return super().limit_w(at_s) + self._gave_w

    def __hash__(self) -> int:
        return id(self)
