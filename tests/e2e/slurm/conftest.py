"""Tests against a real Slurm, of the version that SLURM names: `make e2e-slurm SLURM=24.11.5`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "slurm" / "real"))  # the cluster and its hardware stand in modules there

from slurm_cluster import Cluster  # noqa: E402
from slurm_installation import Installation  # noqa: E402

LONGEST = ("test_limit_real_slurm.py", "test_event_real_slurm.py", "test_faults_real_slurm.py")

NewCluster = Callable[..., Cluster]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nobody gets a Slurm who did not ask for one; who asked gets one, or a failure. The longest come first: others
    run beside them."""
    if "SLURM" in os.environ:
        items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    else:
        skipped = pytest.mark.skip(reason="brings up a real Slurm: make e2e-slurm")
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(skipped)


@pytest.fixture(scope="session")
def installation() -> Installation:
    return Installation.of(os.environ["SLURM"])


@pytest.fixture(scope="module")
def cluster(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Four nodes of eight GPUs, 10,000 licences of power, shared by a module's tests; each cancels its jobs."""
    with Cluster(installation, tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def new_cluster(installation: Installation, tmp_path: Path) -> Iterator[NewCluster]:
    """A maker of clusters of the test's own."""
    with ExitStack() as clusters:

        def make(name: str = "own", **how: object) -> Cluster:
            return clusters.enter_context(Cluster(installation, tmp_path / name, **how))  # type: ignore[arg-type]

        yield make
