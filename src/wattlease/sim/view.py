"""What the shells see of the plant: a Snapshot, with ages, faults, and only the head of the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wattlease.core.model import (
    NONE,
    GpuReadings,
    Ints,
    Jobs,
    JobState,
    NodeReadings,
    Reading,
    Site,
    Snapshot,
    Window,
)
from wattlease.runtime import calendar
from wattlease.sim.scenario import Scenario
from wattlease.sim.wiring import Wiring
from wattlease.sim.work import Work

if TYPE_CHECKING:
    from wattlease.sim.plant import Plant

CARD_AGE_S = 0.2
CARD_DIGITS = 1
"""A card's word is rounded to 0.1 W, far below the 5 W to which it is accurate; a record takes half the room so."""

NODE_AGE_S = 1.0
HORIZON_S = 26 * 3600.0
WINDOWS_AGE_S = 10.0
"""How long the list of windows is kept before the calendar is asked again."""


class View:
    """The last snapshot's jobs: `live` their indices in the order of its columns, `index` by id."""

    def __init__(self, site: Site, scenario: Scenario, wiring: Wiring, rng: np.random.Generator) -> None:
        self.scenario, self.rng = scenario, rng
        first = [int(np.flatnonzero(wiring.cluster == i)[0]) for i in range(len(wiring.clusters))]
        self.model_of: Ints = site.gpus.model[wiring.first_gpu[first]]
        self.live: Ints = np.empty(0, dtype=np.int64)
        self.index: dict[str, int] = {}
        self.words: tuple[tuple[str, ...], ...] = ((), (), (), ())
        self.model: Ints = self.live
        self.seen = (-1, -1)
        self.windows: tuple[Window, ...] = ()
        self.windows_s = -np.inf

    def snapshot(self, plant: Plant) -> Snapshot:
        """All that a tick may know."""
        self._gather(plant)
        return Snapshot(
            now_s=plant.now_s,
            site=plant.site,
            gpus=self._gpus(plant),
            nodes=self._nodes(plant),
            jobs=self._jobs(plant.work),
            meters=self._meters(plant),
            storages=plant.batteries.readings(),
            windows=self._windows(plant),
            prices=plant.prices,
        )

    def forget_windows(self) -> None:
        """Budgets have changed."""
        self.windows_s = -np.inf

    def _gather(self, plant: Plant) -> None:
        """Who is in the snapshot; names are gathered only when that changes."""
        plant.queue.arrive(plant.now_s)
        mark = (plant.queue.version, plant.laid)
        if mark == self.seen:
            return
        self.seen = mark
        self.live = np.concatenate([plant.layout.jobs, plant.queue.waiting[: self.scenario.queue_window]])
        self.words = tuple(tuple(word[self.live].tolist()) for word in plant.work.words)
        self.index = dict(zip(self.words[0], self.live.tolist(), strict=True))
        self.model = self.model_of[plant.work.of["cluster"][self.live]]

    def _jobs(self, work: Work) -> Jobs:
        of, live = work.of, self.live
        ids, names, owners, clusters = self.words
        state = of["state"][live]
        done_s = of["done_s"][live]
        speaks = (state == int(JobState.RUNNING)) & of["reports"][live]
        error = self.scenario.noise.word_percent / 100 * self.rng.standard_normal(len(live))
        left_s = of["duration_s"][live] * of["asked_frac"][live] - done_s
        lost_s = np.where(of["on_signal"][live] | (state < int(JobState.RUNNING)), 0.0, done_s - of["saved_s"][live])
        return Jobs(
            id=ids,
            name=names,
            owner=owners,
            cluster=clusters,
            terms=of["terms"][live],
            state=state,
            gpus=of["gpus"][live],
            model=self.model,
            rank=live,
            submitted_s=of["submit_s"][live],
            since_s=of["since_s"][live],
            left_s=np.where(np.isfinite(left_s), left_s, np.nan),
            checkpoint_age_s=lost_s,
            speed_frac=np.where(speaks, of["pace_frac"][live] * (1.0 + error), np.nan),
            batch_frac=of["batch_frac"][live],
            variant=of["variant"][live],
        )

    def _gpus(self, plant: Plant) -> GpuReadings:
        power_w = plant.cards.draw_w.round(CARD_DIGITS)
        age_s = np.full(len(power_w), CARD_AGE_S)
        plant.faults.spoil(plant.now_s, plant.site.gpus.node, power_w, age_s)
        lay = plant.layout
        # a paused or running job's place among the live ones is its slot: they come first
        return GpuReadings(power_w, age_s, plant.agents.cap_w.copy(), np.where(lay.busy, lay.slot, NONE))

    def _nodes(self, plant: Plant) -> NodeReadings:
        power_w = plant.node_w.copy()
        age_s = np.full(len(power_w), NODE_AGE_S)
        plant.faults.spoil_nodes(plant.now_s, power_w, age_s)
        return NodeReadings(power_w, age_s, plant.agents.committed_w())

    def _meters(self, plant: Plant) -> tuple[Reading, ...]:
        return tuple(plant.faults.spoil_meter(plant.now_s, r) for r in plant.meters.readings())

    def _windows(self, plant: Plant) -> tuple[Window, ...]:
        if plant.now_s - self.windows_s >= WINDOWS_AGE_S:
            self.windows = calendar.windows(plant.site.scopes, plant.now_s, HORIZON_S)
            self.windows_s = plant.now_s
        return self.windows
