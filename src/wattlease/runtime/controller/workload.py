"""What a controller asks of whoever knows the work: a scheduler, or nobody but the cards."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from wattlease.core.actions import Plan
from wattlease.core.api import PowerProfile
from wattlease.core.memory import Memory
from wattlease.core.model import Floats, Ints, Jobs, Site, Snapshot, Terms
from wattlease.runtime.lease.report import CardReport


@dataclass(frozen=True, slots=True)
class Ask:
    """What a job is asked for beside its speed."""

    name: str = ""
    """By which its nodes know it; empty: by its id."""

    parts: tuple[tuple[str, str], ...] = ()
    """Where each node knows only its own parts of it, as of many pods: node and name of each."""

    batch_frac: float = 1.0
    variant: str = ""
    checkpoint: bool = False
    pause: bool = False


NOTHING_ASKED = Ask()


class Workload(Protocol):
    """The jobs of a site. Whoever leads asks for `jobs` each tick and calls `act` or `let_go`; none of them waits."""

    came: asyncio.Event
    """Set when work waits that no tick has seen: the next tick then comes early."""

    @property
    def terms(self) -> tuple[Terms, ...]:
        """What owners agreed to; `Jobs.terms` points into it. Another tuple when anything in it changes."""

    @property
    def asks(self) -> Mapping[str, Ask]:
        """By job, what its hint asks for."""

    @property
    def asleep(self) -> frozenset[str]:
        """Nodes that are switched off, or come back and run no job yet."""

    def agree(self, profiles: tuple[PowerProfile, ...]) -> None:
        """Hold to these profiles from now on."""

    def begin(self) -> None:
        """Come to lead: what was done before, by this process or another, is to be taken up."""

    def jobs(self, site: Site, cards: list[CardReport | None], power_w: Floats, now_s: float) -> tuple[Jobs, Ints]:
        """The jobs, and each card's place among them; `cards` and `power_w` stand beside `Site.gpus`."""

    def act(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """Take this plan in place of the one before; `after` is what the tick remembers. A plan that no other follows
        is forgotten after a while."""

    def let_go(self, snapshot: Snapshot, plan: Plan, after: Memory) -> None:
        """In place of `act` in shadow mode: give back all that is held, and touch nothing else."""

    async def run(self) -> None:
        """Look and work until cancelled."""
