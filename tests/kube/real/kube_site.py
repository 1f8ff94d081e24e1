"""A whole site: a real control plane, cards that its pods load, an agent on every node, and Wattlease's operators."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import yaml
from kube_agents import Agents, wattlease
from kube_hardware import KubeHardware
from kube_kwok import PRODUCT
from kube_plane import ControlPlane
from kube_program import Program
from kube_tokens import ACCOUNT, NAMESPACE, tokens
from ports import free_port
from slurm_work import Work

CRDS = Path(__file__).parents[3] / "crds"
API = "/apis/wattlease.io/v1alpha1"
BUDGET = "hall"


class Site:
    """Operators are called by their own command, each with a file of its own; `limit` edits the budget as a person
    would, by kubectl. Agents are known by their pods' tokens."""

    def __init__(
        self,
        plane: ControlPlane,
        nodes: Sequence[str],
        works: Sequence[Work],
        *,
        limit_w: float,
        budget: Mapping[str, Any] | None = None,
        operators: int = 1,
        **settings: Any,
    ) -> None:
        self.plane, self.limit_w, self.folder = plane, limit_w, plane.folder / "wattlease"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.hardware = KubeHardware(plane, nodes, works)
        self._ports = [free_port() for _ in range(operators)]
        self.pages = [free_port() for _ in range(operators)]
        plane.kubectl("apply", "--server-side", "-f", str(CRDS))
        known = tokens(plane, nodes, self.folder / "tokens")
        self.agents = Agents(self.hardware, [f"https://127.0.0.1:{port}" for port in self._ports], known)
        self._budget, self._settings = dict(budget or {}), settings
        self.operators = [self._operator(i) for i in range(operators)]
        self._apply_budget()

    def _apply_budget(self) -> None:
        guaranteed_w = self.agents.fallback_w * len(self.hardware.states)
        spec = {"limitWatts": round(self.limit_w), "guaranteedWatts": round(guaranteed_w) + 1} | self._budget
        self.plane.apply(
            {
                "apiVersion": "wattlease.io/v1alpha1",
                "kind": "PowerBudget",
                "metadata": {"name": BUDGET},
                "spec": spec,
            }
        )

    def limit(self, limit_w: float) -> None:
        """Have this limit from when the operator hears of it."""
        self.limit_w = limit_w
        patch = json.dumps({"spec": {"limitWatts": round(limit_w)}})
        self.plane.kubectl("patch", "powerbudget", BUDGET, "--type=merge", "-p", patch)

    def _operator(self, i: int) -> Program:
        path = self.folder / f"operator-{i}.yaml"
        path.write_text(yaml.safe_dump(self._written(i)))
        name = f"operator-{i}"
        return wattlease(self.plane.log, name, "operator", "run", "--config", str(path))

    def _written(self, i: int) -> dict[str, Any]:
        overhead, tls = self.hardware.overhead, self.agents.tls()
        product = {
            "gpuModel": "H100",
            "nodeNameplateWatts": round(self.agents.nameplate_w),
            "nodeFallbackWatts": round(self.agents.fallback_w),
            "overhead": {"floorWatts": overhead.floor_w, "perItPercent": 100.0 * overhead.per_it_frac},
        }
        listen = {"host": "127.0.0.1", "port": self._ports[i], "accounts": [f"{NAMESPACE}:{ACCOUNT}"]}
        return {
            "cluster": "kube",
            "namespace": NAMESPACE,
            "products": {PRODUCT: product},
            "listen": listen | {"certificate": tls["certificate"], "key": tls["key"]},
            "page": {"host": "127.0.0.1", "port": self.pages[i]},
            "stateFolder": str(self.folder / f"state-{i}"),
            "recordFolder": str(self.folder / f"record-{i}"),
            "kubeconfig": str(self.plane.kubeconfig),
        } | self._settings

    @contextmanager
    def running(self) -> Iterator[Self]:
        """All of it, while the block lasts; ready when every node is granted watts."""
        with self.hardware, self.agents.running():
            for operator in self.operators:
                operator.start()
            try:
                self.until(self._ready, "every node is heard", 120.0)
                yield self
            finally:
                for operator in self.operators:
                    operator.end()

    def _ready(self) -> bool:
        view = next((view for i in range(len(self.operators)) if (view := self.view(i))), {})
        return bool(view) and view["state"] != "blind"

    def view(self, i: int = 0) -> dict[str, Any]:
        """What the page of an operator shows; empty where it shows nothing."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.pages[i]}/api/view", timeout=2.0) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, ValueError):
            return {}

    def status(self) -> dict[str, Any]:
        """The budget's status, as anyone sees it."""
        found: dict[str, Any] = self.plane.read(f"{API}/powerbudgets/{BUDGET}").get("status", {})
        return found

    def until(self, true: Callable[[], object], what: str, patience_s: float = 30.0) -> float:
        """Wait for it; return how long that took. An operator that fell over is not waited for."""
        begun_s = time.monotonic()
        while not true():
            for operator in self.operators:
                assert operator.alive or "Traceback" not in operator.said(), operator.said()[-4000:]
            assert time.monotonic() - begun_s < patience_s, f"not within {patience_s:g} s: {what}\n{self.told()}"
            time.sleep(0.1)
        return time.monotonic() - begun_s

    def told(self) -> str:
        """The end of what the operators said, for a test that fails."""
        return "\n".join(operator.said()[-3000:] for operator in self.operators)
