"""A cluster that somebody else made, such as kind's, in the place of a control plane of the tests' own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kube_plane import ControlPlane

VARIABLE = "E2E_KUBECONFIG"


class OnThePath:
    """kubectl and helm, wherever they are."""

    def path(self, program: str) -> Path:
        found = shutil.which(program)
        assert found is not None, f"{program} is not on the PATH"
        return Path(found)


class GivenCluster(ControlPlane):
    """Asked like a control plane of our own; nothing of it is started or ended."""

    def __init__(self, kubeconfig: Path) -> None:
        self.binaries = OnThePath()  # type: ignore[assignment]
        self.kubeconfig, self.programs = kubeconfig, {}


def given() -> GivenCluster | None:
    """The cluster of E2E_KUBECONFIG, if one is named."""
    named = os.environ.get(VARIABLE)
    return GivenCluster(Path(named)) if named else None
