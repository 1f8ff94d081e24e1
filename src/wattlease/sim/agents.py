"""The virtual node agents and the ledger that grants to them, as columns of nodes.

The words and the laws are those of `core.lease`: a grant lasts `TTL_S` and is renewed every second while grantor and
node reach each other; without a renewal the agent goes to its fallback by itself; a grant is raised only out of watts
that came back, one renewal after they were given up; a node that is silent counts at what it was granted, since
its caps may outlive its agent.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from wattlease.core.lease import TTL_S
from wattlease.core.model import NONE, Bools, Floats, Ints, Site
from wattlease.sim.wiring import Wiring

RENEW_S = 1.0
SMALL_W = 1e-6


class NodeAgents(Protocol):
    """What the plant asks of whoever keeps its nodes to their grants."""

    cap_w: Floats
    pending: bool

    def order(self, target_w: Floats, reached: Bools, now_s: float) -> None:
        """Take the grantor's new wishes."""

    def more(self, nodes: Ints, more_w: Floats, reached: Bools, now_s: float) -> None:
        """Give these nodes more, for a job that has started on them."""

    def renew(self, reached: Bools, now_s: float) -> None:
        """Let grants last on."""

    def committed_w(self) -> Floats:
        """The most that each node may draw, by the ledger."""

    def expiring_s(self, now_s: float) -> Floats:
        """Times after now at which grants run out."""

    def enforce(self, wanted_w: Floats, busy: Bools, running: Bools, now_s: float) -> Floats:
        """Caps in force."""


class Agents:
    """Grants of nodes and caps of cards, wanted and in force."""

    def __init__(self, site: Site, wiring: Wiring, now_s: float) -> None:
        self.gpus, self.wiring = site.gpus, wiring
        self.fallback_w = site.nodes.fallback_w
        self.nameplate_w = site.nodes.nameplate_w
        self.leaf = site.nodes.scope
        self.held_w = self.fallback_w.copy()
        self.target_w = self.fallback_w.copy()
        self.expires_s = np.full(len(self.held_w), now_s)
        self.renewed_s = now_s
        self.pending = False
        self.cap_w = site.gpus.min_cap_w.copy()

    def assume(self, nodes: Bools, now_s: float) -> None:
        """These nodes ran before the scenario began: their nameplate is granted once, until it expires."""
        self.held_w = np.where(nodes, self.nameplate_w, self.held_w)
        self.target_w = self.held_w.copy()
        self.expires_s = np.where(nodes, now_s + TTL_S, self.expires_s)

    def order(self, target_w: Floats, reached: Bools, now_s: float) -> None:
        """Take the grantor's new wishes: cuts arrive at once, raises wait for the watts that come back."""
        self.target_w = np.maximum(target_w, self.fallback_w)
        committed_w = self.committed_w()
        self._raise(committed_w, reached)
        self.held_w = np.where(reached, np.minimum(self.held_w, self.target_w), self.held_w)
        self._renew(reached, now_s)

    def more(self, nodes: Ints, more_w: Floats, reached: Bools, now_s: float) -> None:
        """A job that was released has started on these nodes: the watts reserved for it go there."""
        self.target_w = self.target_w.copy()
        np.add.at(self.target_w, nodes, more_w)
        self._raise(self.committed_w(), reached)
        self._renew(reached, now_s)

    def renew(self, reached: Bools, now_s: float) -> None:
        """The renewal of every second: grants last on, and raises that waited are given."""
        if self.pending:
            self._raise(self.committed_w(), reached)
        self._renew(reached, now_s)

    def committed_w(self) -> Floats:
        """The most that each node may draw, by the ledger."""
        return np.maximum(self.held_w, self.fallback_w)

    def expiring_s(self, now_s: float) -> Floats:
        """Times after now at which grants run out."""
        return self.expires_s[self.expires_s > now_s]

    def enforce(self, wanted_w: Floats, busy: Bools, running: Bools, now_s: float) -> Floats:
        """Caps in force: what was ordered, less what the grant has no room for; `running` agents only.

        Within a node all cards give up the same share of what is above their lowest cap.
        """
        w, low_w = self.wiring, self.gpus.min_cap_w
        allowed_w = np.where(now_s < self.expires_s, self.held_w, self.fallback_w)
        room_w = (allowed_w - w.floor_w) / (1.0 + w.per_it_frac)
        floor_w = np.add.reduceat(np.where(busy, low_w, w.idle_w), w.first_gpu)
        above_w = np.where(busy, np.maximum(wanted_w - low_w, 0.0), 0.0)
        asked_w = np.add.reduceat(above_w, w.first_gpu)
        share = np.clip((room_w - floor_w) / np.maximum(asked_w, SMALL_W), 0.0, 1.0)
        cap_w = np.where(busy, low_w + above_w * share[self.gpus.node], low_w)
        self.cap_w = np.where(running[self.gpus.node], cap_w, self.cap_w)
        return self.cap_w

    def _renew(self, reached: Bools, now_s: float) -> None:
        self.expires_s = np.where(reached, now_s + TTL_S, self.expires_s)
        self.renewed_s = now_s

    def _raise(self, committed_w: Floats, reached: Bools) -> None:
        """Raise grants towards their targets, within what the targets leave beside all that is committed."""
        wish_w = np.where(reached, np.maximum(self.target_w - self.held_w, 0.0), 0.0)
        leaves = int(self.leaf.max()) + 1
        room_w = np.bincount(self.leaf, self.target_w - committed_w, leaves)
        asked_w = np.bincount(self.leaf, wish_w, leaves)
        share = np.clip(room_w / np.maximum(asked_w, SMALL_W), 0.0, 1.0)
        everywhere = np.clip((self.target_w - committed_w).sum() / max(wish_w.sum(), SMALL_W), 0.0, 1.0)
        given_w = wish_w * np.minimum(share[self.leaf], everywhere)
        self.held_w = self.held_w + given_w
        self.pending = bool(np.any(wish_w - given_w > 1.0))


def idle(job: Ints) -> Bools:
    """Cards without a job."""
    return job == NONE
