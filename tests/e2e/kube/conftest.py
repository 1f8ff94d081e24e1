"""Tests against a real Kubernetes control plane: `make e2e-kube`."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in ("kube/real", "kube/manifests", "slurm/real"):  # Slurm's harness lends its cards and their meter
    sys.path.insert(0, str(HERE.parents[1] / folder))

from kube_binaries import Binaries, BinariesError  # noqa: E402
from kube_ground import Ground, ground_of  # noqa: E402
from kube_kueue import kueue  # noqa: E402
from kube_kwok import kwok  # noqa: E402
from kube_plane import ControlPlane  # noqa: E402

NODES = ("gpu-1", "gpu-2", "gpu-3", "gpu-4")

LONGEST = tuple(f"test_{name}_real_kube.py" for name in ("limit", "operator", "swap", "foreign"))

NewPlane = Callable[..., ControlPlane]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nobody gets a control plane who did not ask for one. The longest come first: others run beside them."""
    if "E2E_KUBE" in os.environ:
        items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    else:
        skipped = pytest.mark.skip(reason="brings up a real Kubernetes control plane: make e2e-kube")
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(skipped)


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """Who asked for a control plane gets one; on CI, or a failure."""
    try:
        return Binaries.standing()
    except BinariesError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def plane(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that tests share, each with a namespace of its own."""
    with ControlPlane(binaries, tmp_path_factory.mktemp("plane")) as found:
        yield found


@pytest.fixture(scope="session")
def nodes(plane: ControlPlane) -> Iterator[tuple[str, ...]]:
    """Four nodes of eight GPUs on it."""
    with kwok(plane, NODES):
        yield NODES


@pytest.fixture(scope="session")
def queues(plane: ControlPlane, nodes: tuple[str, ...]) -> Iterator[None]:
    """Kueue on it."""
    with kueue(plane):
        yield


@pytest.fixture
def namespace(plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[str]:
    """The test's own; what ran in it is gone when the next test begins."""
    name = f"t-{abs(hash(request.node.nodeid)):x}"
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    plane.until(lambda: plane.furnished(name), "a namespace is set up")
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")
    plane.until(lambda: not plane.pods(name), "its pods are gone")


@pytest.fixture
async def ground(plane: ControlPlane, nodes: tuple[str, ...], namespace: str) -> AsyncIterator[Ground]:
    """Where levers are tried one by one."""
    async with ground_of(plane, namespace) as found:
        yield found


@pytest.fixture
def new_plane(binaries: Binaries, tmp_path: Path) -> Iterator[NewPlane]:
    """A maker of control planes of the test's own."""
    with ExitStack() as planes:

        def make(name: str = "own", **how: object) -> ControlPlane:
            return planes.enter_context(ControlPlane(binaries, tmp_path / name, **how))  # type: ignore[arg-type]

        yield make
