"""The hardware of a Slurm cluster: virtual cards that draw what the jobs want which Slurm placed on them.

Every 50 ms the cards draw within their limits as they are then, and it is written down what all limits allow and what
is drawn. Two readings of all nodes must agree to count: then there was a moment at which all of it held at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

import numpy as np
from slurm_cluster import Cluster
from slurm_conf import GPUS
from slurm_placed import Placed, by_node, computing, placed
from slurm_work import Work, work_of

from wattlease.agent.jobs import mapping
from wattlease.agent.virtual_state import VirtualState, virtual_cards
from wattlease.core.model import Floats

SAMPLE_S = 0.05
LOOK_S = 0.25

WAVER_FRAC = 0.98
"""A card under its limit draws a little less now and then; one that never moves would be taken for a frozen sensor."""

SEED = 20261121


@dataclass(frozen=True, slots=True)
class Overhead:
    """A node's draw beyond its cards: a floor, and a part of what they draw for fans and losses."""

    floor_w: float = 800.0
    per_it_frac: float = 0.1

    def node_w(self, cards_w: float) -> float:
        return self.floor_w + (1.0 + self.per_it_frac) * cards_w


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One moment: each card's limit and draw, node after node, and what the site may and does draw with overhead."""

    at_s: float
    limits_w: Floats
    draws_w: Floats
    allowed_w: float
    drawn_w: float


@dataclass(frozen=True, slots=True)
class Look:
    """Who held which cards from then on."""

    at_s: float
    jobs: tuple[Placed, ...]


class Hardware:
    """Plays all nodes' cards while the block lasts. Times are of the monotonic clock.

    With `maps` it also writes who holds which card where agents look, for a cluster whose slurm.conf has no prolog
    that would.
    """

    def __init__(
        self, cluster: Cluster, works: Sequence[Work], *, model: str = "H100", overhead: Overhead | None = None,
        maps: bool = False,
    ) -> None:  # fmt: skip
        self.cluster, self.works, self.maps = cluster, tuple(works), maps
        self.overhead = overhead or Overhead()
        self.states = {node: _cards(cluster.folder / "gpus" / f"{node}.gpus", node, model) for node in cluster.nodes}
        self.samples: list[Sample] = []
        self.looks: list[Look] = []
        self.trouble: BaseException | None = None
        self._chance = np.random.default_rng(SEED)
        self._first = {node: i * GPUS for i, node in enumerate(cluster.nodes)}
        self._idle_w: Floats = np.concatenate([s.cards["idle_mw"] / 1e3 for s in self.states.values()])
        self._over, self._mapped = Event(), dict[str, dict[str, list[str]]]()
        self._lock = Lock()
        self._threads = [Thread(target=self._whole, args=(part,), daemon=True) for part in (self._play, self._watch)]

    def __enter__(self) -> Self:
        for node in self.states:
            jobs_folder(self.cluster, node).mkdir(parents=True, exist_ok=True)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10.0)
        if self.trouble and error is None:
            raise AssertionError("the hardware broke; nothing after that is true") from self.trouble

    # What a test asks

    @property
    def jobs(self) -> Mapping[str, Placed]:
        """The jobs that hold cards now."""
        return {job.job: job for job in self.looks[-1].jobs} if self.looks else {}

    def allowed_w(self) -> float:
        """What all limits together allow the site now, overhead and all."""
        return self._site_w(self._limits()[1])

    def drawn_w(self) -> float:
        """What the site draws now, overhead and all."""
        return self.samples[-1].drawn_w

    def limits_w(self, job: str) -> Floats:
        """The limits of a job's cards now."""
        limits_w: Floats = self._limits()[1][self._slots(self.jobs[job])]
        return limits_w

    def over(self, limit_w: float, from_s: float = 0.0, until_s: float = float("inf")) -> list[Sample]:
        """The samples of a span in which the site drew more than a limit."""
        return [s for s in self.samples if from_s <= s.at_s <= until_s and s.drawn_w > limit_w + 0.01]

    # The play

    def _play(self) -> None:
        played_s = time.monotonic()
        before_w = self._idle_w
        while not self._over.wait(SAMPLE_S):
            at_s, limits_w = self._limits()
            draws_w = np.minimum(limits_w, self._wanted_w(at_s)) * self._chance.uniform(WAVER_FRAC, 1.0, len(limits_w))
            steady_w = np.minimum(before_w, draws_w)  # no energy before a rise
            for state, now_w, was_w in zip(
                self.states.values(), self._split(draws_w), self._split(steady_w), strict=True
            ):
                state.play(was_w, at_s - played_s)
                state.play(now_w, 0.0)
            self.samples.append(Sample(at_s, limits_w, draws_w, self._site_w(limits_w), self._site_w(draws_w)))
            before_w, played_s = draws_w, at_s

    def _wanted_w(self, at_s: float) -> Floats:
        """Cards without a job, or with one that has stopped, idle."""
        wanted_w = self._idle_w.copy()
        for job in self.jobs.values():
            if job.computes:
                slots = self._slots(job)
                wanted_w[slots] = np.maximum(wanted_w[slots], work_of(job, self.works).watts(job, at_s, self._chance))
        return wanted_w

    def _limits(self) -> tuple[float, Floats]:
        """Every card's limit, and a moment at which they all held."""
        with self._lock:
            limits_w = self._read()
            while True:
                at_s, again_w = time.monotonic(), self._read()
                if np.array_equal(again_w, limits_w):
                    return at_s, limits_w
                limits_w = again_w

    def _read(self) -> Floats:
        return np.concatenate([state.enforced_w() for state in self.states.values()])

    # The look at Slurm

    def _watch(self) -> None:
        """Placements stay as they were told last while slurmctld is away: jobs go on without it."""
        known: dict[str, Placed] = {}
        while not self._over.wait(LOOK_S):
            told = placed(self.cluster)
            if told is not None:
                known = {job.job: job for job in told}
            moves = computing(self.cluster.room.pid)
            now = tuple(
                replace(job, computes=moves.get(job.job, False))
                for job in known.values()
                if told is not None or job.job in moves
            )
            if not self.looks or self.looks[-1].jobs != now:
                self.looks.append(Look(time.monotonic(), now))
            if self.maps:
                self._map(by_node(now))

    def _map(self, now: Mapping[str, dict[str, list[str]]]) -> None:
        for node in self.states:
            before, after = self._mapped.get(node, {}), now.get(node, {})
            for job in before.keys() - after.keys():
                assert mapping.leave(jobs_folder(self.cluster, node), job) is None
            for job in after.keys() - before.keys():
                assert mapping.enter(jobs_folder(self.cluster, node), job, after[job]) is None
            self._mapped[node] = after

    # Sums and shapes

    def _slots(self, job: Placed) -> list[int]:
        return [self._first[node] + index for node, index in job.cards]

    def _split(self, cards_w: Floats) -> list[Floats]:
        return np.split(cards_w, len(self.states))

    def _site_w(self, cards_w: Floats) -> float:
        return sum(self.overhead.node_w(float(node_w.sum())) for node_w in self._split(cards_w))

    def _whole(self, part: object) -> None:
        """Run a part; what breaks it is raised where the block ends."""
        assert callable(part)
        try:
            part()
        except BaseException as trouble:
            if not self._over.is_set():
                self.trouble = trouble
                self._over.set()


def jobs_folder(cluster: Cluster, node: str) -> Path:
    """Where a node's agent reads which job holds which card: /run/wattlease/NODE/gpus for a prolog."""
    return cluster.folder / "run" / node / "gpus"


def _cards(path: Path, node: str, model: str) -> VirtualState:
    path.parent.mkdir(parents=True, exist_ok=True)
    return VirtualState.create(path, virtual_cards(node, model, GPUS))
