"""The demo's nodes: a real agent process for each, on virtual GPUs that the plant plays, and the ledger they ask.

The plant decides what work draws; limits are the agents' alone. They ask over HTTP on loopback, with the shared
secret that only a demo may use, and in the time of the wall: leases know no other.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import orjson

from wattlease.agent.virtual_state import VirtualCard, VirtualState
from wattlease.core.lease import Target
from wattlease.core.model import Bools, Floats, Ints, Site
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.leadership import Term
from wattlease.runtime.lease.service import LeaseService, serving
from wattlease.runtime.lease.store import StateFolder
from wattlease.runtime.lease.terms import GrantTerms
from wattlease.runtime.site import membership_of
from wattlease.sim.wiring import Wiring

PLAN_S = 0.5
"""How often the newest wishes reach the ledger."""

PLAY_S = 0.1
"""How often the cards' energy counters move, as those of real ones do."""

TERM_S = 1e9
"""Nobody else leads in a demo."""

ENDING_S = 5.0

SMALL_W = 50.0
"""Changes of a node's grant by less wait for its next renewal, within a second."""

REACHED_FRAC = 0.9
"""Agents stand ready once they hold this share of what they were meant to."""

RUN = """
import ctypes, signal
from wattlease.runtime.cli import main
orphaned = getattr(ctypes.CDLL(None), "prctl", None)
if orphaned:
    orphaned(1, signal.SIGTERM)
main()
"""
"""An agent that ends with the demo, even with one that was killed, where the kernel can tell it (PR_SET_PDEATHSIG)."""


class DemoNodes:
    """Agents, their GPUs and their grantor. Wishes come from the plant's thread, everything else is on the loop."""

    def __init__(self, site: Site, wiring: Wiring, folder: Path, limit_w: float) -> None:
        self.site, self.wiring, self.folder = site, wiring, folder
        self.limit_w = limit_w
        self.target_w = site.nodes.fallback_w.copy()
        self.caps_w = site.gpus.min_cap_w.copy()
        self.committed_w = site.nodes.nameplate_w.copy()
        self.draw_w = wiring.idle_w.copy()
        self.states = [self._plugged(n) for n in range(len(site.nodes.id))]
        self.secret_file = _secret_file(folder)
        self.secret = SharedSecret(self.secret_file.read_bytes())
        terms = GrantTerms(guaranteed_w=float(site.nodes.fallback_w.sum()), cut_news_w=SMALL_W, raise_news_w=SMALL_W)
        self.grantor = Grantor(terms, membership_of(site), StateFolder(folder))

    # What the plant sees and says

    def enforced_w(self) -> Floats:
        """Every card's limit, as it is in the hardware now."""
        return np.concatenate([state.enforced_w() for state in self.states])

    def ready(self) -> bool:
        """Whether every agent has taken its limits to what the plant wishes for its node."""
        meant_w, first = np.minimum(self.caps_w, self.site.gpus.max_cap_w), self.wiring.first_gpu
        have_w, want_w = np.add.reduceat(self.enforced_w(), first), np.add.reduceat(meant_w, first)
        heard = all(name in self.grantor.reports for name in self.site.nodes.id)
        return heard and bool(np.all(have_w >= REACHED_FRAC * want_w))

    # On the loop

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Grant to the agents while the block runs; they end with it."""
        await self.grantor.begin(Term(1, steady_s() + TERM_S))
        async with serving(LeaseService(self.grantor, self.secret), self.secret, "127.0.0.1", 0) as address:
            agents = [self._agent(n, address) for n in range(len(self.site.nodes.id))]
            tasks = [asyncio.create_task(self._plan()), asyncio.create_task(self._play())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.to_thread(_end, agents)

    async def _plan(self) -> None:
        names, first = self.site.nodes.id, self.wiring.first_gpu
        while True:
            caps_w = np.split(self.caps_w, first[1:])
            wishes = {
                name: Target(float(w), tuple(c.tolist()))
                for name, w, c in zip(names, self.target_w, caps_w, strict=True)
            }
            self.grantor.plan(wishes, self.limit_w)
            if ledger := self.grantor.ledger:
                now_s = self.grantor.now()
                self.committed_w = np.array([ledger.liability_w(name, now_s) for name in names])
            await asyncio.sleep(PLAN_S)

    async def _play(self) -> None:
        """Draw what the plant's work draws, within the limits as they are now: one that falls bites at once.

        Energy counts the wall's seconds, which the agents live in, and moves as often as real counters do.
        """
        first, played_s = self.wiring.first_gpu[1:], steady_s()
        while True:
            await asyncio.sleep(PLAY_S)
            now_s = steady_s()
            for state, draw_w in zip(self.states, np.split(self.draw_w, first), strict=True):
                state.play(np.minimum(draw_w, state.enforced_w()), now_s - played_s)
            played_s = now_s

    def _plugged(self, n: int) -> VirtualState:
        gpus = self.site.gpus
        cards = [
            VirtualCard(
                uuid=f"GPU-{self.site.nodes.id[n]}-{i}",
                model=f"Virtual {self.site.models[int(gpus.model[g])].name}",
                min_w=float(gpus.min_cap_w[g]),
                max_w=float(gpus.max_cap_w[g]),
                default_w=float(gpus.max_cap_w[g]),
                idle_w=float(self.wiring.idle_w[g]),
            )
            for i, g in enumerate(np.flatnonzero(gpus.node == n))
        ]
        return VirtualState.create(self.folder / f"{self.site.nodes.id[n]}.gpus", cards)

    def _agent(self, n: int, address: str) -> subprocess.Popen[bytes]:
        """Start a node's agent, told by its file as any other would be."""
        name = self.site.nodes.id[n]
        config = self.folder / f"{name}.yaml"
        written = {
            "node": name,
            "backend": "virtual",
            "virtualGpus": str(self.states[n].path),
            "grantors": [address],
            "secretFile": str(self.secret_file),
            "stateFolder": str(self.folder / name),
            "fallbackWatts": float(self.site.nodes.fallback_w[n]),
            "overhead": {
                "floorWatts": float(self.wiring.floor_w[n]),
                "perItPercent": float(100.0 * self.wiring.per_it_frac[n]),
            },
            "hintsFolder": str(self.folder / name / "hints"),
            "listen": None,
            "guardSeconds": 1.0,
        }
        config.write_bytes(orjson.dumps(written))  # JSON is YAML
        log = (self.folder / f"{name}.log").open("wb")
        words = [sys.executable, "-c", RUN, "agent", "--config", str(config)]
        with log:
            return subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)


class DemoAgents:
    """Stands where the plant's own agents stood: what it orders goes to real ones, what it sees is their doing."""

    def __init__(self, nodes: DemoNodes) -> None:
        self.nodes, self.fallback_w = nodes, nodes.site.nodes.fallback_w
        self.cap_w = nodes.enforced_w()
        self.pending = False

    def order(self, target_w: Floats, _reached: Bools, _now_s: float) -> None:
        """Wish each node so many watts from now on."""
        self.nodes.target_w = np.maximum(target_w, self.fallback_w)

    def more(self, nodes: Ints, more_w: Floats, _reached: Bools, _now_s: float) -> None:
        """A job that was released has started on these nodes: the watts reserved for it go there."""
        target_w = self.nodes.target_w.copy()
        np.add.at(target_w, nodes, more_w)
        self.nodes.target_w = target_w

    def renew(self, _reached: Bools, _now_s: float) -> None:
        """The agents renew by themselves."""

    def committed_w(self) -> Floats:
        """The most that each node may draw, by the ledger."""
        return np.minimum(self.nodes.committed_w, self.nodes.site.nodes.nameplate_w)

    def expiring_s(self, _now_s: float) -> Floats:
        """Nothing here runs out by the plant's clock."""
        return np.empty(0)

    def enforce(self, wanted_w: Floats, busy: Bools, _running: Bools, _now_s: float) -> Floats:
        """Wish each card its cap; what is in force is what the agents have set."""
        self.nodes.caps_w = np.where(busy, wanted_w, self.nodes.site.gpus.min_cap_w)
        self.cap_w = self.nodes.enforced_w()
        return self.cap_w


@asynccontextmanager
async def nodes_of(site: Site, wiring: Wiring, limit_w: float) -> AsyncIterator[DemoNodes]:
    """A demo's nodes, in a folder of their own that goes with them."""
    with TemporaryDirectory(prefix="wattlease-demo-") as folder:
        nodes = DemoNodes(site, wiring, Path(folder), limit_w)
        async with nodes.running():
            yield nodes


def _secret_file(folder: Path) -> Path:
    """A secret of this demo's own, for its owner's eyes only."""
    path = folder / "secret"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return path


def _end(agents: list[subprocess.Popen[bytes]]) -> None:
    """Ask every agent to end, and end those that do not."""
    for agent in agents:
        agent.send_signal(signal.SIGTERM)
    for agent in agents:
        try:
            agent.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()
