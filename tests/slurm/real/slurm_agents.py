"""A real agent for each node of a cluster, on that node's virtual cards, with certificates of an authority of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from ports import free_port
from slurm_hardware import Hardware, jobs_folder
from slurm_process import Process

from wattlease.runtime import pki

DAYS = 30
GRANTOR = "slurm"


class Agents:
    """The agents, and what a grantor needs to be heard by them.

    `tls()` goes under `listen` of the daemon's settings; `fallback_w` and `nameplate_w` are what a node draws with
    every card at its least and at its highest limit.
    """

    def __init__(self, hardware: Hardware, grantors: Sequence[str], settings: Mapping[str, Any] | None = None) -> None:
        self.hardware, self.folder = hardware, hardware.cluster.folder / "agents"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._grantors, self._settings = list(grantors), dict(settings or {})
        state = next(iter(hardware.states.values()))
        self.fallback_w = hardware.overhead.node_w(float(state.cards["min_mw"].sum()) / 1e3)
        self.nameplate_w = hardware.overhead.node_w(float(state.cards["max_mw"].sum()) / 1e3)
        self.pki = self.folder / "pki"
        pki.found(self.pki)
        pki.issue_grantor(self.pki, GRANTOR, DAYS, ["127.0.0.1"])
        self.metrics_ports = {node: free_port() for node in hardware.states}
        self.processes = {node: self._agent(node) for node in hardware.states}

    def __getitem__(self, node: str) -> Process:
        return self.processes[node]

    @contextmanager
    def running(self) -> Iterator[None]:
        """All of them, while the block lasts."""
        for process in self.processes.values():
            process.start()
        try:
            yield
        finally:
            for process in self.processes.values():
                process.end()

    def tls(self, shelf: str = "grantors", name: str = GRANTOR) -> dict[str, str]:
        """Authority, certificate and key."""
        return tls(self.pki, shelf, name)

    def _agent(self, node: str) -> Process:
        pki.issue_holder(self.pki, node, DAYS)
        overhead = self.hardware.overhead
        written = {
            "node": node,
            "backend": "virtual",
            "virtualGpus": str(self.hardware.states[node].path),
            "grantors": self._grantors,
            **self.tls("nodes", node),
            "stateFolder": str(self.folder / node),
            "nameplateWatts": round(self.nameplate_w),
            "overhead": {"floorWatts": overhead.floor_w, "perItPercent": 100.0 * overhead.per_it_frac},
            "jobs": {"mappingFolder": str(jobs_folder(self.hardware.cluster, node)), "everySeconds": 0.5},
            "hintsFolder": str(self.hardware.cluster.folder / "run" / node / "hints"),
            "listen": f"127.0.0.1:{self.metrics_ports[node]}",
        } | self._settings
        config = self.folder / f"{node}.yaml"
        config.write_text(yaml.safe_dump(written))
        return Process(self.folder, node, ("agent", "--config", str(config)), {})


def tls(folder: Path, shelf: str, name: str) -> dict[str, str]:
    """What a file says of who somebody is: authority, certificate and key, all from this folder."""
    own = folder / shelf / name
    return {"authority": str(folder / "ca.crt"), "certificate": f"{own}.crt", "key": f"{own}.key"}
