"""The chart as Helm renders it, for tests; Helm itself is whichever is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm/wattlease"
RELEASE, NAMESPACE = "wattlease", "power"

sys.path.insert(0, str(ROOT / "tests/kube/real"))

Body = dict[str, Any]

SETS: Mapping[str, Body] = {
    "as it comes": {},
    "virtual GPUs": yaml.safe_load((ROOT / "examples/kubernetes/values-virtual.yaml").read_text(encoding="utf-8")),
    "the driver mounted": {"agent": {"driverRoot": "/run/nvidia/driver/lib", "rapl": False}},
    "agents elsewhere": {"agent": {"enabled": False}, "service": {"leases": {"type": "LoadBalancer"}}},
    "cert-manager": {
        "certificates": {
            "mode": "certManager",
            "authorityConfigMap": "site-authority",
            "certManager": {"issuerRef": {"name": "site", "kind": "ClusterIssuer"}},
        }
    },
    "certificates that are there": {
        "certificates": {
            "mode": "existing",
            "authorityConfigMap": "site-authority",
            "existing": {"secretName": "own-tls"},
        }
    },
    "everything": {
        "cluster": "hall-2",
        "fullnameOverride": "watts",
        "commonLabels": {"team": "power"},
        "imagePullSecrets": [{"name": "registry"}],
        "operator": {
            "image": {"digest": "sha256:" + 64 * "a"},
            "rootBudget": "hall",
            "products": {"NVIDIA-H100-80GB-HBM3": {"nodeNameplateWatts": 10200}},
            "settings": {"leadershipSeconds": 6, "listen": {"port": 8943}},
            "stateClaim": "state",
            "record": True,
            "env": [{"name": "A", "value": "b"}],
            "nodeSelector": {"pool": "system"},
            "podAnnotations": {"a": "b"},
            "serviceAccountAnnotations": {"a": "b"},
        },
        "agent": {
            "overhead": {"floorWatts": 1700, "perItPercent": 14},
            "redfish": {
                "settings": {"url": "https://169.254.0.17", "credentialsFile": "/etc/wattlease-redfish/account"},
                "secretName": "boards",
            },
            "settings": {"guardSeconds": 0.2},
            "fallbackWatts": None,
        },
        "service": {"leases": {"hosts": ["watts.example.com", "10.0.0.7"]}, "page": {"names": ["watts.example.com"]}},
        "networkPolicy": {
            "pageFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            "operatorEgress": [{"ports": [{"port": 502, "protocol": "TCP"}]}],
            "agentEgress": [{"to": [{"ipBlock": {"cidr": "169.254.0.0/16"}}]}],
        },
        "monitoring": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "rules": {"enabled": True, "alertLabels": {"team": "power"}},
            "dashboards": {"enabled": True},
        },
    },
}
"""Values that between them render every branch of every template."""


def helm_program() -> str:
    """HELM, one on the PATH, or the one that the suite on a real cluster builds; without any the test is skipped."""
    from kube_binaries import Binaries, BinariesError

    if found := os.environ.get("HELM") or shutil.which("helm"):
        return found
    try:
        return str(Binaries.standing("helm").path("helm"))
    except BinariesError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Helm: {missing}; HELM names another")


@dataclass(frozen=True)
class Rendered:
    """What a set of values comes to."""

    objects: tuple[Body, ...]

    def all(self, kind: str) -> list[Body]:
        return [body for body in self.objects if body["kind"] == kind]

    def one(self, kind: str, end: str = "") -> Body:
        (found,) = [body for body in self.all(kind) if body["metadata"]["name"].endswith(end)]
        return found

    def pods(self) -> Iterator[tuple[str, Body]]:
        """The pod template of each part, by the part's name."""
        for kind in ("Deployment", "DaemonSet"):
            yield from ((body["metadata"]["name"], body["spec"]["template"]["spec"]) for body in self.all(kind))


def helm(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """One call, without a cluster."""
    argv = [helm_program(), *words]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60)


def template(values: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    told = yaml.safe_dump(dict(values))
    return helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", "-", stdin=told)


def rendered(values: Mapping[str, Any]) -> Rendered:
    done = template(values)
    assert done.returncode == 0, done.stderr
    return Rendered(tuple(body for body in yaml.safe_load_all(done.stdout) if body))
