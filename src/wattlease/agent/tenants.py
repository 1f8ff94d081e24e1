"""Who uses the node's cards, asked of every source that this node has, again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from wattlease.agent.cards import Card, Trouble
from wattlease.agent.jobs import Holding, held_by_card, slurm
from wattlease.agent.jobs.mapping import mapped
from wattlease.agent.mig import shares
from wattlease.agent.settings import JobSources
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.report import Share
from wattlease.runtime.lease.said import Said

KEPT_S = 60.0
"""So long a source that cannot be asked is believed to tell what it told last: a kubelet restarts in seconds."""

log = logging.getLogger(__name__)


class Tenants:
    """The jobs of this node and the cards they hold, as last told."""

    def __init__(self, sources: JobSources) -> None:
        self.owners: dict[str, int] = {}
        self.has_pods = sources.kubelet() is not None
        self.asked = False
        self._sources = sources
        self._told: dict[str, tuple[tuple[Holding, ...], float]] = {}
        self._said = Said(log)

    def shares(self, cards: Sequence[Card]) -> dict[str, tuple[Share, ...]]:
        """Each card among its jobs; nothing where no source tells of this node at all."""
        told = [holdings for holdings, _ in self._told.values()]
        if not told:
            return {}
        held = held_by_card(cards, *told)
        return {card.uuid: shares(card, held[card.uuid]) for card in cards}

    @property
    def jobs(self) -> frozenset[str] | None:
        """All jobs that are known; `None` while it is not sure that these are all."""
        if not self.asked:
            return None
        return frozenset([*(held.job for told, _ in self._told.values() for held in told), *self.owners])

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(self._sources.every_seconds)

    async def ask(self) -> None:
        """Ask every source once; trouble is logged once, and the others are asked all the same."""
        sources, sure = self._sources, True
        if socket := sources.kubelet():
            from wattlease.agent.jobs.kubelet import pods  # gRPC takes tens of megabytes: only where there is a kubelet

            sure &= self._take("pods", await pods(socket))
        if folder := sources.mapping():
            sure &= self._take("prolog", await asyncio.to_thread(mapped, folder))
        if sources.cgroup_root.is_dir():
            found = await asyncio.to_thread(slurm.allocated, sources.cgroup_root, sources.proc_root)
            self.owners = await asyncio.to_thread(slurm.owners, sources.cgroup_root, sources.proc_root)
            if self.owners or found:
                sure &= self._take("slurm", found)
            else:
                self._told.pop("slurm", None)
        self.asked = sure and bool(self._told or self.owners)

    def _take(self, source: str, told: tuple[Holding, ...] | Trouble) -> bool:
        """Keep what a source told; say whether it did."""
        if isinstance(told, Trouble):
            self._said.once(logging.WARNING, f"no jobs from {source}", told.text)
            if source in self._told and steady_s() - self._told[source][1] > KEPT_S:
                del self._told[source]
            return False
        if self._said.forget(f"no jobs from {source}"):
            log.info("source=%s answers again", source)
        self._told[source] = told, steady_s()
        return True
