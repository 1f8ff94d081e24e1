"""From the agents' reports to a snapshot: after this line a tick knows nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from wattlease.core.lease import Ledger
from wattlease.core.model import Floats, GpuReadings, NodeReadings, Site, Snapshot, Window
from wattlease.runtime.controller.settings import ControllerSettings
from wattlease.runtime.controller.surroundings import Surroundings, surrounded
from wattlease.runtime.controller.workload import Workload
from wattlease.runtime.lease.grantor import Heard
from wattlease.runtime.lease.report import CardReport
from wattlease.runtime.site import site_of

SAME_W = 0.5
"""A card's range that differs from what is known by less is the same."""


class Observer:
    """Makes a snapshot of each tick's reports.

    `site` changes when a card says that its range is another, or when the workload has other terms.
    """

    def __init__(
        self, settings: ControllerSettings, workload: Workload, surroundings: Surroundings | None = None
    ) -> None:
        site = site_of(settings.name, settings.groups, settings.budgets, settings.profiles)
        self.site: Site = replace(site, terms=workload.terms)
        self._workload, self._surroundings = workload, surroundings
        self._first = np.searchsorted(site.gpus.node, np.arange(len(site.nodes.id)))
        self._cards = np.bincount(site.gpus.node, minlength=len(site.nodes.id))

    def snapshot(
        self,
        reports: Mapping[str, Heard],
        ledger: Ledger,
        steady_s: float,
        now_s: float,
        leased: Sequence[Window] = (),
    ) -> Snapshot:
        """All that this tick knows; `steady_s` is the grantor's clock, `now_s` unix seconds; `leased` is what the root
        may draw by a lease of its own."""
        cards, age_s = self._spread(reports, steady_s)
        self._take_ranges(cards)
        off = np.isin(self.site.nodes.id, list(self._workload.asleep))[self.site.gpus.node]
        power_w = np.where(off, 0.0, [_watts(card) for card in cards])
        age_s = np.where(off, 0.0, age_s)
        jobs, job = self._workload.jobs(self.site, cards, np.nan_to_num(power_w), now_s)
        if self.site.terms is not self._workload.terms:
            self.site = replace(self.site, terms=self._workload.terms)
        cap_w = np.array([card.limit_w if card else np.nan for card in cards])
        granted_w = np.array([_liability_w(ledger, name, steady_s) for name in self.site.nodes.id])
        node_w, node_age_s = self._nodes(reports, steady_s)
        known = Snapshot(
            now_s=now_s,
            site=self.site,
            gpus=GpuReadings(power_w, age_s, np.where(np.isnan(cap_w), self.site.gpus.max_cap_w, cap_w), job),
            nodes=NodeReadings(node_w, node_age_s, np.fmin(granted_w, self.site.nodes.nameplate_w)),
            jobs=jobs,
        )
        return surrounded(known, self._surroundings, leased)

    def _spread(self, reports: Mapping[str, Heard], steady_s: float) -> tuple[list[CardReport | None], Floats]:
        """The reports' cards in the place of the site's, and how old each one's reading is."""
        cards: list[CardReport | None] = [None] * len(self.site.gpus.node)
        age_s = np.full(len(cards), np.inf)
        for n, name in enumerate(self.site.nodes.id):
            if heard := reports.get(name):
                first, late_s = int(self._first[n]), steady_s - heard.heard_s
                for i, card in enumerate(heard.report.cards[: int(self._cards[n])]):
                    cards[first + i] = card
                    age_s[first + i] = card.age_s + late_s
        return cards, age_s

    def _take_ranges(self, cards: list[CardReport | None]) -> None:
        """Believe the cards' own ranges, where they answered."""
        gpus = self.site.gpus
        low_w, high_w = gpus.min_cap_w.copy(), gpus.max_cap_w.copy()
        for g, card in enumerate(cards):
            if card and not card.lost and 0.0 < card.min_w <= card.max_w:
                low_w[g], high_w[g] = card.min_w, card.max_w
        if np.abs(low_w - gpus.min_cap_w).max() > SAME_W or np.abs(high_w - gpus.max_cap_w).max() > SAME_W:
            self.site = replace(self.site, gpus=replace(gpus, min_cap_w=low_w, max_cap_w=high_w))

    def _nodes(self, reports: Mapping[str, Heard], steady_s: float) -> tuple[Floats, Floats]:
        """Each node's own draw where it knows it, and how old that is."""
        heard = [reports.get(name) for name in self.site.nodes.id]
        power_w = [h.report.power_w if h and h.report.power_w is not None else np.nan for h in heard]
        return np.array(power_w), np.array([steady_s - h.heard_s if h else np.inf for h in heard])


def _watts(card: CardReport | None) -> float:
    return card.power_w if card and card.power_w is not None else np.nan


def _liability_w(ledger: Ledger, name: str, steady_s: float) -> float:
    return ledger.liability_w(name, steady_s) if name in ledger.accounts else np.inf
