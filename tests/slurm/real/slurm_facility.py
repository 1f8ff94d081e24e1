"""A facility above a Slurm: a process of its own that leases the daemon its watts, from a limit for two clusters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import yaml
from ports import free_port
from slurm_agents import DAYS, tls
from slurm_process import Process

from wattlease.runtime import pki
from wattlease.runtime.lease.disk import replace_file

SLURM, OTHER = "slurm", "other"
"""The clusters: ours, and one that was never started, whose guarantee is lent to nobody."""


class Facility:
    """It is called by its own command with a file of its own; `limit` writes that anew."""

    def __init__(self, folder: Path, limit_w: float, guaranteed_w: Mapping[str, int], most_w: int) -> None:
        self.folder, self._guaranteed_w, self._most_w = folder, dict(guaranteed_w), most_w
        self._port, self._page_port = free_port(), free_port()
        self._pki = folder / "pki"
        pki.found(self._pki)
        pki.issue_grantor(self._pki, "facility", DAYS, ["127.0.0.1"])
        pki.issue_holder(self._pki, SLURM, DAYS, kind="cluster")
        self._file = folder / "facility.yaml"
        self.limit(limit_w)
        self.process = Process(folder, "facility", ("facility", "--config", str(self._file)), {})

    def share(self) -> dict[str, Any]:
        """What the daemon's file says of it."""
        grantors = [f"https://127.0.0.1:{self._port}"]
        return {"cluster": SLURM, "grantors": grantors, **tls(self._pki, "clusters", SLURM)}

    def limit(self, limit_w: float) -> None:
        """Have this limit from when the facility next looks."""
        replace_file(self._file, yaml.safe_dump(self._written(limit_w), encoding="utf-8"))

    @contextmanager
    def running(self) -> Iterator[Self]:
        """It, while the block lasts."""
        self.process.start()
        try:
            yield self
        finally:
            self.process.end()

    def _written(self, limit_w: float) -> dict[str, Any]:
        spec = {
            "limitWatts": round(limit_w),
            "guaranteedWatts": sum(self._guaranteed_w.values()),
            "ramp": {"releasePercentPerMinute": 100},
            "band": {"marginPercent": 0},
        }
        most = {"budget": "campus", "watts": self._most_w}
        shares = [
            {"metadata": {"name": cluster}, "spec": {**most, "cluster": cluster, "guaranteedWatts": guaranteed_w}}
            for cluster, guaranteed_w in self._guaranteed_w.items()
        ]
        return {
            "name": "campus",
            "budgets": [{"metadata": {"name": "campus"}, "spec": spec}],
            "shares": shares,
            "listen": {"port": self._port, **tls(self._pki, "grantors", "facility")},
            "page": {"port": self._page_port},
            "stateFolder": str(self.folder / "state"),
        }
