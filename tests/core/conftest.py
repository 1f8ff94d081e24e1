"""A world for the lease: holders with hardware, leaders, a network, a disk and true time, driven by a random scheduler.

It loses, delays, repeats and reorders messages, crashes, cuts off, pauses, skews clocks within the bound, moves the
limit, changes fallbacks and elects leaders; after every step somebody can ask what is drawn.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from wattlease.core.lease import (
    Answer,
    Holder,
    Ledger,
    Listed,
    Member,
    Request,
    Roster,
    Target,
    allowed_w,
    ask,
    hear,
    lasts_s,
    with_fallback,
)

TTL_S, TERM_S, DRIFT_FRAC = 10.0, 6.0, 0.05
NAMEPLATE_W, FALLBACKS_W, GUARANTEED_W = 10.0, (1.0, 2.0, 3.0), 9.0
STEPS = 2_000


@dataclass
class Clock:
    """An own clock: any zero, and a rate that wanders between 1 and 1 + DRIFT_FRAC."""

    now_s: float
    rate: float

    def tick(self, span_s: float) -> None:
        self.now_s += span_s * self.rate


@dataclass
class Node:
    """A holder with hardware: the caps stay when its process dies, and only a start or its timer lowers them."""

    name: str
    clock: Clock
    disk_fallback_w: float
    holder: Holder | None = None
    starts: int = 0
    hardware_w: float = 0.0
    lawful_until_s: float = 0.0
    died_s: float = 0.0

    def start(self) -> None:
        self.starts += 1
        self.holder = Holder(self.name, f"{self.name}-{self.starts}", self.disk_fallback_w)
        self.hardware_w = min(self.hardware_w, self.disk_fallback_w)

    def allowed_w(self) -> float:
        return allowed_w(self.holder, self.clock.now_s) if self.holder else 0.0

    def lower(self) -> None:
        self.hardware_w = min(self.hardware_w, self.allowed_w() if self.holder else self.disk_fallback_w)

    def draw_w(self) -> float:
        return max(self.hardware_w, self.allowed_w())


@dataclass
class Process:
    """Somebody who can lead."""

    clock: Clock
    ledger: Ledger | None = None
    paused: bool = False
    inbox: list[Request] = field(default_factory=list)


class World:
    """Three holders, three that can lead, one network, one disk and the true time; `forgery` may break a rule."""

    def __init__(self, seed: int, lapses: bool, forgery: Any) -> None:
        self.lapses, self.forgery, self.chance = lapses, forgery, Random(seed)
        self.now_s, self.epoch, self.term_ends_s = 0.0, 0, 0.0
        self.limit_w, self.fell_s = 12.0, 0.0
        self.limits: deque[tuple[float, float]] = deque([(0.0, 12.0)])
        self.nodes = [Node(name, self._clock(), self.chance.choice(FALLBACKS_W)) for name in "xyz"]
        self.processes = [Process(self._clock()) for _ in range(3)]
        listed = [Listed(member=self.member(n, n.disk_fallback_w), counted_w=n.disk_fallback_w) for n in self.nodes]
        self.disk = Roster(ttl_s=TTL_S, listed=tuple(listed))
        self.network: list[Request | Answer] = []
        self.steps, self.full_steps = 0, 0
        for node in self.nodes:
            node.start()
        self.events = self.swarm()
        self.cut: set[str] = set()

    def _clock(self) -> Clock:
        return Clock(self.chance.uniform(-1e4, 1e4), self.chance.choice((1.0, 1.0 + DRIFT_FRAC)))

    def member(self, node: Node, fallback_w: float) -> Member:
        return Member(name=node.name, fallback_w=fallback_w, nameplate_w=NAMEPLATE_W, lapses=self.lapses)

    # One step

    def swarm(self) -> list[Callable[[], None]]:
        """Each world suffers some faults often, some seldom, some never: one that suffers all sees little else."""
        often = {self.pass_time: 30, self.send_request: 40, self.deliver: 72, self.act: 10, self.renew_leadership: 6}
        often |= {self.start_node: 4, self.wake: 4, self.save_roster: 4, self.save_fallback: 4, self.elect: 2}
        seldom = [self.repeat, self.lose, self.cut_off, self.drift, self.crash_node, self.crash_leader, self.depose]
        seldom += [self.hand_over, self.pause, self.change_plan, self.change_limit, self.change_fallback]
        weights = often | {event: self.chance.choice((0, 0.1, 0.5, 3)) for event in seldom}
        weights |= {getattr(self, name): 3 for name in self.forgery.plagued_by}
        return self.chance.choices(list(weights), list(weights.values()), k=STEPS)

    def step(self) -> None:
        self.events[self.steps % STEPS]()
        self.steps += 1

    def excess_w(self) -> float:
        """By how much more is drawn than the limit allows, or allowed within one time to live."""
        since_s = self.now_s - lasts_s(TTL_S, DRIFT_FRAC)
        if not self.lapses:  # caps of the dead stay: what held when they died is what can be held now
            dead_s = [node.died_s for node in self.nodes if node.holder is None]
            since_s -= max([0.0, *(self.now_s - died_s for died_s in dead_s)])
        while len(self.limits) > 1 and self.lapses and self.limits[1][0] <= since_s:
            self.limits.popleft()
        latest = max((i for i, (at_s, _) in enumerate(self.limits) if at_s <= since_s), default=0)
        bound_w = max(limit_w for _, limit_w in list(self.limits)[latest:])
        drawn_w = sum(node.draw_w() for node in self.nodes)
        self.full_steps += drawn_w > bound_w - 0.5
        return drawn_w - bound_w

    # Time

    def pass_time(self) -> None:
        span_s = self.chance.choice((0.1, 0.3, 1.0, 2.0)) * self.chance.random()
        if self.chance.random() < 0.01:
            span_s += TTL_S
        self.now_s += span_s
        for process in self.processes:
            process.clock.tick(span_s)
        for node in self.nodes:
            node.clock.tick(span_s)
            if node.clock.now_s >= node.lawful_until_s and (node.holder or self.lapses):
                node.lower()

    def drift(self) -> None:
        clocks = [node.clock for node in self.nodes] + [process.clock for process in self.processes]
        self.chance.choice(clocks).rate = self.chance.choice((1.0, 1.0 + DRIFT_FRAC))

    # The network

    def send_request(self) -> None:
        node = self.chance.choice(self.nodes)
        if node.holder:
            if self.chance.random() < 0.5:
                node.lower()
            in_force_w = self.forgery.in_force_w(node.hardware_w, node.allowed_w())
            node.holder, request = ask(node.holder, node.clock.now_s, in_force_w)
            self.network.append(request)

    def deliver(self, keep: bool = False) -> None:
        if not self.network:
            return
        at = -1 if self.chance.random() < 0.7 else self.chance.randrange(len(self.network))
        message = self.network[at] if keep else self.network.pop(at)
        if message.holder in self.cut:
            return
        if isinstance(message, Answer):
            self.hear_answer(self.nodes["xyz".index(message.holder)], message)
        else:
            process = self.chance.choice([self.newest() or self.processes[0]] * 8 + self.processes)
            process.inbox.append(message)
            if not process.paused:
                self.read_inbox(process)

    def repeat(self) -> None:
        self.deliver(keep=True)

    def lose(self) -> None:
        if self.network:
            self.network.pop(self.chance.randrange(len(self.network)))

    def cut_off(self) -> None:
        self.cut ^= {self.chance.choice("xyz")}
        if self.chance.random() < 0.5:
            self.cut.clear()

    # Holders

    def hear_answer(self, node: Node, answer: Answer) -> None:
        if node.holder is None:
            return
        node.holder, refused = hear(*self.forgery.heard(node.holder, answer, node.clock.now_s))
        if refused is None and node.hardware_w <= node.allowed_w():
            node.lawful_until_s = node.holder.expires_s

    def act(self) -> None:
        node = self.chance.choice(self.nodes)
        if node.holder:
            node.hardware_w = node.allowed_w()
            node.lawful_until_s = node.holder.expires_s

    def save_fallback(self) -> None:
        node = self.chance.choice(self.nodes)
        if node.holder and node.holder.grant:
            node.disk_fallback_w = node.holder.grant.fallback_w
            if self.chance.random() < 0.9:
                node.holder = with_fallback(node.holder, node.disk_fallback_w)
                if node.clock.now_s >= node.lawful_until_s:
                    node.lower()

    def crash_node(self) -> None:
        node = self.chance.choice(self.nodes)
        if node.holder:
            node.holder, node.died_s = None, self.now_s

    def start_node(self) -> None:
        node = self.chance.choice(self.nodes)
        if node.holder is None:
            node.start()

    # Leaders

    def newest(self) -> Process | None:
        return next((p for p in self.processes if p.ledger and p.ledger.epoch == self.epoch and not p.paused), None)

    def begin(self, process: Process) -> Ledger:
        now_s = process.clock.now_s
        ledger = Ledger.begin(
            self.epoch,
            self.disk,
            now_s,
            guaranteed_w=GUARANTEED_W,
            leads_until_s=now_s + TERM_S + self.forgery.overstay_s,
            leads_from_s=now_s + lasts_s(max(0.0, self.term_ends_s - self.now_s), DRIFT_FRAC),
            limit_stood=self.now_s - self.fell_s >= lasts_s(TTL_S, DRIFT_FRAC),
            ttl_s=TTL_S,
            drift_frac=DRIFT_FRAC,
        )
        self.forgery.begun(ledger)
        return ledger

    def elect(self) -> None:
        if self.now_s >= self.term_ends_s:
            self.depose()

    def depose(self) -> None:
        """A new leader while the one before may still think it leads; the new one knows how long that may last."""
        process = self.chance.choice(self.processes)
        if not process.paused:
            self.epoch += 1
            process.ledger = self.begin(process)
            self.term_ends_s = max(self.term_ends_s, self.now_s + TERM_S)
            self.plan(process)

    def hand_over(self) -> None:
        """The leader lays down its term, and the next one begins at once."""
        if process := self.newest():
            assert process.ledger
            if process.ledger.leads_from_s <= process.clock.now_s:
                process.ledger.lead_until(process.clock.now_s)
                self.term_ends_s = self.now_s
                self.depose()

    def renew_leadership(self) -> None:
        if process := self.newest():
            assert process.ledger
            process.ledger.lead_until(process.clock.now_s + TERM_S + self.forgery.overstay_s)
            self.term_ends_s = self.now_s + TERM_S

    def crash_leader(self) -> None:
        process = self.chance.choice(self.processes)
        process.ledger, process.paused, process.inbox = None, False, []

    def pause(self) -> None:
        self.chance.choice(self.processes).paused = True

    def wake(self) -> None:
        process = self.chance.choice(self.processes)
        process.paused = False
        self.plan(process)
        self.read_inbox(process)

    def read_inbox(self, process: Process) -> None:
        requests, process.inbox = process.inbox, []
        for request in requests if process.ledger else ():
            assert process.ledger
            answer = process.ledger.answer(self.forgery.read(request, process.ledger), process.clock.now_s)
            self.network += [answer] if isinstance(answer, Answer) else []
        del self.network[:-40]

    def plan(self, process: Process) -> None:
        if process.ledger and not process.paused:
            wishes = {n.name: Target(self.chance.choice((0.0, 5.0, NAMEPLATE_W))) for n in self.nodes}
            process.ledger.plan(wishes, self.limit_w, process.clock.now_s)

    def change_plan(self) -> None:
        self.plan(self.chance.choice(self.processes))

    def change_limit(self) -> None:
        limit_w = self.chance.uniform(GUARANTEED_W, 15.0)
        self.fell_s = self.now_s if limit_w < self.limit_w else self.fell_s
        self.limit_w = limit_w
        self.limits.append((self.now_s, limit_w))
        for process in self.processes:
            self.plan(process)

    def change_fallback(self) -> None:
        if process := self.newest():
            assert process.ledger
            member = self.member(self.chance.choice(self.nodes), self.chance.choice(FALLBACKS_W))
            process.ledger.enrol(member, process.clock.now_s)
            self.forgery.enrolled(process.ledger)

    def save_roster(self) -> None:
        """The disk takes only the newest leader's word, and may take it just before that leader dies."""
        if process := self.newest():
            assert process.ledger
            self.disk = process.ledger.roster()
            if self.chance.random() < 0.9:
                process.ledger.note_saved(process.ledger.revision)


@pytest.fixture(name="lease_world", scope="session")
def _lease_world() -> type[World]:
    return World
