"""KEDA, two processes beside the API server: its operator, and the server of metrics that autoscalers ask through it.

Its definitions come with its module. The API server finds the metrics at this machine's address, and shows no
certificate of its own there: it is let in as nobody in particular.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kube_binaries import Binaries
from kube_gateway import own_address
from kube_plane import ControlPlane
from kube_program import Program
from ports import free_port

from wattlease.runtime import pki

NAMESPACE, METRICS, READER = "keda", "keda-metrics-apiserver", "keda-external-metrics-reader"
GROUP = "external.metrics.k8s.io"
RBAC = "rbac.authorization.k8s.io"


@contextmanager
def keda(plane: ControlPlane) -> Iterator[None]:
    """KEDA at work while the block lasts."""
    binaries, port, address = Binaries.standing("keda"), free_port(), own_address()
    plane.kubectl("apply", "--server-side", "-f", str(binaries.share("keda.yaml")))
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    plane.apply(*_let_in(), *_metrics_at(address, port))
    programs = [Program(plane.log, f"keda-{name}", words, environment=_environment(plane))
                for name, words in _words(plane, binaries, port).items()]  # fmt: skip
    for program in programs:
        plane.programs[program.name] = program
        program.start()
    try:
        plane.until(lambda: _served(plane), "KEDA's metrics are served")
        yield
    finally:
        for program in programs:
            program.end()
            del plane.programs[program.name]


def _words(plane: ControlPlane, binaries: Binaries, port: int) -> dict[str, list[str | Path]]:
    server, client = _certificates(plane.folder / "keda")
    between = f"127.0.0.1:{free_port()}"
    kubeconfig = plane.kubeconfig
    return {
        "operator": [
            binaries.path("operator"), "--metrics-bind-address=0",
            f"--health-probe-bind-address=127.0.0.1:{free_port()}",
            f"--metrics-service-bind-address={between}", f"--cert-dir={server}", f"--ca-dir={server}",
            "--enable-webhook-patching=false", "--enable-apiservice-patching=false",
        ],
        "adapter": [
            binaries.path("adapter"), f"--secure-port={port}", f"--port={free_port()}",
            f"--metrics-service-address={between}", f"--cert-dir={client}",
            f"--tls-cert-file={server / 'tls.crt'}", f"--tls-private-key-file={server / 'tls.key'}",
            f"--lister-kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}", "--authentication-skip-lookup=true",
        ],
    }  # fmt: skip


def _environment(plane: ControlPlane) -> dict[str, str]:
    """What its Deployments give it, and a whole cluster to watch."""
    own = {"KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE, "POD_NAMESPACE": NAMESPACE, "WATCH_NAMESPACE": ""}
    return {"KUBECONFIG": str(plane.kubeconfig), **own}


def _certificates(folder: Path) -> tuple[Path, Path]:
    """Folders as KEDA looks for them, of one authority: what the operator serves with, and what it is asked with."""
    pki.found(folder / "pki")
    issued = {
        "server": pki.issue_grantor(folder / "pki", "keda", 30, ["127.0.0.1"]),
        "client": pki.issue_holder(folder / "pki", "adapter", 30),
    }
    for name, own in issued.items():
        (folder / name).mkdir()
        for file, path in (("tls.crt", own.certificate), ("tls.key", own.key), ("ca.crt", folder / "pki/ca.crt")):
            (folder / name / file).write_bytes(path.read_bytes())
    return folder / "server", folder / "client"


def _let_in() -> Iterator[dict[str, Any]]:
    yield {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": READER},
        "rules": [
            {"apiGroups": [GROUP], "resources": ["*"], "verbs": ["*"]},
            {"nonResourceURLs": [f"/apis/{GROUP}/*", "/openapi/*"], "verbs": ["get"]},
        ],
    }
    yield {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": READER},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": READER},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": "system:unauthenticated"}],
    }


def _metrics_at(address: str, port: int) -> Iterator[dict[str, Any]]:
    meta = {"name": METRICS, "namespace": NAMESPACE}
    spec = {"ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta | {"labels": {"kubernetes.io/service-name": METRICS}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }
    yield {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1beta1.{GROUP}"},
        "spec": {
            "group": GROUP, "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": {"name": METRICS, "namespace": NAMESPACE}, "insecureSkipTLSVerify": True,
        },
    }  # fmt: skip


def _served(plane: ControlPlane) -> bool:
    return plane.ask("GET", f"/apis/{GROUP}/v1beta1")[0] == 200
