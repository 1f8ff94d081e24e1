"""A real agent for each node, on that node's virtual cards, that asks that node's kubelet who holds them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from kube_hardware import KubeHardware
from kube_program import Program
from ports import free_port

from wattlease.runtime import pki
from wattlease.sim.demo_nodes import RUN

DAYS = 30
GRANTOR = "operator"


class Agents:
    """The agents, known by their `tokens`, and what a grantor needs to be heard by them.

    `tls()` goes under `listen` of the operator's settings; `fallback_w` and `nameplate_w` are what a node draws with
    every card at its least and at its highest limit.
    """

    def __init__(
        self, hardware: KubeHardware, grantors: Sequence[str], tokens: Mapping[str, Path],
        settings: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.hardware, self.folder = hardware, hardware.kubelets.plane.folder / "agents"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._grantors, self._tokens, self._settings = list(grantors), dict(tokens), dict(settings or {})
        cards = next(iter(hardware.states.values())).cards
        self.fallback_w = hardware.overhead.node_w(float(cards["min_mw"].sum()) / 1e3)
        self.nameplate_w = hardware.overhead.node_w(float(cards["max_mw"].sum()) / 1e3)
        self.pki = self.folder / "pki"
        pki.found(self.pki)
        pki.issue_grantor(self.pki, GRANTOR, DAYS, ["127.0.0.1"])
        self.metrics_ports = {node: free_port() for node in hardware.states}
        self.programs = {node: self._agent(node) for node in hardware.states}

    def __getitem__(self, node: str) -> Program:
        return self.programs[node]

    @contextmanager
    def running(self) -> Iterator[None]:
        """All of them, while the block lasts."""
        try:
            for program in self.programs.values():
                program.start()
            yield
        finally:
            for program in self.programs.values():
                program.end()

    def tls(self) -> dict[str, str]:
        """A grantor's authority, certificate and key."""
        own = self.pki / "grantors" / GRANTOR
        return {"authority": str(self.pki / "ca.crt"), "certificate": f"{own}.crt", "key": f"{own}.key"}

    def _agent(self, node: str) -> Program:
        overhead = self.hardware.overhead
        written = {
            "node": node,
            "backend": "virtual",
            "virtualGpus": str(self.hardware.states[node].path),
            "grantors": self._grantors,
            "authority": self.tls()["authority"],
            "tokenFile": str(self._tokens[node]),
            "stateFolder": str(self.folder / node),
            "nameplateWatts": round(self.nameplate_w),
            "overhead": {"floorWatts": overhead.floor_w, "perItPercent": 100.0 * overhead.per_it_frac},
            "jobs": {"kubeletSocket": str(self.hardware.kubelets.sockets[node]), "everySeconds": 0.5},
            "hintsFolder": str(self.folder / f"{node}.hints"),
            "listen": f"127.0.0.1:{self.metrics_ports[node]}",
        } | self._settings
        config = self.folder / f"{node}.yaml"
        config.write_text(yaml.safe_dump(written))
        return wattlease(self.hardware.kubelets.plane.log, node, "agent", "--config", str(config))


def wattlease(log: Path, name: str, *words: str, environment: Mapping[str, str] | None = None) -> Program:
    """A `wattlease` command."""
    one_thread = {"OPENBLAS_NUM_THREADS": "1"}
    return Program(log, name, [sys.executable, "-c", RUN, *words], environment=one_thread | dict(environment or {}))
