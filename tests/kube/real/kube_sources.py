"""Which programs a cluster is made of: their modules and versions, and the manifests that belong to them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Share = Callable[[Path, Path, Path], None]
"""Puts manifests of a module (first) into a folder (second), with the programs built so far (third)."""


def _nothing(module: Path, into: Path, programs: Path) -> None:
    """Programs that bring no manifests."""


@dataclass(frozen=True, slots=True)
class Target:
    """A Go module and the programs wanted of it."""

    name: str
    module: str
    version: str
    packages: tuple[str, ...]
    stamps: str = ""
    """Linker flags that tell a program its own version."""
    staging: bool = False
    """Its `replace` lines name folders that a module does not carry."""
    beside: tuple[str, ...] = ()
    """Other modules, with their versions, that its manifests are made of."""
    shared: tuple[str, ...] = ()
    """The names that `share` makes."""
    share: Share = field(default=_nothing)

    def modfile(self, module: Path, side: Path) -> list[str]:
        """Flags for another go.mod than the module's own, where that one serves in its repository alone."""
        if not self.staging:
            return []
        own = (module / "go.mod").read_text()
        (side / "go.mod").write_text(published(own, f"v0.{self.version.partition('.')[2]}"))
        shutil.copyfile(module / "go.sum", side / "go.sum")
        return ["-mod=mod", f"-modfile={side / 'go.mod'}"]


def published(go_mod: str, version: str) -> str:
    """Kubernetes' go.mod with the parts it keeps in its own repository taken as they are published; samples are not."""
    lines = [line for line in go_mod.splitlines() if "=> ./staging/" not in line and "/sample-" not in line]
    return re.sub(r"^(\tk8s\.io/\S+) v0\.0\.0$", rf"\1 {version}", "\n".join(lines) + "\n", flags=re.MULTILINE)


def _kwok_stages(module: Path, into: Path, programs: Path) -> None:
    """How KWOK's nodes and pods come to life: at once, with a lease for every node."""
    folders = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
    texts = [
        path.read_text()
        for folder in folders
        for path in sorted((module / "kustomize/stage" / folder).glob("*.yaml"))
        if path.name not in {"kustomization.yaml"}
    ]
    (into / "kwok-stages.yaml").write_text("\n---\n".join(texts))


def _kueue_objects(module: Path, into: Path, programs: Path) -> None:
    words = ["template", "kueue", str(module / "charts/kueue"), "--namespace", "kueue-system", "--include-crds"]
    made = subprocess.run([str(programs / "helm"), *words], capture_output=True, text=True, check=True)
    (into / "kueue.yaml").write_text(made.stdout)


GATEWAY_API = "sigs.k8s.io/gateway-api@v1.4.1"


def _gateway_kinds(module: Path, into: Path, programs: Path) -> None:
    """The standard kinds of the Gateway API."""
    kinds = module.parents[3] / GATEWAY_API / "config/crd/standard"
    texts = [path.read_text() for path in sorted(kinds.glob("gateway.networking.k8s.io_*.yaml"))]
    (into / "gateway-api.yaml").write_text("\n---\n".join(texts))


def _keda_kinds(module: Path, into: Path, programs: Path) -> None:
    """KEDA's definitions."""
    texts = [path.read_text() for path in sorted((module / "config/crd/bases").glob("*.yaml"))]
    (into / "keda.yaml").write_text("\n---\n".join(texts))


KUBERNETES = "1.36.3"
_VERSION = "k8s.io/component-base/version"

TARGETS = {
    target.name: target
    for target in (
        Target("kubeconform", "github.com/yannh/kubeconform", "0.8.0", ("./cmd/kubeconform",)),
        Target(
            "kubernetes", "k8s.io/kubernetes", KUBERNETES,
            ("./cmd/kube-apiserver", "./cmd/kube-controller-manager", "./cmd/kube-scheduler", "./cmd/kubectl"),
            stamps=f"-X {_VERSION}.gitVersion=v{KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=36",
            staging=True,
        ),
        Target(
            "kwok", "sigs.k8s.io/kwok", "0.8.0", ("./cmd/kwok",),
            shared=("kwok-stages.yaml",), share=_kwok_stages,
        ),
        Target(
            "helm", "helm.sh/helm/v4", "4.3.1", ("./cmd/helm",),
            stamps="-X helm.sh/helm/v4/internal/version.version=v4.3.1",
        ),
        Target(
            "kueue", "sigs.k8s.io/kueue", "0.19.2", ("./cmd/kueue",),
            shared=("kueue.yaml",), share=_kueue_objects,
        ),
        Target(
            "traefik", "github.com/traefik/traefik/v3", "3.6.1", ("./cmd/traefik",),
            beside=(GATEWAY_API,), shared=("gateway-api.yaml",), share=_gateway_kinds,
        ),
        Target(
            "keda", "github.com/kedacore/keda/v2", "2.21.0", ("./cmd/operator", "./cmd/adapter"),
            shared=("keda.yaml",), share=_keda_kinds,
        ),
    )
}  # fmt: skip
"""In the order they are built: Kueue's objects come out of its chart through Helm."""

ASKED_FOR = ("keda",)
"""Built for who names it: ten minutes more, most of it clients of clouds."""

USUAL = tuple(name for name in TARGETS if name not in ASKED_FOR)

DEFAULT = tuple(name for name in USUAL if name != "traefik")
"""In one folder. Each other has a folder of its own; Traefik, which only the swap of models asks for, takes nine
minutes."""
