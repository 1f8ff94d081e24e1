"""The hardware of a cluster: virtual cards that draw what the pods want which the API server put on their nodes.

The play and the meter are those of the Slurm harness; who holds which card is what the kubelets have.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from kube_kubelets import Kubelets
from kube_kwok import GPUS
from kube_plane import ControlPlane
from slurm_hardware import LOOK_S, Hardware, Look, Overhead
from slurm_work import Work

from wattlease.core.model import Floats


@dataclass(frozen=True, slots=True)
class Place:
    """Where the nodes' files go, and their names."""

    folder: Path
    nodes: tuple[str, ...]


class KubeHardware(Hardware):
    """Kubelets and cards of these nodes while the block lasts; jobs are pods, `namespace/name`."""

    def __init__(
        self, plane: ControlPlane, nodes: Sequence[str], works: Sequence[Work], *, model: str = "H100",
        overhead: Overhead | None = None,
    ) -> None:  # fmt: skip
        place = Place(plane.folder, tuple(nodes))
        super().__init__(place, works, model=model, overhead=overhead)  # type: ignore[arg-type]  # all it asks of a cluster
        self.kubelets = Kubelets(plane, {node: _uuids(state.cards["uuid"]) for node, state in self.states.items()})

    def __enter__(self) -> Self:
        self.kubelets.__enter__()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self.kubelets.__exit__(kind, error, trace)

    def of_work(self, work: str) -> Mapping[str, Floats]:
        """The limits of each pod's cards, of the pods of a job or those of one bare pod."""
        return {pod.job: self.limits_w(pod.job) for pod in self.jobs.values() if pod.name == work}

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            jobs = self.kubelets.jobs
            if not self.looks or self.looks[-1].jobs != jobs:
                self.looks.append(Look(time.monotonic(), jobs))


def _uuids(column: Sequence[bytes]) -> tuple[str, ...]:
    uuids = tuple(uuid.decode() for uuid in column)
    assert len(uuids) == GPUS
    return uuids
