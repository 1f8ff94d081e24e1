"""The chart on a real API server: taken whole, upgraded, rolled back, removed; and the rights it gives are enough."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from kube_kueue import kueue, queue
from kube_kwok import GPUS, kwok
from kube_loads import CHECK, LIMIT_W_A_NODE, QUEUE, WORKS, admission_check, ground
from kube_loads import NAMESPACE as TEAM
from kube_plane import ControlPlane
from kube_site import Site
from kube_work import job, pod

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests/kube/chart"))

from chart_rendering import CHART, SETS  # noqa: E402
from given_cluster import given  # noqa: E402

RELEASE = NAMESPACE = "wattlease"
NOT_SERVED = {"monitoring.coreos.com/v1", "cert-manager.io/v1"}
"""Kinds whose definitions others bring."""

MANAGER = "wattlease"


def helm(plane: ControlPlane, *words: str, values: Mapping[str, Any] | None = None) -> str:
    """One call against the control plane, by an administrator; in the release's namespace."""
    argv = [str(plane.binaries.path("helm")), "--kubeconfig", str(plane.kubeconfig), "--namespace", NAMESPACE, *words]
    argv += ["--values", "-"] if values is not None else []
    told = yaml.safe_dump(dict(values or {}))
    done = subprocess.run(argv, input=told, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def bare(request: pytest.FixtureRequest) -> ControlPlane:
    """A control plane on which nothing of ours ever was; E2E_KUBECONFIG names one in place of the tests' own."""
    found: ControlPlane = given() or request.getfixturevalue("new_plane")("chart")
    return found


def test_the_server_takes_every_object_of_every_set_of_values(bare: ControlPlane) -> None:
    bare.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    bare.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for name, values in SETS.items():
        made = yaml.safe_load_all(helm(bare, "template", RELEASE, str(CHART), values=values))
        sent = [body for body in made if body and body["apiVersion"] not in NOT_SERVED]
        told = yaml.safe_dump_all(sent)
        words = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
        answer = bare.kubectl(*words, "-n", NAMESPACE, "-f", "-", stdin=told, timeout_s=120.0)
        assert answer.count("(server dry run)") == len(sent), name


def test_the_server_takes_every_example(bare: ControlPlane) -> None:
    bare.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    bare.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "research"}})
    for name in ("hall", "profiles", "train", "serve"):
        words = ("apply", "--server-side", "--dry-run=server", "--validate=strict")
        bare.kubectl(*words, "-f", str(ROOT / f"examples/kubernetes/{name}.yaml"))


def test_kueue_takes_the_example_of_a_queue(new_plane: Callable[..., ControlPlane]) -> None:
    bare = new_plane("queue")
    bare.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "research"}})
    with kueue(bare):
        bare.kubectl("apply", "--server-side", "--validate=strict", "-f", str(ROOT / "examples/kubernetes/kueue.yaml"))
        assert bare.has("clusterqueue", "gpus")


def marks(plane: ControlPlane) -> dict[str, tuple[str, str]]:
    """Users' objects: what changes when anybody writes them."""
    kinds = "powerbudgets,powerprofiles,jobs,customresourcedefinitions"
    return {
        f"{body['kind']}/{body['metadata']['name']}": (body["metadata"]["uid"], written(body))
        for body in plane.get(kinds, "-A")["items"]
        if body["kind"] != "CustomResourceDefinition" or body["metadata"]["name"].endswith("wattlease.io")
    }


def written(body: dict[str, Any]) -> str:
    """Of a definition only what it defines: Helm may write labels on what it brought."""
    if body["kind"] == "CustomResourceDefinition":
        return str(body["metadata"]["generation"])
    return str(body["metadata"]["resourceVersion"])


def certificate(plane: ControlPlane) -> tuple[str, str]:
    """The operator's certificate, and who vouches for it."""
    secret = plane.get("secret", f"{RELEASE}-tls", "-n", NAMESPACE)["data"]
    authority = plane.get("configmap", f"{RELEASE}-authority", "-n", NAMESPACE)["data"]
    return secret["tls.crt"], authority["ca.crt"]


def vouches_for(pair: tuple[str, str]) -> None:
    """Raises InvalidSignature or ValueError where the authority did not sign the certificate."""
    signed = x509.load_pem_x509_certificate(base64.b64decode(pair[0]))
    signed.verify_directly_issued_by(x509.load_pem_x509_certificate(pair[1].encode()))


def agents_template(plane: ControlPlane) -> int:
    """Rises with every change that would restart agents."""
    generation: int = plane.get("daemonset", f"{RELEASE}-agent", "-n", NAMESPACE)["metadata"]["generation"]
    return generation


@pytest.mark.timeout(300)
def test_it_is_installed_upgraded_rolled_back_and_removed_and_what_is_the_users_stays(bare: ControlPlane) -> None:
    helm(bare, "install", RELEASE, str(CHART), "--create-namespace", values={})
    bare.kubectl("wait", "crd/powerbudgets.wattlease.io", "--for=condition=Established", "--timeout=30s")
    bare.kubectl("create", "namespace", "research")
    for name in ("hall", "profiles"):
        bare.kubectl("apply", "--server-side", "-f", str(ROOT / f"examples/kubernetes/{name}.yaml"))
    before, made = marks(bare), certificate(bare)
    assert {"PowerBudget/hall", "PowerProfile/training"} <= before.keys()
    assert "Shadow" in bare.kubectl("get", "powerbudget", "hall")

    agents = agents_template(bare)
    helm(bare, "upgrade", RELEASE, str(CHART), values={"operator": {"replicas": 3}})
    assert bare.get("deployment", f"{RELEASE}-operator", "-n", NAMESPACE)["spec"]["replicas"] == 3
    assert certificate(bare) == made, "an upgrade makes no new certificate"
    assert agents_template(bare) == agents, "an upgrade that concerns the operator alone restarts no agent"

    helm(bare, "upgrade", RELEASE, str(CHART), values={"certificates": {"selfSigned": {"renewal": "second"}}})
    renewed = certificate(bare)
    assert renewed[0] != made[0], "another word makes another certificate"
    assert renewed[1] == made[1], "under the same authority"
    vouches_for(renewed)

    helm(bare, "rollback", RELEASE, "1")
    assert bare.get("deployment", f"{RELEASE}-operator", "-n", NAMESPACE)["spec"]["replicas"] == 2
    assert certificate(bare) == made
    assert marks(bare) == before, "neither changes a budget, a profile or a definition"

    helm(bare, "uninstall", RELEASE)
    assert marks(bare) == before, "what is the users' stays"
    left = bare.get("all,secrets,configmaps,serviceaccounts,roles,rolebindings,networkpolicies,pdb", "-n", NAMESPACE)
    ours = [b for b in left["items"] if "app.kubernetes.io/instance" in b["metadata"].get("labels", {})]
    assert not [b["metadata"]["name"] for b in ours if not b["metadata"].get("deletionTimestamp")]
    for kind in ("clusterroles", "clusterrolebindings"):
        assert not bare.get(kind, "-l", f"app.kubernetes.io/instance={RELEASE}")["items"]

    helm(bare, "install", RELEASE, str(CHART), values={})
    assert marks(bare) == before, "the next install takes up the definitions that were kept"


@pytest.mark.timeout(600)
def test_the_rights_that_the_chart_gives_are_enough_for_all_that_the_operator_does(
    new_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    plane, nodes = new_plane("rights"), tuple(f"gpu-{i}" for i in range(4))
    with kwok(plane, nodes), kueue(plane):
        rights = {"agent": {"enabled": False}, "operator": {"replicas": 0}}  # both run here as processes
        helm(plane, "install", RELEASE, str(CHART), "--create-namespace", values=rights)
        kubeconfig = as_the_operator(plane, tmp_path)
        site = Site(plane, nodes, WORKS, limit_w=LIMIT_W_A_NODE * len(nodes), kubeconfig=str(kubeconfig))
        plane.apply(*ground())
        plane.apply(admission_check())
        plane.apply(*queue(len(nodes) * GPUS, name=QUEUE, namespace=TEAM, checks=(CHECK,)))
        with site.running():
            plane.apply(held(job("train-held", 8, TEAM, suspend=True)), gated(pod("train-gated", 4, TEAM)))
            plane.apply(job("train-queued", 4, TEAM, queue=QUEUE))
            for name in ("train-held", "train-gated", "train-queued"):
                site.until(lambda name=name: runs(plane, name), f"{name} is let go", 60.0)  # type: ignore[misc]
            site.until(lambda: told(plane, "MetersHealthy"), "the budget's status is written")
            site.until(lambda: events(plane), "jobs are told")
            site.until(lambda: granted(plane) == set(nodes), "nodes are told what they are granted", 60.0)
            time.sleep(5.0)
        said = site.operators[0].said()
    refused = [line for line in said.splitlines() if "forbidden" in line.lower() or "REFUSED" in line]
    assert not refused, refused[:5]


def as_the_operator(plane: ControlPlane, folder: Path) -> Path:
    """A kubeconfig with the chart's own service account in place of the administrator."""
    account = f"{RELEASE}-operator"
    token = plane.kubectl("create", "token", account, "-n", NAMESPACE, "--duration=2h").strip()
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = folder / "operator.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


def held(body: dict[str, Any]) -> dict[str, Any]:
    """A Job that waits for watts from its birth."""
    return body | {"metadata": body["metadata"] | {"annotations": {"wattlease.io/held-by": "wattlease"}}}


def gated(body: dict[str, Any]) -> dict[str, Any]:
    """A pod that does."""
    return body | {"spec": body["spec"] | {"schedulingGates": [{"name": "wattlease.io/power"}]}}


def runs(plane: ControlPlane, name: str) -> bool:
    """Whether a pod of this name, or of a Job of it, does."""
    pods = plane.get("pods", "-n", TEAM)["items"]
    return any(p["metadata"]["name"].startswith(name) and p["status"]["phase"] == "Running" for p in pods)


def told(plane: ControlPlane, condition: str) -> bool:
    conditions = plane.get("powerbudget", "hall").get("status", {}).get("conditions", ())
    return condition in {c["type"] for c in conditions}


def events(plane: ControlPlane) -> list[str]:
    found = plane.get("events.events.k8s.io", "-A")["items"]
    return [e["note"] for e in found if e.get("reportingController", "").startswith(MANAGER)]


def granted(plane: ControlPlane) -> set[str]:
    nodes = plane.get("nodes")["items"]
    return {
        n["metadata"]["name"] for n in nodes if "wattlease.io/granted-watts" in n["metadata"].get("annotations", {})
    }
