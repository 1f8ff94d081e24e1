"""Keeps the verdict file true: what jobs of each user and name drew, who is owed, and what a job may ask for."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import Snapshot
from wattlease.runtime.lease.said import Said
from wattlease_slurm.predictions import draws_w, rated_w, types_of
from wattlease_slurm.racks import Layer, most_w, racks
from wattlease_slurm.settings import SlurmSettings
from wattlease_slurm.tables import WishWords
from wattlease_slurm.verdict import Verdict, room_key
from wattlease_slurm.words import Config, SlurmNode

log = logging.getLogger(__name__)

EVERY_S = 5.0
"""Between two verdicts; each is valid for some times as long."""


class Verdicts:
    """Writes verdicts from the newest that it was told, once Slurm has said what it has."""

    def __init__(self, settings: SlurmSettings) -> None:
        self._slurm = settings.slurm
        self._racks = racks(settings) if settings.slurm.rack_resource else None
        self._room_w: dict[str, int] = {}
        self._path = Path(settings.slurm.verdict_file)
        self._config: Config | None = None
        self._nodes: tuple[SlurmNode, ...] = ()
        self._memory: Memory = FRESH
        self._snapshot: Snapshot | None = None
        self._said = Said(log)

    def learn(self, snapshot: Snapshot, after: Memory) -> None:
        """Take what the tick knew and remembers."""
        self._snapshot, self._memory = snapshot, after

    def configure(self, config: Config, nodes: tuple[SlurmNode, ...]) -> None:
        """Take what Slurm runs with."""
        if self._racks and _homes(nodes) != _homes(self._nodes):
            self._room_w = _room_w(self._racks, nodes)
        self._config, self._nodes = config, nodes

    async def run(self) -> None:
        """Write until cancelled. Without a verdict jobs are counted at their cards' rated watts."""
        while True:
            if self._config is not None and self._snapshot is not None:
                await asyncio.to_thread(self._write, self._verdict(self._snapshot, self._config))
            await asyncio.sleep(EVERY_S)

    def _write(self, verdict: Verdict) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            verdict.write(self._path)
        except (OSError, ValueError) as trouble:
            self._said.once(logging.ERROR, "verdict not written", f"jobs are counted at rated watts: {trouble}")
        else:
            self._said.forget("verdict not written")

    def _verdict(self, snapshot: Snapshot, config: Config) -> Verdict:
        slurm, tables = self._slurm, self._slurm.tables
        types = types_of(snapshot.site, slurm.gpu_models)
        rated = rated_w(snapshot.site, types)
        return Verdict(
            written_s=time.time(),
            total_w=config.licences.get(slurm.licence, 0),
            licence=slurm.licence,
            mode=snapshot.site.scopes[0].budget.spec.mode,
            rated_w=rated,
            draw_w=draws_w(snapshot, self._memory, types),
            watts_per_cpu=slurm.watts_per_cpu,
            fractions=slurm.mig_fractions,
            node_gpus=_most(self._nodes, lambda node: node.gpus),
            types=_hottest(self._nodes, rated),
            resource=slurm.rack_resource or "",
            room_w=self._room_w,
            operators=tuple(sorted({0, *_uid(config.slurm_user)})),
            qos=_weights(tables.qos),
            partitions=_weights(tables.partitions),
            accounts=_weights(tables.accounts),
            debts=dict(sorted(self._memory.debts.items(), key=lambda debt: -debt[1])),
        )


def _homes(nodes: Iterable[SlurmNode]) -> set[tuple[str, str]]:
    return {(partition, node.name) for node in nodes for partition in node.partitions}


def _room_w(tree: Layer, nodes: Iterable[SlurmNode]) -> dict[str, int]:
    """The most that a job may ask for on each node, by partition and how many nodes it has."""
    among: dict[str, set[str]] = {}
    for partition, node in _homes(nodes):
        among.setdefault(partition, set()).add(node)
    return {room_key(name, n): watts for name, names in among.items() for n, watts in most_w(tree, names).items()}


def _most(nodes: Iterable[SlurmNode], of: Callable[[SlurmNode], int]) -> dict[str, int]:
    """The most of something that a node of each partition has."""
    found: dict[str, int] = {}
    for node in nodes:
        for partition in node.partitions:
            found[partition] = max(found.get(partition, 0), of(node))
    return found


def _hottest(nodes: Iterable[SlurmNode], rated: Mapping[str, float]) -> dict[str, str]:
    """The type that a job of each partition may get and that draws most."""
    found: dict[str, str] = {}
    for node in nodes:
        kind = node.gpu_type.lower()
        for partition in node.partitions if kind else ():
            if rated.get(kind, 0.0) >= rated.get(found.get(partition, ""), 0.0):
                found[partition] = kind
    return found


def _weights(lines: Mapping[str, WishWords]) -> dict[str, float]:
    return {name: line.weight for name, line in lines.items() if line.weight is not None}


def _uid(user: str) -> tuple[int, ...]:
    """Of `slurm(64030)`."""
    found = re.fullmatch(r".*\((\d+)\)", user)
    return (int(found[1]),) if found else ()
