"""Kueue, a process beside the API server, which asks its webhooks as it would ask those of a pod.

Kueue's objects come from its chart, less what runs it in a pod. Webhooks are named by address instead of by service,
under an authority of this cluster's own. Kueue reads the certificate of its metrics in /etc/kueue, so it runs with an
/etc of its own.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import yaml
from kube_kwok import GPU
from kube_plane import ControlPlane, KubectlError
from kube_program import Program
from ports import free_port

from wattlease.runtime import pki

NAMESPACE = "kueue-system"
CPUS_A_GPU = 16
LEFT_OUT = frozenset({"Deployment", "APIService", "Secret", "Service"})
OWN_ETC = 'mount --bind "$0" /etc && exec "$@"'


@contextmanager
def kueue(plane: ControlPlane) -> Iterator[Program]:
    """Kueue at work while the block lasts."""
    objects = list(filter(None, yaml.safe_load_all(plane.binaries.share("kueue.yaml").read_text())))
    folder, ports = plane.folder / "kueue", {"webhook": free_port(), "health": free_port()}
    authority = _certificates(folder)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(_configuration(objects, ports, folder / "etc/kueue/metrics/certs")))
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    plane.apply(*_outside(objects, ports["webhook"], authority))
    plane.until(lambda: _told_of(plane, objects), "the API server tells of Kueue's kinds")
    program = Program(
        plane.log, "kueue",
        [plane.binaries.path("kueue"), f"--config={config}", "--feature-gates=VisibilityOnDemand=false"],
        environment={"KUBECONFIG": str(plane.kubeconfig)}, before=_own_etc(folder / "etc"),
    )  # fmt: skip
    plane.programs["kueue"] = program
    program.start()
    try:
        plane.until(lambda: _ready(ports["health"]), "Kueue is ready")
        plane.until(lambda: _takes(plane), "Kueue's webhooks answer")
        yield program
    finally:
        program.end()
        del plane.programs["kueue"]


def queue(gpus: int, *, name: str = "gpus", namespace: str = "default", checks: tuple[str, ...] = ()) -> list[Any]:
    """A queue of a namespace with so many GPUs, whose jobs wait for these admission checks."""
    api = "kueue.x-k8s.io/v1beta2"
    quotas = {"cpu": CPUS_A_GPU * gpus, GPU: gpus}  # Kueue reserves nothing for who asks for more kinds than it covers
    flavour = {"name": "h100", "resources": [{"name": name, "nominalQuota": most} for name, most in quotas.items()]}
    group = {"coveredResources": [*quotas], "flavors": [flavour]}
    spec: dict[str, Any] = {"namespaceSelector": {}, "resourceGroups": [group]}
    if checks:
        spec["admissionChecksStrategy"] = {"admissionChecks": [{"name": check} for check in checks]}
    return [
        {"apiVersion": api, "kind": "ResourceFlavor", "metadata": {"name": "h100"}},
        {"apiVersion": api, "kind": "ClusterQueue", "metadata": {"name": name}, "spec": spec},
        {
            "apiVersion": api,
            "kind": "LocalQueue",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterQueue": name},
        },
    ]


def _certificates(folder: Path) -> str:
    """Where Kueue looks for them; returns the authority as a `caBundle`."""
    pki.found(folder / "pki")
    issued = pki.issue_grantor(folder / "pki", "kueue", 30, ["127.0.0.1"])
    place = folder / "etc/kueue/metrics/certs"
    place.mkdir(parents=True)
    (place / "tls.crt").write_bytes(issued.certificate.read_bytes())
    (place / "tls.key").write_bytes(issued.key.read_bytes())
    return base64.b64encode((folder / "pki/ca.crt").read_bytes()).decode()


def _configuration(objects: list[dict[str, Any]], ports: dict[str, int], certificates: Path) -> dict[str, Any]:
    """The chart's own, for a Kueue outside."""
    [text] = [o["data"]["controller_manager_config.yaml"] for o in objects if o["kind"] == "ConfigMap"]
    written: dict[str, Any] = yaml.safe_load(text)
    return written | {
        "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": f"127.0.0.1:{ports['health']}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"port": ports["webhook"], "certDir": str(certificates)},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
    }


def _outside(objects: list[dict[str, Any]], port: int, authority: str) -> Iterator[dict[str, Any]]:
    """The objects that are kept, with every webhook of theirs at this machine's port."""
    for body in objects:
        if body["kind"] not in LEFT_OUT:
            for hook in body.get("webhooks", ()):
                hook["clientConfig"] = _client(hook["clientConfig"], port, authority)
            if hook := body.get("spec", {}).get("conversion", {}).get("webhook"):
                hook["clientConfig"] = _client(hook["clientConfig"], port, authority)
            yield body


def _client(told: dict[str, Any], port: int, authority: str) -> dict[str, str]:
    return {"url": f"https://127.0.0.1:{port}{told['service']['path']}", "caBundle": authority}


def _own_etc(folder: Path) -> list[str]:
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *mapped, "--mount", "sh", "-c", OWN_ETC, str(folder)]


def _told_of(plane: ControlPlane, objects: list[dict[str, Any]]) -> bool:
    """Whether the server names all its kinds: a Kueue that misses one ends at once."""
    kinds = [body["spec"] for body in objects if body["kind"] == "CustomResourceDefinition"]
    wanted = {(f"{s['group']}/{v['name']}", s["names"]["plural"]) for s in kinds for v in s["versions"] if v["served"]}
    versions = {version: plane.ask("GET", f"/apis/{version}")[1] for version, _ in wanted}
    told = {(version, r["name"]) for version, answer in versions.items() for r in answer.get("resources", ())}
    return wanted <= told


def _ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _takes(plane: ControlPlane) -> bool:
    flavour = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ResourceFlavor", "metadata": {"name": "tried"}}
    try:
        plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(flavour))
    except KubectlError:
        return False
    return True
