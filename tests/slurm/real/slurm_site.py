"""A whole site: a real Slurm, cards that its jobs load, an agent on every node, and the Wattlease daemon."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import yaml
from ports import free_port
from slurm_agents import Agents
from slurm_cluster import Cluster
from slurm_hardware import Hardware
from slurm_process import Process
from slurm_work import Work

from wattlease.runtime.lease.disk import replace_file

ROOT = Path(__file__).parents[3]
JOB_SUBMIT = ROOT / "slurm_plugin" / "lua"


class Site:
    """The daemon is called by its own command with a file of its own, and each of several by another port.

    `limit` writes the file anew; all that a person would change is in `budget` and `slurm`.
    """

    def __init__(
        self,
        cluster: Cluster,
        works: Sequence[Work],
        *,
        limit_w: float,
        budget: Mapping[str, Any] | None = None,
        slurm: Mapping[str, Any] | None = None,
        daemons: int = 1,
        **settings: Any,
    ) -> None:
        self.cluster = cluster
        self.hardware = Hardware(cluster, works, maps=True)
        self._ports = [free_port() for _ in range(daemons)]
        self.pages = [free_port() for _ in range(daemons)]
        self.agents = Agents(self.hardware, [f"https://127.0.0.1:{port}" for port in self._ports])
        self.limit_w = limit_w
        self.folder = cluster.folder / "wattlease"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._budget, self._slurm, self._settings = dict(budget or {}), dict(slurm or {}), settings
        self.files = [self.folder / f"daemon-{i}.yaml" for i in range(daemons)]
        self.daemons = [
            Process(self.folder, f"daemon-{i}", ("slurm", "run", "--config", str(path)), {})
            for i, path in enumerate(self.files)
        ]
        self.limit(limit_w)

    def limit(self, limit_w: float, **budget: Any) -> None:
        """Have this limit, and other words of the budget, from when the daemon next looks."""
        self.limit_w = limit_w
        self._budget |= budget
        for i, path in enumerate(self.files):
            replace_file(path, yaml.safe_dump(self._written(i), encoding="utf-8"))

    def _written(self, i: int) -> dict[str, Any]:
        overhead = self.hardware.overhead
        nodes = list(self.hardware.states)
        fallback_w = self.agents.fallback_w
        return {
            "name": "site",
            "groups": [
                {
                    "name": "gpu",
                    "cluster": "slurm",
                    "budget": "site",
                    "nodes": len(nodes),
                    "nodeNames": nodes,
                    "gpusPerNode": 8,
                    "gpuModel": "H100",
                    "nodeNameplateWatts": round(self.agents.nameplate_w),
                    "nodeFallbackWatts": round(fallback_w),
                    "overhead": {"floorWatts": overhead.floor_w, "perItPercent": 100.0 * overhead.per_it_frac},
                }
            ],
            "budgets": [
                {
                    "metadata": {"name": "site"},
                    "spec": {"limitWatts": round(self.limit_w), "guaranteedWatts": round(fallback_w * len(nodes) + 1)}
                    | self._budget,
                }
            ],
            "listen": {"port": self._ports[i], **self.agents.tls()},
            "page": {"port": self.pages[i]},
            "stateFolder": str(self.folder / "state"),
            "recordFolder": str(self.folder / f"record-{i}"),
            "slurm": {
                "backend": "Commands",
                "binFolder": str(self.cluster.bin),
                "pollSeconds": 1,
                "verdictFile": str(self.cluster.folder / "run" / "verdict"),
            }
            | self._slurm,
        } | self._settings

    @property
    def daemon(self) -> Process:
        """The first."""
        return self.daemons[0]

    @contextmanager
    def running(self) -> Iterator[Self]:
        """All of it, while the block lasts; ready when every node is granted watts."""
        with self.hardware, self.agents.running():
            for daemon in self.daemons:
                daemon.start()
            try:
                self.until(self._ready, "every node is heard", 120.0)
                yield self
            finally:
                for daemon in self.daemons:
                    daemon.end()

    def _ready(self) -> bool:
        view = next((view for i in range(len(self.daemons)) if (view := self.view(i))), {})
        return bool(view) and self.cluster.folder.joinpath("run", "verdict").exists() and view["state"] != "blind"

    def view(self, i: int = 0) -> dict[str, Any]:
        """What the page of a daemon shows; empty where it shows nothing."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.pages[i]}/api/view", timeout=2.0) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, ValueError):
            return {}

    def until(self, true: Callable[[], object], what: str, patience_s: float = 30.0) -> float:
        """Wait for it; return how long that took. A daemon that fell over is not waited for."""

        def so() -> bool:
            for daemon in self.daemons:
                assert daemon.alive or "Traceback" not in daemon.said(), daemon.said()[-4000:]
            return bool(true())

        return self.until_dead(so, what, patience_s)

    def until_dead(self, true: Callable[[], object], what: str, patience_s: float = 30.0) -> float:
        """The same, whatever becomes of the daemons."""
        begun_s = time.monotonic()
        while not true():
            assert time.monotonic() - begun_s < patience_s, f"not within {patience_s:g} s: {what}\n{self.told()}"
            time.sleep(0.1)
        return time.monotonic() - begun_s

    def told(self) -> str:
        """The end of what the daemons said, for a test that fails."""
        return "\n".join(daemon.said()[-3000:] for daemon in self.daemons)
